"""Reports in Markdown, as GitHub shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tabulate import tabulate

from locbench.printable import printable
from locbench.report.claim_words import (
    CLAIMS_HEADER,
    CLAIMS_TITLE,
    claim_legend,
    claim_remarks,
    claim_rows,
)
from locbench.report.formatting import derived_texts, verdict_words
from locbench.report.grid import Grid, GridLine, grids
from locbench.report.measured import MeasuredSection, measured_sections
from locbench.report.model import Comparison
from locbench.report.text import (
    CALIBRATED_HEADER,
    HOW_TO_READ,
    calibrated_rows,
    calibration_lines,
    calibration_title,
    details,
    heading,
    legend,
    origin,
    reduced_warning,
    source_lines,
    table_notes,
    tau_lines,
    what_runs,
)
from locbench.spec.tables import Table


def markdown(table: Table, comparisons: Sequence[Comparison]) -> str:
    """Return a table's report: sections for the full runs, for each kind of reduced run, and for
    measured costs.
    """
    blocks = [f"# {escaped(heading(table))}", escaped(origin(table)), HOW_TO_READ]
    for comparison in comparisons:
        blocks += _section(table, comparison)
    for section in measured_sections(comparisons[0].measured if comparisons else ()):
        blocks += _measured(section)
    notes = table_notes(table)
    if notes:
        blocks += ["## Notes", _bullets(notes)]
    return "\n\n".join(blocks) + "\n"


_MARKS = re.compile(r"([\\`*_<|~\[\]$])")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_LINK = re.compile(r"(?<=\w):(?=//)|(?<=\S)@(?=\S)|(?<=\bwww)\.", re.IGNORECASE)
_BLOCK = re.compile(r"^(?:(?=#+(?:\s|$)|>|[-+=](?:\s|$)|-+$|=+$)|(\d+)(?=[.)](?:\s|$)))")


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line: no emphasis, link, picture, formula,
    HTML or list.
    """
    shown = _MARKS.sub(r"\\\1", printable(" ".join(text.split())))
    shown = _LINK.sub(lambda found: f"\\{found[0]}", _ENTITY.sub(r"\&", shown))
    return _BLOCK.sub(lambda found: f"{found[1] or ''}\\", shown)


def _section(table: Table, comparison: Comparison) -> Iterator[str]:
    yield f"## {escaped(what_runs(comparison))}"
    if comparison.reduced:
        yield escaped(reduced_warning(comparison))
    for grid in grids(table, comparison):
        yield f"**{escaped(grid.caption)}**"
        yield _table(grid)
    yield _bullets([*tau_lines(table, comparison), verdict_words(comparison), *details(comparison)])
    yield f"Verdicts. {escaped(legend(comparison))}."
    yield from _claims(comparison)
    yield from _derived(comparison)
    yield from _calibrated(table, comparison)
    if comparison.notes:
        yield _bullets(comparison.notes)
    sources = source_lines(comparison)
    if sources:
        yield "Where these numbers come from:"
        yield _bullets([f"{name}: {value}" for name, value in sources])


def _table(grid: Grid) -> str:
    rows = [_cells(line) for line in grid.lines]
    align = ("left", "left", *("right" for _ in grid.header[2:]))
    header = [escaped(text) for text in grid.header]
    return tabulate(rows, headers=header, tablefmt="github", disable_numparse=True, colalign=align)


def _cells(line: GridLine) -> list[str]:
    cells = [escaped(text) for text in line.cells]
    return [f"**{cells[0]}**", *cells[1:]] if line.kind == "group" else cells


def _claims(comparison: Comparison) -> Iterator[str]:
    rows = [[escaped(text) for text in row] for row in claim_rows(comparison.claims)]
    if rows:
        yield f"**{CLAIMS_TITLE}**"
        yield tabulate(rows, headers=CLAIMS_HEADER, tablefmt="github", disable_numparse=True)
        yield f"Verdicts on claims. {escaped(claim_legend(comparison.claims))}."
    remarks = claim_remarks(comparison.claims)
    if remarks:
        yield _bullets(remarks)


def _derived(comparison: Comparison) -> Iterator[str]:
    for label, unit in dict.fromkeys((value.label, value.unit) for value in comparison.derived):
        values = [
            value for value in comparison.derived if (value.label, value.unit) == (label, unit)
        ]
        rows = [
            [value.row, value.reference, value.column, *derived_texts(value)] for value in values
        ]
        name = f"{label} ({unit})" if unit else label
        yield f"**Derived: {escaped(name)}**"
        header = ["row", "against", "column", "printed", "from the paper's numbers", "from ours"]
        align = ("left", "left", "left", "right", "right", "right")
        cells = [[escaped(text) for text in row] for row in rows]
        yield tabulate(
            cells, headers=header, tablefmt="github", disable_numparse=True, colalign=align
        )


def _calibrated(table: Table, comparison: Comparison) -> Iterator[str]:
    lines = calibration_lines(table, comparison)
    if lines:
        yield f"**{calibration_title(comparison)}**"
        align = ("left", "left", *("right" for _ in CALIBRATED_HEADER[3:]), "left")
        cells = [[escaped(text) for text in row] for row in calibrated_rows(comparison)]
        yield tabulate(
            cells,
            headers=CALIBRATED_HEADER,
            tablefmt="github",
            disable_numparse=True,
            colalign=align,
        )
        yield _bullets(lines)


def _measured(section: MeasuredSection) -> Iterator[str]:
    yield f"## {escaped(section.heading)}"
    for grid in section.grids:
        yield f"**{escaped(grid.caption)}**"
        align = ("left", *("right" for _ in grid.header[1:]))
        cells = [[escaped(text) for text in row] for row in grid.rows]
        header = [escaped(text) for text in grid.header]
        yield tabulate(
            cells, headers=header, tablefmt="github", disable_numparse=True, colalign=align
        )
    yield _bullets(section.lines)


def _bullets(texts: Sequence[str]) -> str:
    return "\n".join(f"- {escaped(text)}" for text in texts)
