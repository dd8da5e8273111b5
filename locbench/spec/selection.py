"""Which cells, seeds and settings a user asks of a table."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Sequence

import msgspec

from locbench.datasets.catalogue import info
from locbench.datasets.coco import SHAPES
from locbench.errors import UsageError
from locbench.registry import close_names, suggestion
from locbench.spec.choices import Init, Memory, Precision, Preset
from locbench.spec.claims import Place, inequalities
from locbench.spec.tables import Axis, Cell, Claim, Table
from locbench.spec.validation import Seeds


class RunOptions(msgspec.Struct, frozen=True):
    """What a user asks of a table's run; None leaves the preset's or the table's own value.

    Attributes:
        dataset: one of the table's data sets narrows it to that one's cells; any other stands in
            for its first one.
        rows, columns: labels, parts of labels or patterns; empty means all.
        seeds: how many, or which ones; see `asked_seeds`.
        init: initial weights.
        weights: digest of a file that pretrained weights are taken from.
        processes: that share every run.
        bfloat16: whether the device has it in hardware; see `with_preset`.
        keep_weights: whether every run keeps its final weights; recorded runs without them are run
            again.
    """

    preset: Preset = "paper"
    dataset: str | None = None
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    seeds: Seeds | None = None
    epochs: int | None = None
    limit: int | None = None
    precision: Precision | None = None
    memory: Memory | None = None
    init: Init | None = None
    weights: str = ""
    processes: int = 1
    bfloat16: bool = True
    keep_weights: bool = False


def select(table: Table, options: RunOptions) -> tuple[list[Cell], str | None]:
    """Return the cells that the options leave, and the data set in place of the published one."""
    cells = chosen(table, options.rows, options.columns)
    detectors = any(cell.recipe and cell.recipe.detection for cell in cells)
    dataset = options.dataset or (
        (SHAPES if detectors else "digits") if options.preset == "smoke" else None
    )
    if dataset is None:
        return cells, None
    info(dataset)  # an unknown one is refused before anything runs
    if any(cell.recipe and cell.recipe.dataset == dataset for cell in cells):
        any_trains = any(trains(table, cell) for cell in cells)
        return [cell for cell in cells if _stays(table, cell, dataset, any_trains)], None
    first = next((cell.recipe.dataset for cell in cells if cell.recipe), None)
    return [cell for cell in cells if cell.recipe is None or cell.recipe.dataset == first], dataset


def chosen(table: Table, rows: tuple[str, ...], columns: tuple[str, ...]) -> list[Cell]:
    """Return the cells in rows and columns, given by labels, parts or patterns; none means all.

    Raises:
        UsageError: there are none.
    """
    kept = (
        _matching(table.rows, rows, "row", table.id),
        _matching(table.columns, columns, "column", table.id),
    )
    cells = [cell for cell in table.cells if cell.row in kept[0] and cell.column in kept[1]]
    if not cells:
        raise UsageError(
            f"{table.id} has no cell in these rows and columns", f"See: locbench show {table.id}"
        )
    return cells


def narrow(table: Table, cells: Collection[Cell]) -> Table:
    """Return the table with these of its cells alone, rows and columns that hold none left out."""
    places = {(cell.row, cell.column) for cell in cells}
    columns = [
        index
        for index, line in enumerate(table.columns)
        if any(line.label == column for _, column in places)
    ]
    labels = {row for row, _ in places}

    def kept(grid: dict[str, list[str]]) -> dict[str, list[str]]:
        return {
            row: [
                texts[index] if (row, table.columns[index].label) in places else ""
                for index in columns
            ]
            for row, texts in grid.items()
            if row in labels
        }

    derived = [
        msgspec.structs.replace(entry, printed=kept(entry.printed)) for entry in table.derived
    ]
    rows = [row for row in table.rows if row.label in labels]
    kept_columns = [table.columns[index] for index in columns]
    shown = {(cell.row, cell.column): cell.metrics for cell in cells}
    own = {
        (row.label, column.label): shown.get((row.label, column.label), ())
        for row in rows
        for column in kept_columns
        if row.own or column.own or table.unpublished
    }
    return msgspec.structs.replace(
        table,
        rows=rows,
        columns=kept_columns,
        own_places=own,
        published={metric: kept(grid) for metric, grid in table.published.items()},
        derived=derived,
        claims=[claim for claim in table.claims if _is_within(claim, table, places)],
    )


def _is_within(claim: Claim, table: Table, places: Collection[Place]) -> bool:
    """Whether all cells of a claim are among these; a part of it is no claim of the paper."""
    return all(
        place in places
        for inequality in inequalities(table, claim)
        for place, _ in inequality.weights
    )


def _stays(table: Table, cell: Cell, dataset: str, any_trains: bool) -> bool:
    """Whether a cell stays where one data set is asked for: its own, or costs."""
    return (
        cell.recipe is None
        or cell.recipe.dataset == dataset
        or (any_trains and not trains(table, cell))
    )


def _matching(
    axis: Sequence[Axis], patterns: tuple[str, ...], kind: str, table_id: str
) -> set[str]:
    labels = [line.label for line in axis]
    if not patterns:
        return set(labels)
    chosen: set[str] = set()
    for pattern in _spread(patterns, labels):
        matches = _find(pattern, labels)
        if not matches:
            raise UsageError(
                f"table {table_id} has no {kind} {pattern!r}", _closest(pattern, labels)
            )
        chosen |= matches
    return chosen


def _closest(pattern: str, labels: list[str]) -> str:
    """Return a suggestion among the last parts of labels if one is close, else among all labels."""
    endings = [label.rsplit(" / ", 1)[-1] for label in labels]
    return suggestion(pattern, endings if close_names(pattern, endings) else labels)


def _spread(patterns: tuple[str, ...], labels: list[str]) -> list[str]:
    """Split ``a,b`` at commas unless the whole is a label or part of one."""
    spread: list[str] = []
    for pattern in patterns:
        spread += (
            [pattern]
            if _find(pattern, labels)
            else [part.strip() for part in pattern.split(",") if part.strip()]
        )
    return spread


def _find(pattern: str, labels: list[str]) -> set[str]:
    """Return the labels that are a pattern, else those that end in it, match it, or contain it."""
    low = pattern.strip().lower()
    for matches in (
        lambda label: label == low,
        lambda label: label.rsplit(" / ", 1)[-1] == low,
        lambda label: any(sign in low for sign in "*?") and fnmatch.fnmatchcase(label, low),
        lambda label: bool(low) and low in label,
    ):
        matching = {label for label in labels if matches(label.lower())}
        if matching:
            return matching
    return set()


def trains(table: Table, cell: Cell) -> bool:
    """Return whether a cell prints what training gives, or without a number of its own would."""
    names = cell.metrics if cell.own or not table.published else cell.published
    return any(table.metrics[metric].kind == "trained" for metric in names)
