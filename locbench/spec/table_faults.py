"""What may be wrong with a table: labels, lengths, numbers and references."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from locbench.datasets.known import DATASETS
from locbench.datasets.naming import PREFIXES
from locbench.printable import printable, shortened
from locbench.registry import suggestion
from locbench.spec.claims import claim_faults
from locbench.spec.tables import Axis, Note, Table, parse_published

TRAINED = (
    *("test_acc", "test_err", "best_acc", "top1_err", "top5_acc", "top5_err"),
    *("box_ap", "box_ap50", "box_ap75", "mask_ap", "mask_ap50", "mask_ap75"),
)
"""Metrics that carry the noise of training."""

UNITS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(TRAINED, ("%",)),
    **{"params": ("M",), "flops": ("G",), "flops_reduction": ("%",), "gpu_memory": ("GB", "MiB")},
    **{"wall_clock_overhead": ("%",), "architecture": ("",), "split": ("",)},
}
"""What tables print, and the units in which it can be compared."""

_NEEDED = ("id", "title", "label", "name")
"""Keys of a table's file whose texts cannot be empty."""

_OF_A_PAPER = ("paper", "number", "source")
"""Further ones where a number is published."""


def faults(path: Path, table: Table, others: Container[str]) -> Iterator[tuple[str, str]]:
    """Yield the key and a message for every fault that shows without the table's recipes.

    Args:
        path: the table's file.
        table: what it holds.
        others: the ids of all tables, this one among them.
    """
    if table.id != path.stem:
        yield "id", f"{table.id!r} is not the file's name"
    yield from _in_texts("", msgspec.to_builtins(table))
    for key in () if table.unpublished else _OF_A_PAPER:
        if not str(getattr(table, key) or "").strip():
            yield key, "it is empty, and numbers are published"
    yield from _in_metrics(table)
    yield from _in_labels(table)
    yield from _in_grids(table)
    yield from _in_references(table)
    yield from _in_notes(table)
    yield from _in_calibration(table, others)
    yield from claim_faults(table)


def faults_of_cells(table: Table) -> Iterator[str]:
    """Yield a message for every fault of a table whose recipes can be made.

    These are unknown data sets, and settings of cells that cannot be run yet.
    """
    for key, message in _in_settings(table):
        yield f"key {key}: {message}"
    for cell in table.cells:
        for recipe in (cell.recipe, cell.recipe and cell.recipe.backbone):
            if (
                recipe
                and recipe.dataset not in DATASETS
                and not recipe.dataset.startswith(PREFIXES)
            ):
                name = recipe.dataset
                unknown = f"unknown data set {name!r}; {suggestion(name, DATASETS)}"
                yield f"row {cell.row!r}, column {cell.column!r}: {unknown}"


