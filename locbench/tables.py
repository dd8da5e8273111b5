"""Published tables as data: one TOML file each, read into `Table`, `Row`, `Column` and `Cell`. Imports no torch."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec

from locbench.errors import FailureError, LocbenchError, UsageError
from locbench.files import MEGABYTE, read_regular, user_path
from locbench.recipe import Recipe, make_recipe
from locbench.recipe_rules import shortened
from locbench.registry import suggestion
from locbench.table_aliases import ALIASES
from locbench.table_aliases import aliased as aliased
from locbench.table_calibration import Calibration
from locbench.table_claims import Claim, inequalities
from locbench.table_faults import faults, faults_of_cells, mistyped_number


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A quantity that a table prints.

    Attributes:
        unit: as printed, for example ``%``, ``M``, ``GB``; empty for text.
        kind: ``trained`` numbers carry noise, ``exact`` ones must agree after rounding, ``predicted`` ones are costs
            computed without a device, ``measured`` ones are costs that only a device tells, ``text`` is an
            architecture string.
        better: which direction is better, for ranks.
    """

    unit: str
    kind: Literal["trained", "exact", "predicted", "measured", "text"] = "trained"
    better: Literal["higher", "lower", "none"] = "higher"


class Axis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row or a column: its printed label and what it says of the recipes along it.

    Attributes:
        at: what else it says where it meets a row or column of that label; ranks above everything.
        alone: the row's recipe takes nothing from the columns (a row whose one value the paper prints once).
        blocked: why the cells along it cannot be run yet; empty if they can.
        note: what a reader should know of this row or column.
    """

    label: str
    recipe: dict[str, Any] = {}
    at: dict[str, dict[str, Any]] = {}
    alone: bool = False
    blocked: str = ""
    note: str = ""


class Derived(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values that the paper prints but that follow from others, such as HPFF's arrows.

    Attributes:
        label: what the derived value is called.
        metric: the metric it is derived from.
        formula: ``difference`` is reference - value, ``reduction`` is 100 * (1 - value / reference) in percent.
        against: for each row label, the row label of its reference.
        printed: for each row label, the printed values by column, as strings; an empty one is not printed.
    """

    label: str
    metric: str
    unit: str
    formula: Literal["difference", "reduction"]
    against: dict[str, str]
    printed: dict[str, list[str]]


class Published(msgspec.Struct, frozen=True):
    """A number as the paper prints it: value, spread if any, and the decimals that it was rounded to."""

    text: str
    value: float | None
    std: float | None
    decimals: int


