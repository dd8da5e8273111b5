"""Tables as a paper prints them: one number per cell or two, the best ones in bold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from msgspec.structs import replace

from locbench.report.document import Block, Bullets, Cell, Paragraph, Row
from locbench.report.formatting import DAGGER, NOTHING, number_text, published_text
from locbench.report.model import Comparison, Entry
from locbench.report.provenance import source_lines
from locbench.report.text import (
    heading,
    metric_label,
    origin,
    ours_words,
    own_remarks,
    split_label,
    what_runs,
    with_unit,
)
from locbench.report.value_grids import ANY, Slot, entries_of, grid_of, slots_of_grids
from locbench.spec.choices import Layout
from locbench.spec.tables import Table

Place: TypeAlias = tuple[str, str, str]
"""Row, column and metric."""


def paper_blocks(
    table: Table, comparison: Comparison, layout: Layout, number: int = 1
) -> list[Block]:
    """Return a table in its published layout, with where its numbers come from.

    In every column the best number of a group of rows is in bold, and those equal to it as printed.

    Args:
        table: the table.
        comparison: the ``number``-th of it.
        layout: what the cells hold.
        number: of the comparison, from 1; it is part of labels.
    """
    label = f"{table.id}-{layout}" + (f"-{number}" if number > 1 else "")
    blocks: list[Block] = [Paragraph(f"{heading(table)}. {origin(table)}", "quiet")]
    parts = _slots_of_grids(table, comparison)
    for slots in parts:
        by_row = slots[0][1] == ANY
        metrics = list(table.metrics if by_row else dict.fromkeys(metric for _, metric in slots))
        entries = entries_of(comparison, metrics)
        rows_of = _Rows(table, entries, layout, units=by_row)
        grid = grid_of(table, comparison, label, slots, rows_of)
        suffix = metrics if len(parts) > 1 else ()
        reading = tuple(_reading(table, comparison, entries, layout))
        blocks.append(
            replace(grid, label="-".join([label, *suffix]), runs="", metrics=(), reading=reading)
        )
    if layout != "paper" and (sources := source_lines(comparison.sources)):
        blocks.append(Bullets(tuple(sources), "quiet"))
    return blocks


def _slots_of_grids(table: Table, comparison: Comparison) -> list[list[Slot]]:
    """Return the columns of every grid; where each row has a metric of its own, there is one."""
    parts = slots_of_grids(table, comparison)
    rows = {(entry.row, entry.metric) for entry in comparison.entries}
    if len(parts) > 1 and len(rows) == len({row for row, _ in rows}):
        columns = {column for slots in parts for column, _ in slots}
        return [[(column.label, ANY) for column in table.columns if column.label in columns]]
    return parts


class _Rows:
    """Rows of one grid, with the paper's decimals.

    Args:
        table: the table.
        entries: all that the grid shows.
        layout: what the cells hold.
        units: whether labels have the units of their rows.
    """

    def __init__(
        self, table: Table, entries: Sequence[Entry], layout: Layout, *, units: bool
    ) -> None:
        self.layout, self.units = layout, units
        self.decimals = {_place(entry): _decimals(entry, entries) for entry in entries}
        ours = {
            _place(entry): _shown_number(entry, self.decimals[_place(entry)]) for entry in entries
        }
        paper = {
            _place(entry): entry.published.value if entry.published else None for entry in entries
        }
        self.best_ours, self.best_paper = _best(table, ours), _best(table, paper)

    def __call__(self, name: str, entries: Sequence[Entry | None]) -> list[Row]:
        """Return the one row of a label; none in the paper's layout if the paper has none."""
        if self.layout == "paper" and all(entry.own for entry in entries if entry):
            return []
        unit = next(entry.unit for entry in entries if entry) if self.units else ""
        name = with_unit(name, unit)
        return [Row((Cell(name), *(self._cell(entry) if entry else Cell("") for entry in entries)))]

    def _cell(self, entry: Entry) -> Cell:
        ours, printed = self._ours(entry), published_text(entry.published)
        best, best_printed = (_place(entry) in each for each in (self.best_ours, self.best_paper))
        if self.layout == "paper":
            return Cell(printed, strong=((0, len(printed)),) if best_printed else ())
        strong = [(0, len(ours))] if best else []
        if self.layout == "ours" or not printed:
            return Cell(ours, strong=tuple(strong))
        start = len(ours) + 2
        strong += [(start, start + len(printed))] if best_printed else []
        return Cell(f"{ours} ({printed})", strong=tuple(strong))

    def _ours(self, entry: Entry) -> str:
        text = number_text(entry, seeds=False, decimals=self.decimals[_place(entry)])
        return text + DAGGER * (entry.verdict == "reduced") if text else NOTHING


def _place(entry: Entry) -> Place:
    return entry.row, entry.column, entry.metric


def _decimals(entry: Entry, entries: Sequence[Entry]) -> int | None:
    """Return the decimals of a number as printed, else the most of its column, else of its metric.

    None where nothing of the metric is printed.
    """
    if entry.published is not None:
        return entry.published.decimals
    printed = [
        (each.column, each.published.decimals)
        for each in entries
        if each.metric == entry.metric and each.published is not None
    ]
    own = [decimals for column, decimals in printed if column == entry.column]
    return max(own or [decimals for _, decimals in printed], default=None)


def _shown_number(entry: Entry, decimals: int | None) -> float | None:
    """Return the number that is shown, so that what looks equal is equal."""
    if entry.measured is None or isinstance(entry.measured, str):
        return None
    return entry.measured if decimals is None else float(f"{entry.measured:.{decimals}f}")


def _best(table: Table, numbers: Mapping[Place, float | None]) -> frozenset[Place]:
    """Return the places of the best numbers among the rows of each group, by column and metric.

    A number without another one to compare with is not best, nor is one whose metric has no better
    direction.
    """
    rivals: dict[tuple[str, str, str], dict[Place, float]] = {}
    for place, number in numbers.items():
        row, column, metric = place
        if number is not None and table.metrics[metric].better != "none":
            rivals.setdefault((split_label(row)[0], column, metric), {})[place] = number
    found: set[Place] = set()
    for (_, _, metric), own in rivals.items():
        choose = min if table.metrics[metric].better == "lower" else max
        best = choose(own.values())
        found |= {place for place, number in own.items() if number == best and len(own) > 1}
    return frozenset(found)


def _reading(
    table: Table, comparison: Comparison, entries: Sequence[Entry], layout: Layout
) -> Iterator[str]:
    """Yield what a reader must know of the numbers, a sentence each, without full stops."""
    if layout == "paper":
        yield f"As published: {table.source}"
        return
    if layout == "both":
        yield "The paper's numbers in brackets"
    known = [entry for entry in entries if entry.measured is not None]
    if len({entry.kind for entry in known}) <= 1:
        yield ours_words(entries, "Ours", counted=False)
    else:
        for metric in dict.fromkeys(entry.metric for entry in known):
            own = [entry for entry in known if entry.metric == metric]
            name = metric_label(table, metric)
            if (words := ours_words(own, name, counted=False)) != name:
                yield words
    if any(entry.verdict == "reduced" for entry in entries):
        yield f"{DAGGER} {what_runs(comparison)}"
    if any(entry.measured is None for entry in entries):
        yield f"{NOTHING}: no number"
    yield from (remark.rstrip(".") for remark in own_remarks(table))