def _in_texts(key: str, value: object) -> Iterator[tuple[str, str]]:
    """Find empty texts where one is needed, and control characters, which command a terminal."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _in_texts(f"{key}.{name}" if key else str(name), each)
            yield from _in_texts(f"{key}.{name!r}", str(name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _in_texts(f"{key}[{index}]", each)
    elif isinstance(value, str):
        if printable(value, keep="\n") != value:
            yield key, f"{value!r} holds characters that cannot be printed"
        if key.rpartition(".")[2] in _NEEDED and not value.strip():
            yield key, "it is empty"


def _in_metrics(table: Table) -> Iterator[tuple[str, str]]:
    for name, metric in table.metrics.items():
        if name not in UNITS:
            yield f"metrics.{name}", f"no such metric; {suggestion(name, UNITS)}"
        elif metric.unit not in UNITS[name]:
            what = "no unit of memory" if name == "gpu_memory" else "not its unit"
            yield (
                f"metrics.{name}.unit",
                f"{metric.unit!r} is {what}; write {' or '.join(map(repr, UNITS[name]))}",
            )
        elif (metric.kind == "text") != (metric.unit == ""):
            yield f"metrics.{name}.kind", f"{metric.kind!r} does not fit the unit {metric.unit!r}"
        elif (metric.kind == "trained") != (name in TRAINED):
            yield f"metrics.{name}.kind", f"{metric.kind!r} is not how {name} comes about"


def _in_notes(table: Table) -> Iterator[tuple[str, str]]:
    for index, note in enumerate(table.noted):
        for metric in note.of if isinstance(note, Note) else ():
            if metric not in table.metrics:
                known = suggestion(metric, table.metrics)
                yield f"notes[{index}].of", f"{metric!r} is no metric of the table; {known}"


def _in_settings(table: Table) -> Iterator[tuple[str, str]]:
    """Look at all settings, also of rows that cannot be run yet, whose recipes nobody makes."""
    places = {"recipe": table.recipe}
    for axis, lines in (("rows", table.rows), ("columns", table.columns)):
        for line in lines:
            places[f"{axis}.{line.label!r}.recipe"] = line.recipe
            places |= {
                f"{axis}.{line.label!r}.at.{label!r}": settings
                for label, settings in line.at.items()
            }
    for key, settings in places.items():
        if not isinstance(settings.get("options", {}), dict):
            yield f"{key}.options", "it is no table of names and values"


def _in_labels(table: Table) -> Iterator[tuple[str, str]]:
    rows, columns = _labels(table.rows), _labels(table.columns)
    for axis, labels in (("rows", rows), ("columns", columns)):
        for label in {label for label in labels if labels.count(label) > 1}:
            yield axis, f"label {label!r} is there twice"
    for axis, lines, others in (("rows", table.rows, columns), ("columns", table.columns, rows)):
        for line in lines:
            for label in line.at:
                if label not in others:
                    yield (
                        f"{axis}.{line.label!r}.at",
                        f"it meets no {label!r}; {suggestion(label, others)}",
                    )


def _in_grids(table: Table) -> Iterator[tuple[str, str]]:
    rows = _labels(table.rows)
    grids = {f"published.{metric}": (metric, grid) for metric, grid in table.published.items()}
    grids |= {
        f"derived[{index}].printed": (derived.metric, derived.printed)
        for index, derived in enumerate(table.derived)
    }
    for key, (metric, grid) in grids.items():
        if metric not in table.metrics:
            yield (
                key.replace(".printed", ".metric"),
                f"metric {metric!r} is not declared; {suggestion(metric, table.metrics)}",
            )
            continue
        for label, texts in grid.items():
            if label not in rows:
                yield f"{key}.{label!r}", f"no such row; {suggestion(label, rows)}"
            if len(texts) != len(table.columns):
                yield f"{key}.{label!r}", f"{len(texts)} values for {len(table.columns)} columns"
            kind = table.metrics[metric].kind
            unit = table.metrics[metric].unit if key.startswith("published") else ""
            yield from _in_numbers(table, f"{key}.{label!r}", label, texts, kind, unit)
    yield from _in_own_places(table)
    if (
        not table.computed
        and table.published
        and not any(
            text for grid in table.published.values() for texts in grid.values() for text in texts
        )
    ):
        yield "published", "nothing is printed in any cell"


def _in_own_places(table: Table) -> Iterator[tuple[str, str]]:
    printed = {
        (row, column.label)
        for grid in table.published.values()
        for row, texts in grid.items()
        for column, text in zip(table.columns, texts, strict=True)
        if text
    }
    for name, axis, of in (("rows", table.rows, 0), ("columns", table.columns, 1)):
        for line in axis:
            if line.own and any(place[of] == line.label for place in printed):
                yield f"{name}.{line.label!r}.own", "it is own, and numbers are published of it"


def _in_numbers(
    table: Table, key: str, row: str, texts: Sequence[str], kind: str, unit: str
) -> Iterator[tuple[str, str]]:
    """Look at what a row prints.

    An accuracy or an error is a share, and what has a unit of its own is above 0.
    """
    for index, text in enumerate(texts[: len(table.columns)]):
        place = f"row {row!r}, column {table.columns[index].label!r}"
        try:
            published = parse_published(text, kind) if text else None
        except ValueError as error:
            yield key, f"{place}: {error}"
            continue
        if published is None or published.value is None:
            continue
        value, spread = published.value, published.std or 0.0
        most = 100.0 if unit == "%" and kind == "trained" else math.inf
        if not (math.isfinite(value) and spread <= most) or (unit and not 0 <= value <= most):
            yield key, f"{place}: {shortened(text)} is out of range"


def _in_references(table: Table) -> Iterator[tuple[str, str]]:
    rows = _labels(table.rows)
    for index, derived in enumerate(table.derived):
        key = f"derived[{index}]"
        for label in [*derived.printed, *derived.against, *derived.against.values()]:
            if label not in rows or (label in derived.printed and label not in derived.against):
                yield (
                    f"{key}.against",
                    f"no row or no reference for {label!r}; {suggestion(label, rows)}",
                )
        for label in derived.against:
            if _leads_back(derived.against, label):
                yield f"{key}.against", f"{label!r} is its own reference"
        if derived.metric in table.metrics and table.metrics[derived.metric].kind == "text":
            yield f"{key}.metric", f"nothing follows from {derived.metric}, which is text"
        unit = "%" if derived.formula == "reduction" else "pp"
        if derived.unit != unit and (
            derived.formula == "reduction" or derived.unit != table.metrics[derived.metric].unit
        ):
            yield (
                f"{key}.unit",
                f"{derived.unit!r} is not the unit of a {derived.formula}; write {unit!r}",
            )


def _leads_back(against: Mapping[str, str], start: str) -> bool:
    """Return whether the references from a row on come back to it."""
    label, seen = against[start], {start}
    while label in against and label not in seen:
        seen.add(label)
        label = against[label]
    return label == start


def _in_calibration(table: Table, others: Container[str]) -> Iterator[tuple[str, str]]:
    if table.calibration is None:
        return
    other = table.calibration.of
    if other and (other == table.id or other not in others):
        yield "calibration.of", f"{other!r} is no other table"
    rows, columns = _labels(table.rows), _labels(table.columns)
    named = {
        f"terms[{index}].fitted": term.fitted for index, term in enumerate(table.calibration.terms)
    }
    named["unfit"] = [(unfit.row, unfit.column) for unfit in table.calibration.unfit]
    for key, places in named.items():
        for row, column in places:
            if row not in rows or column not in columns:
                yield f"calibration.{key}", f"there is no place ({row!r}, {column!r})"


def _labels(axis: Sequence[Axis]) -> list[str]:
    return [line.label for line in axis]


def mistyped_number(plain: Mapping[str, object]) -> str:
    """Return the fault of a published number with its metric and row, which msgspec leaves out.

    Empty for others.
    """
    metrics = plain.get("published", {})
    for metric, grid in metrics.items() if isinstance(metrics, dict) else ():
        for row, texts in grid.items() if isinstance(grid, dict) else ():
            try:
                msgspec.convert(texts, list[str])
            except msgspec.ValidationError as error:
                message, _, place = str(error).rstrip("`").partition(" - at `$")
                return f"{message} - at `$.published.{metric}.{row!r}{place}`"
    return ""