class Cell(msgspec.Struct, frozen=True):
    """One place of a table: a recipe, and what the paper prints there by metric."""

    row: str
    column: str
    recipe: Recipe | None
    published: dict[str, Published]
    blocked: str = ""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A published table or figure.

    Attributes:
        id, paper, number, title, source: what it is and where it is printed.
        trials: number of runs behind a published number.
        notes: contradictions and choices, one sentence or two each.
        recipe: settings that all cells share; rows and then columns add to them.
        published: for each metric, for each row label, the printed strings by column; an empty one is not printed.
        computed: every cell of the grid exists, also where nothing legible is printed.
        calibration: what the published memory holds beyond tensors, if that was looked into.
        claims: what the paper says of the numbers, see `locbench.table_claims`.
    """

    id: str
    paper: Literal["auglocal", "hpff", "pgl", "swin"]
    number: str
    title: str
    source: str
    rows: list[Axis]
    columns: list[Axis]
    metrics: dict[str, Metric]
    published: dict[str, dict[str, list[str]]]
    trials: int = 1
    notes: list[str] = []
    recipe: dict[str, Any] = {}
    derived: list[Derived] = []
    computed: bool = False
    calibration: Calibration | None = None
    claims: list[Claim] = []

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, row by row; a place where the paper prints nothing is no cell."""
        return tuple(self._cells())

    @property
    def values(self) -> int:
        """How many numbers the paper prints in it."""
        return sum(len(cell.published) for cell in self.cells)

    def _cells(self) -> Iterator[Cell]:
        for row in self.rows:
            for index, column in enumerate(self.columns):
                try:
                    published = self._published(row.label, index)
                    cell = self._cell(row, column, published) if published or self.computed else None
                except (LocbenchError, ValueError, TypeError, OverflowError) as error:
                    raise UsageError(f"row {row.label!r}, column {column.label!r}: {error}") from None
                if cell is not None:
                    yield cell

    def _published(self, row: str, column: int) -> dict[str, Published]:
        texts = {metric: rows[row][column] for metric, rows in self.published.items() if row in rows}
        return {metric: parse_published(text, self.metrics[metric].kind) for metric, text in texts.items() if text}

    def _cell(self, row: Axis, column: Axis, published: dict[str, Published]) -> Cell:
        blocked = row.blocked or column.blocked
        recipe = None if blocked else make_recipe(self._settings(row, column))
        return Cell(row=row.label, column=column.label, recipe=recipe, published=published, blocked=blocked)

    def settings(self, cell: Cell) -> dict[str, Any]:
        """Return the flat settings behind a cell's recipe, before a preset or an option of the command changes them."""
        row = next(each for each in self.rows if each.label == cell.row)
        column = next(each for each in self.columns if each.label == cell.column)
        return self._settings(row, column)

    def _settings(self, row: Axis, column: Axis) -> dict[str, Any]:
        along = {} if row.alone else merge(column.recipe, column.at.get(row.label, {}))
        return merge(self.recipe, row.recipe, along, row.at.get(column.label, {}))


def narrow(table: Table, cells: Collection[Cell]) -> Table:
    """Return the table with these of its cells alone, rows and columns that hold none left out."""
    places = {(cell.row, cell.column) for cell in cells}
    columns = [index for index, each in enumerate(table.columns) if any(each.label == column for _, column in places)]
    labels = {row for row, _ in places}

    def kept(grid: dict[str, list[str]]) -> dict[str, list[str]]:
        return {
            row: [texts[index] if (row, table.columns[index].label) in places else "" for index in columns]
            for row, texts in grid.items()
            if row in labels
        }

    derived = [msgspec.structs.replace(each, printed=kept(each.printed)) for each in table.derived]
    return msgspec.structs.replace(
        table,
        rows=[row for row in table.rows if row.label in labels],
        columns=[table.columns[index] for index in columns],
        published={metric: kept(grid) for metric, grid in table.published.items()},
        derived=derived,
        claims=[claim for claim in table.claims if _is_within(claim, table, places)],
    )


