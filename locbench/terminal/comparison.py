"""A comparison on the terminal: ours and the paper's side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from locbench.costs.measured.table import MeasuredCost
from locbench.report.claim_words import (
    CLAIMS_HEADER,
    CLAIMS_TITLE,
    claim_legend,
    claim_remarks,
    claim_rows,
    is_begun,
)
from locbench.report.formatting import (
    NOTHING,
    best_text,
    derived_texts,
    difference_text,
    measured_text,
    published_text,
    ratio_text,
    verdict_words,
)
from locbench.report.measured import Columns, measured_sections
from locbench.report.model import ClaimVerdict, Comparison, Entry, Verdict
from locbench.report.text import (
    CALIBRATED_HEADER,
    calibrated_rows,
    calibration_lines,
    calibration_title,
    details,
    heading,
    legend,
    metric_label,
    origin,
    reduced_warning,
    source_lines,
    split_label,
    tau_lines,
    what_runs,
)
from locbench.spec.tables import Table

STYLES: dict[Verdict, str] = {
    "match": "green",
    "off": "red",
    "unconfirmed": "yellow",
    "predicted": "",
    "measured": "",
    "reduced": "cyan",
    "missing": "dim",
    "failed": "bold red",
    "blocked": "magenta",
}
"""Colour of each verdict; the word stands beside it, so that nothing depends on colour."""

CLAIM_STYLES: dict[ClaimVerdict, str] = {
    "holds": "green",
    "does not hold": "red",
    "undecided": "yellow",
    "not run": "dim",
}
"""Likewise of claims."""


_STYLE: dict[str, Any] = {
    "title_justify": "left",
    "box": box.SIMPLE_HEAD,
    "pad_edge": False,
    "padding": (0, 1, 0, 0),
}

WIDE = 100
"""Columns of the terminal from which on the best epoch's numbers are shown too."""


def print_comparison(console: Console, table: Table, comparison: Comparison) -> None:
    """Print one comparison: numbers, rank correlations, verdict counts and their meaning,
    provenance.
    """
    _say(console, heading(table), "bold")
    _say(console, origin(table), "dim")
    _say(console, what_runs(comparison), "bold cyan" if comparison.reduced else "bold")
    _say(console, reduced_warning(comparison), "cyan")
    for metric in table.metrics:
        entries = [entry for entry in comparison.entries if entry.metric == metric]
        _print_metric(console, metric_label(table, metric), entries)
    _print_derived(console, comparison)
    _print_calibrated(console, table, comparison)
    for line in tau_lines(table, comparison):
        _say(console, line)
    _say(console, verdict_words(comparison), "bold")
    _say(console, f"Verdicts. {legend(comparison)}.", "dim")
    for line in [*details(comparison), *comparison.notes]:
        _say(console, f"- {line}")
    _print_claims(console, comparison)
    for name, value in source_lines(comparison):
        _say(console, f"{name}: {value}", "dim")


def _say(console: Console, text: str, style: str = "") -> None:
    if text:
        console.print(Text(text, style=style))


def _print_metric(console: Console, label: str, entries: list[Entry]) -> None:
    shown, hidden = _shown(entries)
    if shown:
        console.print(Padding(_grid(label, shown, wide=console.width >= WIDE), (1, 0, 0, 0)))
    if hidden:
        _say(
            console,
            f"{label}: {hidden} values in rows of which nothing was measured are not listed.",
            "dim",
        )


def _shown(entries: list[Entry]) -> tuple[list[Entry], int]:
    """Leave out the rows of which nothing was run, if others were."""
    started = {entry.row for entry in entries if entry.verdict not in ("missing", "blocked")}
    shown = [entry for entry in entries if entry.row in started] if started else entries
    return shown, len(entries) - len(shown)


def _grid(label: str, entries: list[Entry], wide: bool) -> Grid:
    grid = Grid(title=Text(label), **_STYLE)
    grid.add_column("row", overflow="fold", ratio=1)
    grid.add_column("column", overflow="fold")
    grid.add_column("ours ± std (n)", justify="right", no_wrap=True)
    grid.add_column("paper", justify="right", no_wrap=True)
    best = wide and any(entry.best is not None for entry in entries)
    if best:
        grid.add_column("at best epoch", justify="right", no_wrap=True)
    if any(entry.difference is not None for entry in entries):
        grid.add_column("ours - paper", justify="right", no_wrap=True)
    ratio = wide and any(entry.ratio is not None for entry in entries)
    if ratio:
        grid.add_column("ours / paper", justify="right", no_wrap=True)
    grid.add_column("verdict", no_wrap=True)
    for cells in _lines(entries, best, ratio, len(grid.columns)):
        grid.add_row(*cells)
    return grid


