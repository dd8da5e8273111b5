"""What may be wrong with a table's file: labels, lengths and references. Imports no torch."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from locbench.registry import suggestion
from locbench.table_claims import claim_faults

if TYPE_CHECKING:
    from locbench.tables import Table


def faults(path: Path, table: Table) -> Iterator[tuple[str, str]]:
    """Yield the key and a message for every fault of a table that was read from a file."""
    if table.id != path.stem:
        yield "id", f"{table.id!r} is not the file's name"
    yield from _in_labels(table)
    yield from _in_grids(table)
    yield from _in_references(table)
    yield from _in_calibration(table)
    yield from claim_faults(table)


def _in_labels(table: Table) -> Iterator[tuple[str, str]]:
    rows, columns = [row.label for row in table.rows], [column.label for column in table.columns]
    for axis, labels in (("rows", rows), ("columns", columns)):
        for label in {each for each in labels if labels.count(each) > 1}:
            yield axis, f"label {label!r} is there twice"
    for axis, own, others in (("rows", table.rows, columns), ("columns", table.columns, rows)):
        for each in own:
            for label in each.at:
                if label not in others:
                    yield f"{axis}.{each.label!r}.at", f"it meets no {label!r}; {suggestion(label, others)}"


def _in_grids(table: Table) -> Iterator[tuple[str, str]]:
    rows = [row.label for row in table.rows]
    grids = {f"published.{metric}": grid for metric, grid in table.published.items()}
    grids |= {f"derived[{index}].printed": each.printed for index, each in enumerate(table.derived)}
    for key, grid in grids.items():
        for label, texts in grid.items():
            if label not in rows:
                yield f"{key}.{label!r}", f"no such row; {suggestion(label, rows)}"
            if len(texts) != len(table.columns):
                yield f"{key}.{label!r}", f"{len(texts)} values for {len(table.columns)} columns"


def _in_references(table: Table) -> Iterator[tuple[str, str]]:
    rows = [row.label for row in table.rows]
    for index, each in enumerate(table.derived):
        for label in [*each.printed, *each.against.values()]:
            if label not in rows or (label in each.printed and label not in each.against):
                yield f"derived[{index}].against", f"no row or no reference for {label!r}; {suggestion(label, rows)}"
    for metric in [*table.published, *(each.metric for each in table.derived)]:
        if metric not in table.metrics:
            yield f"published.{metric}", f"metric is not declared; {suggestion(metric, table.metrics)}"


def _in_calibration(table: Table) -> Iterator[tuple[str, str]]:
    if table.calibration is None:
        return
    rows, columns = [row.label for row in table.rows], [column.label for column in table.columns]
    fitted = {f"terms[{index}].fitted": each.fitted for index, each in enumerate(table.calibration.terms)}
    for key, places in (fitted | {"unfit": [(each.row, each.column) for each in table.calibration.unfit]}).items():
        for row, column in places:
            if row not in rows or column not in columns:
                yield f"calibration.{key}", f"there is no place ({row!r}, {column!r})"


def mistyped_number(path: Path) -> str:
    """Return the fault of a published number with its metric and row, which msgspec leaves out; empty for others."""
    metrics = tomllib.loads(path.read_text(encoding="utf-8")).get("published", {})
    for metric, grid in metrics.items() if isinstance(metrics, dict) else ():
        for row, texts in grid.items() if isinstance(grid, dict) else ():
            try:
                msgspec.convert(texts, list[str])
            except msgspec.ValidationError as error:
                message, _, place = str(error).rstrip("`").partition(" - at `$")
                return f"{message} - at `$.published.{metric}.{row!r}{place}`"
    return ""
