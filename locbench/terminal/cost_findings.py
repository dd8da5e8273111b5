"""Lines below the grid of costs: verdicts, calibrations, measurements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from locbench.costs.calibration import Residuals, residuals
from locbench.report.compare import CellRuns, cell_entries
from locbench.report.cost_rows import ROLES, JudgedRow, StepMeasurement
from locbench.report.formatting import decimal, gigabytes, measured_text
from locbench.report.model import Entry
from locbench.report.text import PAPERS, details, metric_label
from locbench.spec.tables import Table
from locbench.terminal.columns import Column, Group, Labels, full_label, print_grids
from locbench.terminal.comparison import STYLES


def print_findings(
    console: Console, table: Table, labels: Labels, judged: Sequence[JudgedRow]
) -> None:
    """Print verdicts, which places have no costs and why, and the calibration."""
    print_verdicts(console, table, labels, judged)
    blocked = details(
        entry
        for cell in table.cells
        if cell.blocked
        for entry in cell_entries(table, cell, CellRuns(), {}, reduced=False)
    )
    if blocked:
        console.print()
    for line in blocked:
        console.print(Text(f"- {line}"))
    print_calibration(console, table, labels, judged)


def print_verdicts(
    console: Console, table: Table, labels: Labels, judged: Sequence[JudgedRow]
) -> None:
    """Print how many values of each exact metric are the paper's, and every miss with its notes."""
    entries = [(index, entry) for index, row in enumerate(judged) for entry in row.entries]
    if entries:
        console.print()
    for metric in dict.fromkeys(entry.metric for _, entry in entries):
        of_metric = [(index, entry) for index, entry in entries if entry.metric == metric]
        misses = [(index, entry) for index, entry in of_metric if entry.verdict != "match"]
        style = STYLES["off" if misses else "match"]
        console.print(Text(_summary(table, metric, len(of_metric), len(misses)), style=style))
        for index, entry in misses:
            console.print(Text(f"- {full_label(labels, index)}: {_both(entry)}"))
        for note in table.notes_of(metric) if misses else ():
            console.print(Padding(Text(f"The table's note: {note}", style="dim"), (0, 0, 0, 2)))


def print_calibration(
    console: Console, table: Table, labels: Labels, judged: Sequence[JudgedRow]
) -> None:
    """Print how a table is calibrated, where that does not fit and why, and its residuals."""
    values = [row.calibrated for row in judged if row.calibrated is not None]
    if table.calibration is None or not values:
        return
    console.print()
    console.print(Text(f"Calibration. {table.calibration.how}"))
    for why in dict.fromkeys(value.why for value in values if value.why):
        places = "; ".join(
            full_label(labels, index)
            for index, row in enumerate(judged)
            if row.calibrated and row.calibrated.why == why
        )
        console.print(Text(f"- does not fit: {places}: {why}"))
    print_residuals(console, residuals(values))


def print_residuals(console: Console, groups: Sequence[Residuals]) -> None:
    """Print how far predictions and calibrated values are from the papers', by paper and role."""
    console.print()
    console.print(Text("|ours - paper| of predicted and calibrated memory", style="bold"))
    papers = tuple(PAPERS.get(group.paper, group.paper) for group in groups)
    labels = Labels("paper", tuple("" for _ in groups), papers)
    columns = (
        Column(("", "role"), tuple(Text(ROLES[group.role]) for group in groups), left=True),
        Column(("", "n"), tuple(Text(str(group.n)) for group in groups)),
        _distances("predicted", "mean", [(group.mean_before, group.unit) for group in groups]),
        _distances("", "worst", [(group.worst_before, group.unit) for group in groups]),
        _distances("calibrated", "mean", [(group.mean, group.unit) for group in groups]),
        _distances("", "worst", [(group.worst, group.unit) for group in groups]),
        Column(("", "unit"), tuple(Text(group.unit) for group in groups), left=True),
    )
    print_grids(console, labels, [Group(columns)])


def _distances(top: str, name: str, values: Iterable[tuple[float, str]]) -> Column:
    return Column(
        (top, name), tuple(Text(f"{value:.{3 if unit == 'GB' else 1}f}") for value, unit in values)
    )


def _summary(table: Table, metric: str, total: int, missed: int) -> str:
    unit = table.metrics[metric].unit
    name = metric_label(table, metric).removesuffix(f" ({unit})")
    return f"{name}: {total - missed} of {total} equal{' after rounding' if unit else ''}"


def _both(entry: Entry) -> str:
    assert entry.published is not None
    # Two decimals more than printed, so that the difference shows.
    if isinstance(entry.measured, float):
        ours = f"{entry.measured:.{entry.published.decimals + 2}f}"
    else:
        ours = measured_text(entry) or entry.verdict
    return (
        " ".join(filter(None, ("ours", ours, entry.unit)))
        + f", paper {entry.published.text} {entry.unit}".rstrip()
    )


LEGEND = (
    "measured: on that device, at the same batch; allocated, reserved: by the allocator over a "
    "training step, nothing subtracted; time: of a step; predicted: share of what was allocated."
)


def print_measured_steps(
    console: Console, labels: Labels, steps: Sequence[tuple[StepMeasurement, ...]]
) -> None:
    """Print what was measured of each row, device by device; nothing where nothing was."""
    measured = [(index, step) for index, row_steps in enumerate(steps) for step in row_steps]
    if not measured:
        return
    measured.sort(key=lambda pair: _device(pair[1]))
    names = tuple(
        " ".join(filter(None, (full_label(labels, index), step.cost.step)))
        for index, step in measured
    )
    shown = [step for _, step in measured]
    summaries = [step.summary for step in shown]
    columns = (
        _column(("cuDNN", "benchmark"), ["on" if step.benchmark else "off" for step in shown]),
        _column(("allocated", "(GB)"), [gigabytes(each.allocated_bytes) for each in summaries]),
        _column(("reserved", "(GB)"), [gigabytes(each.reserved_bytes) for each in summaries]),
        _column(("time", "(ms)"), [f"{each.milliseconds:.1f}" for each in summaries]),
        _column(
            ("predicted", "(%)"), [decimal(step.cost.share_of(step.summary), 1) for step in shown]
        ),
    )
    console.print()
    devices = tuple(_device(step) for step in shown)
    print_grids(console, Labels("measured", devices, names), [Group(columns)])
    console.print(Text(LEGEND, style="dim"))


def _device(step: StepMeasurement) -> str:
    return f"{step.cost.device}, {step.cost.engine}"


def _column(head: tuple[str, str], texts: Sequence[str]) -> Column:
    return Column(head, tuple(map(Text, texts)))
