"""Tables that take another one and add rows or columns of one's own."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from locbench.errors import UsageError
from locbench.registry import suggestion
from locbench.spec.selection import chosen, narrow
from locbench.spec.tables import Axis, Calibration, Cell, Derived, Note, Table


class Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of which table is taken; without a choice, the whole.

    Attributes:
        table: its id.
        rows, columns: labels, parts of labels or patterns, as for ``--rows``.
        datasets: only cells on these data sets.
    """

    table: str
    rows: list[str] = []
    columns: list[str] = []
    datasets: list[str] = []


class Extension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of such a table. It has no published numbers: those are of the table it takes.

    Attributes:
        extends: the other table, or a part of it.
        title: in the place of the other table's; empty keeps that.
        rows, columns: what is added, below and to the right.
        noted: further notes; the key is ``notes``.
    """

    id: str
    extends: str | Base
    title: str = ""
    rows: list[Axis] = []
    columns: list[Axis] = []
    noted: list[str | Note] = msgspec.field(default_factory=list, name="notes")

    @property
    def base(self) -> Base:
        """Which part of which table is taken."""
        return Base(self.extends) if isinstance(self.extends, str) else self.extends


def extended(extension: Extension, table: Table) -> Table:
    """Return a table with what an extension adds to it, or to a part of it.

    The cells of the other table keep their recipes, and so share their records.

    Raises:
        UsageError: the choice of its rows, columns or data sets leaves nothing, or nothing is
            added.
    """
    if not (extension.rows or extension.columns):
        raise UsageError("neither rows nor columns are added", "Add [[rows]] or [[columns]].")
    part = _part(extension.base, table)
    rows, columns = _linked(part.rows, part.columns), _linked(part.columns, part.rows)
    added = len(extension.columns)
    return msgspec.structs.replace(
        part,
        id=extension.id,
        extends=table.id,
        title=extension.title or part.title,
        rows=[*rows, *map(_own, extension.rows)],
        columns=[*columns, *map(_own, extension.columns)],
        published={metric: _wider(grid, added) for metric, grid in part.published.items()},
        derived=[each for derived in part.derived if (each := _kept(derived, rows, added)).printed],
        noted=[*part.noted, *extension.noted],
        calibration=_calibration(table),
    )


def _own(axis: Axis) -> Axis:
    return msgspec.structs.replace(axis, own=True)


def _part(base: Base, table: Table) -> Table:
    cells = _on_datasets(chosen(table, tuple(base.rows), tuple(base.columns)), base.datasets)
    return narrow(table, cells) if len(cells) < len(table.cells) else table


def _on_datasets(cells: Sequence[Cell], datasets: Sequence[str]) -> Sequence[Cell]:
    known = dict.fromkeys(cell.recipe.dataset for cell in cells if cell.recipe)
    for name in datasets:
        if name not in known:
            raise UsageError(f"no cell is on the data set {name!r}", suggestion(name, known))
    if not datasets:
        return cells
    return [cell for cell in cells if cell.recipe and cell.recipe.dataset in datasets]


def _linked(axis: Sequence[Axis], other: Sequence[Axis]) -> list[Axis]:
    """Return rows or columns without what they say at places that are left out."""
    labels = {each.label for each in other}
    return [
        msgspec.structs.replace(
            each, at={label: settings for label, settings in each.at.items() if label in labels}
        )
        for each in axis
    ]


def _wider(grid: dict[str, list[str]], count: int) -> dict[str, list[str]]:
    return {row: [*texts, *([""] * count)] for row, texts in grid.items()}


def _kept(derived: Derived, rows: Sequence[Axis], count: int) -> Derived:
    """Return derived values of which the row and its reference are there."""
    labels = {row.label for row in rows}
    against = {
        row: reference
        for row, reference in derived.against.items()
        if row in labels and reference in labels
    }
    printed = {row: texts for row, texts in derived.printed.items() if row in against}
    return msgspec.structs.replace(derived, against=against, printed=_wider(printed, count))


def _calibration(table: Table) -> Calibration | None:
    """Return the other table's calibration as that of a table to whose terms it refers."""
    calibration = table.calibration
    if calibration is None:
        return None
    return msgspec.structs.replace(calibration, of=calibration.of or table.id, terms=[], unfit=[])