def _is_within(claim: Claim, table: Table, places: Collection[tuple[str, str]]) -> bool:
    """Whether all cells of a claim are among these: what is left of another is not what the paper says."""
    return all(place in places for each in inequalities(table, claim) for place, _ in each.weights)


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge settings, later layers first in rank; ``options`` merge key by key."""
    merged: dict[str, Any] = {}
    for layer in layers:
        options = {**merged.get("options", {}), **layer.get("options", {})}
        merged |= layer
        if options:
            merged["options"] = options
    return merged


_NUMBER = re.compile(r"^\s*(?P<value>-?\d+(?:\.(?P<decimals>\d+))?)\s*(?:(?:±|\+-)\s*(?P<std>\d+(?:\.\d+)?))?\s*$")


def parse_published(text: str, kind: str) -> Published:
    """Read ``93.73 ± 0.04`` into a value, a spread and the number of printed decimals; ``text`` cells stay text.

    Raises:
        ValueError: the text is no number.
    """
    if kind == "text":
        return Published(text=text, value=None, std=None, decimals=0)
    match = _NUMBER.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a number such as '93.73' or '93.73 ± 0.04'")
    std = match["std"]
    decimals = len(match["decimals"] or "")
    return Published(text=text, value=float(match["value"]), std=None if std is None else float(std), decimals=decimals)


def tables_folder() -> Path:
    """Return the folder of the TOML files: LOCBENCH_TABLES, the installed copy, or the checkout's ``tables``.

    Raises:
        FailureError: there is none.
    """
    if os.environ.get("LOCBENCH_TABLES"):
        named = user_path(os.environ["LOCBENCH_TABLES"])
        if not named.is_dir():
            raise FailureError(f"LOCBENCH_TABLES names no folder: {named}", "Mend or unset that environment variable.")
        return named
    package = Path(__file__).resolve().parent
    if (package / "published").is_dir():
        return package / "published"
    # Beside an installed package, a folder of that name is somebody else's: PyTables is imported as ``tables``.
    if not _is_checkout(package.parent):
        raise FailureError(
            f"this installation of locbench has no tables: {package / 'published'} is missing",
            "Install locbench again, or name a folder of tables in the environment variable LOCBENCH_TABLES.",
        )
    return package.parent / "tables"


def _is_checkout(folder: Path) -> bool:
    try:
        project = tomllib.loads(read_regular(folder / "pyproject.toml").decode("utf-8"))["project"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(project == "locbench") and (folder / "tables").is_dir()


def _files() -> dict[str, Path]:
    """Return the tables' files by id; the ``._NAME`` files that macOS leaves beside others are none."""
    folder = tables_folder()
    try:
        paths = [each for each in sorted(folder.iterdir()) if each.suffix == ".toml" and not each.name.startswith(".")]
    except OSError as error:
        message = f"the folder of the tables cannot be read: {folder}: {error.strerror}"
        raise FailureError(message, "Look at its permissions.") from None
    if not paths:
        raise FailureError(f"there are no tables in {folder}", "They are files that end in .toml.")
    return {path.stem: path for path in paths}


def table_ids() -> list[str]:
    """Return the ids of all tables, sorted by file name."""
    return list(_files())


def load_table(table_id: str) -> Table:
    """Read one table, by its id or by a name that stands for it; no other file is read.

    Raises:
        UsageError: there is no table of that id.
        FailureError: its file is malformed; the message names the file, the key and the remedy.
    """
    files = _files()
    if aliased(table_id) not in files:
        names = [*files, *(name for name in ALIASES if aliased(name) in files)]
        raise UsageError(f"unknown table {shortened(table_id)}", suggestion(table_id, names) + " See: locbench list")
    return read_table(files[aliased(table_id)])


def load_tables(faults: list[LocbenchError] | None = None) -> list[Table]:
    """Read all tables.

    Args:
        faults: where it is noted why a table cannot be read, which is then left out; None raises it.

    Raises:
        FailureError: as `load_table` does.
    """
    tables = []
    for path in _files().values():
        try:
            tables.append(read_table(path))
        except LocbenchError as fault:
            if faults is None:
                raise
            faults.append(fault)
    return tables


LARGEST_FILE = 4 * MEGABYTE


def read_table(path: Path) -> Table:
    """Read and check one TOML file; see `load_table` for errors."""
    try:
        plain = tomllib.loads(read_regular(path, LARGEST_FILE).decode("utf-8-sig"))
        table = msgspec.convert(plain, Table)
    except OSError as error:
        raise FailureError(f"{path}: {error.strerror}", "Put a readable TOML file there, or move it away.") from None
    except msgspec.ValidationError as error:
        raise FailureError(f"{path}: {mistyped_number(plain) or error}", "Mend the key named after '$'.") from None
    except RecursionError:
        raise FailureError(f"{path}: it is nested too deeply", "Mend the file.") from None
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise FailureError(f"{path}: not valid TOML: {error}", "Mend the file at the place named.") from None
    _check(path, table)
    return table


def _check(path: Path, table: Table) -> None:
    for key, message in faults(path, table):
        raise FailureError(f"{path}: key {key}: {message}", "Mend this key of the file.")
    try:
        table.cells  # noqa: B018 - builds every recipe
    except LocbenchError as error:
        raise FailureError(f"{path}: {error}", "Mend the recipe or the number that the message names.") from None
    for message in faults_of_cells(table):
        raise FailureError(f"{path}: {message}", "Mend the recipe that the message names.")
