"""Files of tables: their folder, their names, and how they are read."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from locbench.errors import FailureError, LocbenchError, UsageError
from locbench.files import MEGABYTE, read_regular, user_path
from locbench.printable import shortened
from locbench.registry import suggestion
from locbench.spec.table_faults import faults, faults_of_cells, mistyped_number
from locbench.spec.tables import Table

ALIASES: dict[str, dict[str, str]] = {
    "swin-tiny": {"pretrained": "swin-tiny-pretrained", "scratch": "swin-tiny-scratch"},
}
"""Table ids by name and by initial weights; without any, the first are meant."""


def aliased(table_id: str, init: str | None = None) -> str:
    """Return the id of the table that a name means; every other id is returned as it is.

    Args:
        table_id: an id or a name.
        init: the initial weights asked for; None leaves the choice to the name or the id.

    Raises:
        UsageError: the table has no choice of initial weights, or not these.
    """
    if init is None:
        return next(iter(ALIASES[table_id].values())) if table_id in ALIASES else table_id
    name, variants = _family(table_id)
    if init not in variants:
        raise UsageError(
            f"table {name!r} knows no initial weights {init!r}", suggestion(init, variants)
        )
    if table_id not in (name, variants[init]):
        raise UsageError(
            f"table {table_id!r} has other initial weights than {init!r}",
            f"Ask for table {name!r}.",
        )
    return variants[init]


def _family(table_id: str) -> tuple[str, dict[str, str]]:
    for name, variants in ALIASES.items():
        if table_id in (name, *variants.values()):
            return name, variants
    raise UsageError(
        f"table {table_id!r} has no choice of initial weights",
        f"Leave it out, or ask for one of: {', '.join(ALIASES)}.",
    )


def tables_folder() -> Path:
    """Return the folder of the tables: LOCBENCH_TABLES, the installed copy, or the checkout's.

    Raises:
        FailureError: there is none.
    """
    if os.environ.get("LOCBENCH_TABLES"):
        named = user_path(os.environ["LOCBENCH_TABLES"])
        if not named.is_dir():
            raise FailureError(
                f"LOCBENCH_TABLES names no folder: {named}",
                "Mend or unset that environment variable.",
            )
        return named
    package = Path(__file__).resolve().parents[1]
    if (package / "published").is_dir():
        return package / "published"
    # Beside an installed package, a folder of that name is somebody else's: PyTables is imported as
    # ``tables``.
    if not _is_checkout(package.parent):
        raise FailureError(
            f"this installation of locbench has no tables: {package / 'published'} is missing",
            "Install locbench again, or name a folder of tables in the environment "
            "variable LOCBENCH_TABLES.",
        )
    return package.parent / "tables"


def _is_checkout(folder: Path) -> bool:
    try:
        project = tomllib.loads(read_regular(folder / "pyproject.toml").decode("utf-8"))["project"][
            "name"
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(project == "locbench") and (folder / "tables").is_dir()


def _files() -> dict[str, Path]:
    """Return the tables' files by id.

    The ``._NAME`` files that macOS leaves beside others are none.
    """
    folder = tables_folder()
    try:
        paths = [
            path
            for path in sorted(folder.iterdir())
            if path.suffix == ".toml" and not path.name.startswith(".")
        ]
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
        raise UsageError(
            f"unknown table {shortened(table_id)}",
            suggestion(table_id, names) + " See: locbench list",
        )
    return read_table(files[aliased(table_id)])


def load_tables(
    faults: list[LocbenchError] | None = None, naming: Sequence[str] = ()
) -> list[Table]:
    """Read all tables, or those that name something.

    Args:
        faults: where it is noted why a table cannot be read, which is then left out; None raises
            it.
        naming: words of which one stands in a table's file; other files are not parsed. None given,
            all are.

    Raises:
        FailureError: as `load_table` does.
    """
    tables = []
    for path in _files().values():
        try:
            if not naming or _names(path, naming):
                tables.append(read_table(path))
        except LocbenchError as fault:
            if faults is None:
                raise
            faults.append(fault)
    return tables


def _names(path: Path, words: Sequence[str]) -> bool:
    try:
        text = read_regular(path, LARGEST_FILE)
    except OSError:
        return True  # whoever parses it says why
    return any(word.encode() in text for word in words)


LARGEST_FILE = 4 * MEGABYTE


def read_table(path: Path) -> Table:
    """Read and check one TOML file; see `load_table` for errors."""
    try:
        plain = tomllib.loads(read_regular(path, LARGEST_FILE).decode("utf-8-sig"))
        table = msgspec.convert(plain, Table)
    except OSError as error:
        raise FailureError(
            f"{path}: {error.strerror}", "Put a readable TOML file there, or move it away."
        ) from None
    except msgspec.ValidationError as error:
        raise FailureError(
            f"{path}: {mistyped_number(plain) or error}", "Mend the key named after '$'."
        ) from None
    except RecursionError:
        raise FailureError(f"{path}: it is nested too deeply", "Mend the file.") from None
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise FailureError(
            f"{path}: not valid TOML: {error}", "Mend the file at the place named."
        ) from None
    _check(path, table)
    return table


def _check(path: Path, table: Table) -> None:
    for key, message in faults(path, table):
        raise FailureError(f"{path}: key {key}: {message}", "Mend this key of the file.")
    try:
        table.cells  # noqa: B018 - builds every recipe
    except LocbenchError as error:
        raise FailureError(
            f"{path}: {error}", "Mend the recipe or the number that the message names."
        ) from None
    for message in faults_of_cells(table):
        raise FailureError(f"{path}: {message}", "Mend the recipe that the message names.")
