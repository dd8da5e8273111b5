"""A comparison laid out as the paper's rows and columns, before a format escapes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from locbench.report.formatting import ours_text, published_text
from locbench.report.model import Comparison, Entry
from locbench.report.text import metric_label, split_label
from locbench.spec.tables import Table

Slot: TypeAlias = tuple[str, str]
"""A column of the grid: the table's column and a metric."""


class GridLine(msgspec.Struct, frozen=True):
    """A line of the grid: the heading of a group of rows, our numbers of a row, or the paper's
    below them.

    ``entries`` are what its numbers are of, for formats that write them otherwise.
    """

    kind: Literal["group", "ours", "paper"]
    cells: tuple[str, ...]
    entries: tuple[Entry | None, ...] = ()


class Grid(msgspec.Struct, frozen=True):
    """A grid with its header.

    ``caption`` names the metric, ``metric`` is empty where columns are metrics.
    """

    metric: str
    caption: str
    header: tuple[str, ...]
    lines: tuple[GridLine, ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What the grid shows, row by row."""
        return tuple(
            each
            for line in self.lines
            if line.kind == "ours"
            for each in line.entries
            if each is not None
        )


def grids(table: Table, comparison: Comparison) -> list[Grid]:
    """Lay a comparison out: one grid, or one per metric if columns hold several metrics each."""
    places = {(entry.row, entry.column, entry.metric): entry for entry in comparison.entries}
    used = {key[1:] for key in places}
    slots = [
        (column.label, name)
        for column in table.columns
        for name in table.metrics
        if (column.label, name) in used
    ]
    metrics = [name for name in table.metrics if any(slot[1] == name for slot in slots)]
    columns = {slot[0] for slot in slots}
    if len(metrics) > 1 and len(slots) in (len(columns), len(metrics)):
        alone = len(columns) == 1
        names = [_name(table, slot, alone=alone) for slot in slots]
        caption = ", ".join(metric_label(table, name) for name in metrics)
        return [
            _grid(
                "", f"{slots[0][0]}: {caption}" if alone else caption, names, slots, table, places
            )
        ]
    return [
        _metric_grid(metric, [slot for slot in slots if slot[1] == metric], table, places)
        for metric in metrics
    ]


def _name(table: Table, slot: Slot, alone: bool) -> str:
    column, metric = slot
    unit = table.metrics[metric].unit
    return metric_label(table, metric) if alone else f"{column} ({unit})" if unit else column


def _metric_grid(
    metric: str, slots: Sequence[Slot], table: Table, places: Mapping[tuple[str, str, str], Entry]
) -> Grid:
    names = [column for column, _ in slots]
    return _grid(metric, metric_label(table, metric), names, slots, table, places)


def _grid(
    metric: str,
    caption: str,
    names: Sequence[str],
    slots: Sequence[Slot],
    table: Table,
    places: Mapping[tuple[str, str, str], Entry],
) -> Grid:
    rows = [row.label for row in table.rows if any((row.label, *slot) in places for slot in slots)]
    groups = list(dict.fromkeys(split_label(row)[0] for row in rows))
    common = groups[0] if len(groups) == 1 else ""
    lines = tuple(_lines(rows, slots, places, headed=len(groups) > 1))
    return Grid(metric=metric, caption=caption, header=(common, "", *names), lines=lines)


def _lines(
    rows: Sequence[str],
    slots: Sequence[Slot],
    places: Mapping[tuple[str, str, str], Entry],
    headed: bool,
) -> Iterator[GridLine]:
    current = None
    for row in rows:
        group, own = split_label(row)
        if headed and group and group != current:
            yield GridLine("group", (group, "", *("" for _ in slots)))
        current = group
        entries = tuple(places.get((row, *slot)) for slot in slots)
        yield GridLine(
            "ours", (own, "ours", *(ours_text(each) if each else "" for each in entries)), entries
        )
        printed = [published_text(each.published) if each else "" for each in entries]
        if any(printed):
            yield GridLine("paper", ("", "paper", *printed), entries)
