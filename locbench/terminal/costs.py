"""How costs are shown on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.text import Text

from locbench.costs.memory.deviations import deviation_of
from locbench.costs.table_rows import CostRow
from locbench.costs.table_values import MEMORY, MEMORY_UNITS
from locbench.report.cost_rows import ROLES, JudgedRow
from locbench.report.text import split_label
from locbench.terminal.columns import Column, Group, Labels, full_label, grouped_labels, print_grids
from locbench.terminal.comparison import STYLES

LEGEND = {
    "params": "params: of the network and of all auxiliary nets, in M.",
    "MACs": "MACs, FLOPs: forward, one image, in G, of the network and classifying auxiliary nets; "
    "FLOPs count 2 per BatchNorm element and 1 per pooled element besides.",
    "memory": "predicted: peak of live tensors in a training step, in {unit}, gradients kept "
    "between steps; with PGL the mean over local and global epochs. lean: the same with --memory "
    "lean. of BP: share of backpropagation's on the same network, data and batch. paper: as "
    "published, which holds more than tensors.",
    "calibrated": "calibrated: the prediction with what this paper's own numbers seem to hold "
    "beyond tensors; never part of the prediction. residual: calibrated - paper.",
}
"""What the columns hold, by the first word of a group's head."""

ABOUT = "~"
"""Before a prediction that is not what a CUDA device's allocator gives out."""


def labels_of(rows: Sequence[CostRow]) -> Labels:
    """Return what distinguishes every row: its row, or its column where rows are metrics.

    The column joins the row's label where several recipes share that; a recipe outside a table has
    its network and method. A group that all rows share is the head.
    """
    in_rows, in_columns = Counter(row.row for row in rows), Counter(row.column for row in rows)
    transposed = len(in_columns) == len(rows) > len(in_rows)
    return grouped_labels([_label(row, transposed, alone=in_rows[row.row] == 1) for row in rows])


def _label(row: CostRow, transposed: bool, alone: bool) -> tuple[str, str]:
    if not row.places:
        return "", f"{row.recipe.network} {row.recipe.method}"
    if transposed:
        return "", row.column
    group, own = split_label(row.row)
    return group, own if alone else f"{own}, {row.column}"


def print_rows(console: Console, title: str, labels: Labels, judged: Sequence[JudgedRow]) -> None:
    """Print one line per recipe, and what the columns hold."""
    console.print(Text(title, style="bold"))
    console.print()
    groups = (_parameters(judged), _operations(judged), *_memory(judged))
    print_grids(console, labels, groups)
    shown = {
        column.head[0].split(" ")[0]
        for group in groups
        for column in group.columns
        if column.filled
    }
    for word, line in LEGEND.items():
        if word in shown:
            console.print(Text(line.format(unit=_unit(judged)), style="dim"))
    found = [deviation_of(row.row.recipe) for row in judged]
    for deviation in dict.fromkeys(each for each in found if each.words):
        rows = [full_label(labels, row) for row, each in enumerate(found) if each == deviation]
        line = f"{ABOUT} on a CUDA device {deviation.words}: {deviation.why}: {'; '.join(rows)}."
        console.print(Text(line, style="dim"))


def print_slowest(
    console: Console,
    labels: Labels,
    rows: Sequence[CostRow],
    traced: Sequence[int],
    *,
    kept: bool = True,
) -> None:
    """Print how many rows were traced, and what the slowest took; nothing if none was.

    Args:
        console: where to print.
        labels: of the rows.
        rows: all rows.
        traced: 0-based indices of those that were traced now.
        kept: whether the traces could be written.
    """
    if traced:
        slowest = max(traced, key=lambda index: rows[index].seconds)
        line = (
            f"Traced {len(traced)} of {len(rows)} rows; slowest row {rows[slowest].seconds:.1f} s"
        )
        words = " Kept for the next time." if kept else ""
        console.print(Text(f"{line} ({full_label(labels, slowest)}).{words}", style="dim"))


