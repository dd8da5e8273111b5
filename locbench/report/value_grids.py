"""Grids of a table's values, laid out as the table is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from msgspec.structs import replace

from locbench.report.document import Cell, Grid, Row
from locbench.report.formatting import OWN, ours_text, published_text, verdict_words
from locbench.report.model import Comparison, Entry
from locbench.report.text import (
    heading,
    metric_label,
    own_labels,
    own_remarks,
    split_label,
    tau_lines,
    what_runs,
    with_unit,
)
from locbench.spec.tables import Table

ANY = ""
"""Stands for the one metric of each row."""

Slot: TypeAlias = tuple[str, str]
"""A column of the table and a metric, or `ANY`."""

RowsOf: TypeAlias = Callable[[str, Sequence[Entry | None]], list[Row]]
"""From a row's own label and its entries to the rows of a grid that show them."""


def value_grids(table: Table, comparison: Comparison, label: str) -> list[Grid]:
    """Return one grid, or one per metric if columns have several metrics each.

    The paper's numbers are below ours.
    """
    parts = slots_of_grids(table, comparison)
    grids = []
    for slots in parts:
        grid = grid_of(table, comparison, label, slots, _two_rows, labels=2)
        metrics = [metric for metric, _ in grid.metrics]
        own = entries_of(comparison, metrics)
        shown = comparison if len(parts) == 1 else replace(comparison, entries=own, hidden=0)
        remarks = (
            *tau_lines(table, comparison, metrics),
            verdict_words(shown),
            *own_remarks(table),
        )
        suffix = metrics if len(metrics) == 1 else ()
        grids.append(replace(grid, label="-".join([label, *suffix]), remarks=remarks))
    return grids


def _two_rows(name: str, entries: Sequence[Entry | None]) -> list[Row]:
    ours = [
        Cell(ours_text(entry), entry, entry.verdict) if entry else Cell("") for entry in entries
    ]
    rows = [Row((Cell(name), Cell("ours"), *ours))]
    printed = [published_text(entry.published) if entry else "" for entry in entries]
    if any(printed):
        rows.append(Row((Cell(""), Cell("paper"), *map(Cell, printed)), "paper"))
    return rows


def slots_of_grids(table: Table, comparison: Comparison) -> list[list[Slot]]:
    """Return the columns of every grid: all in one, or each metric in one of its own."""
    used = {(entry.column, entry.metric) for entry in comparison.entries}
    slots = [
        (column.label, metric)
        for column in table.columns
        for metric in table.metrics
        if (column.label, metric) in used
    ]
    metrics = [metric for metric in table.metrics if any(slot[1] == metric for slot in slots)]
    if not metrics or len(slots) in (len({column for column, _ in slots}), len(metrics)):
        return [slots] if slots else []
    return [[slot for slot in slots if slot[1] == metric] for metric in metrics]


def entries_of(comparison: Comparison, metrics: Sequence[str]) -> tuple[Entry, ...]:
    """Return the entries of some metrics."""
    return tuple(entry for entry in comparison.entries if entry.metric in metrics)


def grid_of(
    table: Table,
    comparison: Comparison,
    label: str,
    slots: Sequence[Slot],
    rows_of: RowsOf,
    *,
    labels: int = 1,
) -> Grid:
    """Return the grid of some columns; ``labels`` is how many cells are before those of values."""
    entries = {(entry.row, entry.column, entry.metric): entry for entry in comparison.entries}
    entries |= {(row, column, ANY): entry for (row, column, _), entry in entries.items()}
    parts, found, own = [], set(), own_labels(table)
    for row in table.rows:
        group, name = split_label(row.label)
        name += OWN if row.label in own else ""
        cells = [entries.get((row.label, *slot)) for slot in slots]
        if any(cells):
            shown = rows_of(name, cells)
            parts += [(group, shown)] if shown else []
            found |= {cell.metric for cell in cells if cell}
    metrics = [metric for metric in table.metrics if metric in found]
    common, rows = under_groups(parts)
    caption, names = _columns(table, metrics, slots)
    started = any(entry.epochs is not None for entry in entries_of(comparison, metrics))
    return Grid(
        title=heading(table),
        caption=caption,
        label=label,
        header=(common, *[""] * (labels - 1), *names),
        align="l" * labels + "r" * len(names),
        rows=rows,
        runs=_runs(comparison) if started else "",
        metrics=tuple((metric, metric_label(table, metric)) for metric in metrics),
        own=own,
    )


def _columns(table: Table, metrics: Sequence[str], slots: Sequence[Slot]) -> tuple[str, list[str]]:
    """Return the caption of a grid and the heads of its columns, each a column and a metric."""
    caption = ", ".join(metric_label(table, metric) for metric in metrics)
    own = own_labels(table)
    columns = [column + OWN if column in own else column for column, _ in slots]
    if len(metrics) == 1:
        return caption, columns
    if any(metric == ANY for _, metric in slots):
        return "", columns
    if len(set(columns)) == 1:
        return f"{columns[0]}: {caption}", [metric_label(table, metric) for _, metric in slots]
    named = zip(columns, slots, strict=True)
    return caption, [with_unit(name, table.metrics[metric].unit) for name, (_, metric) in named]


def under_groups(parts: Sequence[tuple[str, Sequence[Row]]]) -> tuple[str, tuple[Row, ...]]:
    """Return the group of all rows, or rows with a heading above each of several groups."""
    groups = [group for group, _ in parts]
    if len(set(groups)) == 1:
        return groups[0], tuple(row for _, own in parts for row in own)
    rows: list[Row] = []
    for previous, (group, own) in zip(["", *groups], parts, strict=False):
        rows += [Row((Cell(group),), "group")] if group not in ("", previous) else []
        rows += own
    return "", tuple(rows)


def _runs(comparison: Comparison) -> str:
    data = ", ".join(label for label in comparison.data_labels if label not in comparison.how)
    return what_runs(comparison) + (f", on {data}" if data else "")
