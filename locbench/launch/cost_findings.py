"""What is said below the grid of costs: verdicts, misses, calibrations and their residuals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from locbench.costs.calibration import Residuals, residuals
from locbench.launch.cost_grids import Column, Group, Labels, print_grids
from locbench.launch.cost_judgement import ROLES, JudgedRow
from locbench.launch.cost_labels import full_label
from locbench.report.comparison import Comparison, Entry
from locbench.report.numbers import measured_text
from locbench.report.sentences import PAPERS, details, metric_label, table_notes
from locbench.report.terminal import STYLES
from locbench.tables import Table

_SUBJECTS = {"params": "parameter"}  # in notes; other metrics go by their name


def print_findings(
    console: Console, table: Table, labels: Labels, judged: Sequence[JudgedRow], comparisons: Sequence[Comparison]
) -> None:
    """Print verdicts, which places have no costs and why, and the calibration."""
    print_verdicts(console, table, labels, judged)
    blocked = [line for each in comparisons for line in details(each)]
    if blocked:
        console.print()
    for line in blocked:
        console.print(Text(f"- {line}"))
    print_calibration(console, table, labels, judged)


def print_verdicts(console: Console, table: Table, labels: Labels, judged: Sequence[JudgedRow]) -> None:
    """Print of each exact metric how many values are the paper's, every miss with both, and what the notes say."""
    found = [(index, entry) for index, each in enumerate(judged) for entry in each.entries]
    if found:
        console.print()
    for metric in dict.fromkeys(entry.metric for _, entry in found):
        own = [(index, entry) for index, entry in found if entry.metric == metric]
        misses = [(index, entry) for index, entry in own if entry.verdict != "match"]
        style = STYLES["off" if misses else "match"]
        console.print(Text(_summary(table, metric, len(own), len(misses)), style=style))
        for index, entry in misses:
            console.print(Text(f"- {full_label(labels, index)}: {_both(entry)}"))
        for note in table_notes(table):
            if any(_names(note, labels.own[index], entry) for index, entry in misses):
                console.print(Padding(Text(f"The table's note: {note}", style="dim"), (0, 0, 0, 2)))


def print_calibration(console: Console, table: Table, labels: Labels, judged: Sequence[JudgedRow]) -> None:
    """Print how a table is calibrated, where that does not fit and why, and its residuals."""
    found = [each.calibrated for each in judged if each.calibrated is not None]
    if table.calibration is None or not found:
        return
    console.print()
    console.print(Text(f"Calibration. {table.calibration.how}"))
    for why in dict.fromkeys(each.why for each in found if each.why):
        own = [index for index, each in enumerate(judged) if each.calibrated and each.calibrated.why == why]
        places = "; ".join(full_label(labels, index) for index in own)
        console.print(Text(f"- does not fit: {places}: {why}"))
    print_residuals(console, residuals(found))


def print_residuals(console: Console, found: Sequence[Residuals]) -> None:
    """Print how far predictions and calibrated values are from the papers', by paper and role."""
    console.print()
    console.print(Text("|ours - paper| of predicted and calibrated memory", style="bold"))
    labels = Labels("paper", tuple("" for _ in found), tuple(PAPERS[each.paper] for each in found))
    columns = (
        Column(("", "role"), tuple(Text(ROLES[each.role]) for each in found), left=True),
        Column(("", "n"), tuple(Text(str(each.n)) for each in found)),
        _distances("predicted", "mean", [(each.mean_before, each.unit) for each in found]),
        _distances("", "worst", [(each.worst_before, each.unit) for each in found]),
        _distances("calibrated", "mean", [(each.mean, each.unit) for each in found]),
        _distances("", "worst", [(each.worst, each.unit) for each in found]),
        Column(("", "unit"), tuple(Text(each.unit) for each in found), left=True),
    )
    print_grids(console, labels, [Group(columns)])


def _distances(top: str, name: str, values: Iterable[tuple[float, str]]) -> Column:
    return Column((top, name), tuple(Text(f"{value:.{3 if unit == 'GB' else 1}f}") for value, unit in values))


def _summary(table: Table, metric: str, total: int, missed: int) -> str:
    unit = table.metrics[metric].unit
    name = metric_label(table, metric).removesuffix(f" ({unit})")
    return f"{name}: {total - missed} of {total} equal{' after rounding' if unit else ''}"


def _both(entry: Entry) -> str:
    assert entry.published is not None
    if isinstance(entry.measured, float):  # two decimals more than printed, so that the difference shows
        ours = f"{entry.measured:.{entry.published.decimals + 2}f}"
    else:
        ours = measured_text(entry) or entry.verdict
    return " ".join(filter(None, ("ours", ours, entry.unit))) + f", paper {entry.published.text} {entry.unit}".rstrip()


def _names(note: str, label: str, entry: Entry) -> bool:
    """Whether a note is on a missed value: it names a part of its label, and what it is or what is printed."""
    assert entry.published is not None
    subjects = (_SUBJECTS.get(entry.metric, entry.metric), entry.published.text)
    parts = (rf"(?<!\w){re.escape(part)}(?!\d)" for part in label.split(", "))
    named = any(re.search(part, note, re.IGNORECASE) for part in parts)
    return named and any(subject in note.lower() for subject in subjects)