def _lines(entries: list[Entry], best: bool, ratio: bool, width: int) -> Iterator[list[Text]]:
    previous = ("", "")
    for entry in entries:
        group, own = split_label(entry.row)
        if group and group != previous[0]:
            yield [Text(group, style="bold"), *(Text() for _ in range(width - 1))]
        name = Text(own if (group, own) != previous else "")
        previous = (group, own)
        ours = Text(measured_text(entry) or NOTHING, style=STYLES[entry.verdict])
        cells = [name, Text(entry.column), ours, Text(published_text(entry.published))]
        cells += [Text(best_text(entry))] if best else []
        cells += [Text(difference_text(entry))] if len(cells) < width - 1 - ratio else []
        cells += [Text(ratio_text(entry))] if ratio else []
        yield [*cells, Text(entry.verdict, style=STYLES[entry.verdict])]


def _print_derived(console: Console, comparison: Comparison) -> None:
    for label in dict.fromkeys(value.label for value in comparison.derived):
        grid = Grid(
            title=Text(f"Derived: {label}"),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        for name in ("row", "column"):
            grid.add_column(name, overflow="fold")
        for name in ("printed", "from the paper's", "from ours"):
            grid.add_column(name, justify="right", no_wrap=True)
        for value in comparison.derived:
            if value.label == label:
                grid.add_row(
                    *(Text(text) for text in (value.row, value.column, *derived_texts(value)))
                )
        console.print(Padding(grid, (1, 0, 0, 0)))


def _print_claims(console: Console, comparison: Comparison) -> None:
    rows = claim_rows(comparison.claims)
    if rows:
        grid = Grid(title=Text(CLAIMS_TITLE), **_STYLE)
        for name in CLAIMS_HEADER:
            wide = name == "claim"
            grid.add_column(
                name, overflow="fold", ratio=2 if wide else None, no_wrap=name == "section"
            )
        verdicts = [claim.verdict for claim in comparison.claims if is_begun(claim)]
        for row, verdict in zip(rows, verdicts, strict=True):
            grid.add_row(
                Text(row[0]), Text(row[1]), Text(row[2], style=CLAIM_STYLES[verdict]), Text(row[3])
            )
        console.print(Padding(grid, (1, 0, 0, 0)))
        _say(console, f"Verdicts on claims. {claim_legend(comparison.claims)}.", "dim")
    for line in claim_remarks(comparison.claims):
        _say(console, f"- {line}")


def _print_calibrated(console: Console, table: Table, comparison: Comparison) -> None:
    lines = calibration_lines(table, comparison)
    if not lines:
        return
    grid = Grid(title=Text(calibration_title(comparison)), **_STYLE)
    for name in CALIBRATED_HEADER:
        grid.add_column(
            name, overflow="fold", justify="left" if name in ("row", "column", "") else "right"
        )
    for row in calibrated_rows(comparison):
        grid.add_row(*(Text(text) for text in row))
    console.print(Padding(grid, (1, 0, 0, 0)))
    for line in lines:
        _say(console, f"- {line}", "dim")


def print_measured(console: Console, measured: Sequence[MeasuredCost]) -> None:
    """Print what was measured on devices, one section per device."""
    for section in measured_sections(measured):
        _say(console, f"\n{section.heading}", "bold")
        for grid in section.grids:
            console.print(Padding(_measured_grid(grid), (1, 0, 0, 0)))
        for line in section.lines:
            _say(console, f"- {line}", "dim")


def _measured_grid(columns: Columns) -> Grid:
    grid = Grid(title=Text(columns.caption), **_STYLE)
    grid.add_column("row, column", overflow="fold", ratio=1)
    for name in columns.header[1:]:
        grid.add_column(Text(_two_lines(name)), justify="right", no_wrap=True)
    for row in columns.rows:
        grid.add_row(*map(Text, row))
    return grid


def _two_lines(name: str) -> str:
    """Return a column's head broken where its second half begins."""
    for mark in (", ", " / ", " "):
        if mark in name:
            return name.replace(mark, f"{mark.rstrip()}\n", 1)
    return name