def _parameters(judged: Sequence[JudgedRow]) -> Group:
    def total(row: CostRow) -> str:
        return (
            _scaled(row.params_primary + row.params_auxiliary, 6)
            if "params" in row.published
            else ""
        )

    return Group(
        (
            _column(judged, ("params (M)", "network"), lambda row: _scaled(row.params_primary, 6)),
            _column(judged, ("", "auxiliary"), lambda row: _scaled(row.params_auxiliary, 6)),
            _column(judged, ("", "total"), total),
            *_printed(judged, "params"),
        )
    )


def _operations(judged: Sequence[JudgedRow]) -> Group:
    return Group(
        (
            _column(judged, ("MACs (G)", ""), lambda row: _scaled(row.macs, 9)),
            _column(judged, ("FLOPs (G)", "ours"), lambda row: _scaled(row.flops, 9)),
            *_printed(judged, "flops"),
        )
    )


def _memory(judged: Sequence[JudgedRow]) -> tuple[Group, Group]:
    unit = _unit(judged)
    predicted = _column(
        judged,
        (f"memory ({unit})", "predicted"),
        lambda row: _mark(row) + _bytes(row, row.memory_peak_bytes),
    )
    paper = _column(judged, ("", "paper"), lambda row: _published(row, MEMORY))
    memory = Group(
        (
            predicted,
            _column(judged, ("", "of BP"), lambda row: _percent(row.ratio)),
            _column(judged, ("", "lean"), lambda row: _bytes(row, row.memory_lean_bytes)),
            paper,
            _column(judged, ("", "of BP"), lambda row: _percent(row.published_ratio)),
        )
    )
    return memory, Group(_calibrated(judged, unit), before=(predicted, paper))


def _mark(row: CostRow) -> str:
    return ABOUT if deviation_of(row.recipe).words else ""


def _calibrated(judged: Sequence[JudgedRow], unit: str) -> tuple[Column, ...]:
    calibrated = [row.calibrated for row in judged]
    digits = 3 if unit == "GB" else 0
    values = [Text(f"{value.calibrated:.{digits}f}" if value else "") for value in calibrated]
    residuals = [
        Text(f"{round(value.residual, digits) + 0.0:+.{digits}f}" if value else "")
        for value in calibrated
    ]
    roles = [
        Text(ROLES[value.role], "yellow" if value.role == "unfit" else "") if value else Text()
        for value in calibrated
    ]
    return (
        Column(("calibrated", f"({unit})"), tuple(values)),
        Column(("", "residual"), tuple(residuals)),
        Column(("", "role"), tuple(roles), left=True),
    )


def _printed(judged: Sequence[JudgedRow], metric: str) -> tuple[Column, Column]:
    """Return what the paper prints, and whether it is ours."""
    verdicts = [row.verdicts.get(metric) for row in judged]
    words = [Text(verdict or "", style=STYLES[verdict] if verdict else "") for verdict in verdicts]
    paper = _column(judged, ("", "paper"), lambda row: _published(row, metric))
    return paper, Column(("", "verdict"), tuple(words), left=True)


def _column(
    judged: Sequence[JudgedRow], head: tuple[str, str], text: Callable[[CostRow], str]
) -> Column:
    return Column(head, tuple(Text(text(row.row)) for row in judged))


def _unit(judged: Sequence[JudgedRow]) -> str:
    return judged[0].row.unit if judged else ""


def _scaled(count: int, power: int) -> str:
    return f"{count / 10**power:.3f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _bytes(row: CostRow, count: int | None) -> str:
    digits = 3 if row.unit == "GB" else 0
    return "" if count is None else f"{count / MEMORY_UNITS[row.unit]:.{digits}f}"


def _published(row: CostRow, metric: str) -> str:
    return row.published[metric].text if metric in row.published else ""
