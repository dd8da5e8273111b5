"""Files of tables: their folders, their names, and how they are read."""

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
from locbench.spec.extensions import Extension, extended
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


_added: tuple[Path, ...] = ()


def add_tables(folders: Sequence[Path]) -> None:
    """Let this process read the tables of folders, in the place of those that were added before.

    They count beside the shipped ones and those of LOCBENCH_TABLES.

    Raises:
        UsageError: one of them is no folder.
    """
    global _added
    named = tuple(user_path(str(folder)) for folder in folders)
    for folder in named:
        if not folder.is_dir():
            raise UsageError(
                f"--tables names no folder: {folder}",
                "Give a folder of TOML files, or leave it out.",
            )
    _added = named


def folder_options() -> str:
    """Return the options that add the same folders to another command; empty for none."""
    return "".join(f" --tables {folder}" for folder in _added)


def table_folders() -> list[Path]:
    """Return the folders of the tables, each once: shipped, LOCBENCH_TABLES's, and added ones.

    Raises:
        FailureError: the shipped folder, or one that is named, is not there.
    """
    named = [
        user_path(text) for text in os.environ.get("LOCBENCH_TABLES", "").split(os.pathsep) if text
    ]
    for folder in named:
        if not folder.is_dir():
            raise FailureError(
                f"LOCBENCH_TABLES names no folder: {folder}",
                "Mend or unset that environment variable.",
            )
    folders: dict[Path, Path] = {}
    for folder in (shipped_folder(), *named, *_added):
        folders.setdefault(folder.resolve(), folder)
    return list(folders.values())


def shipped_folder() -> Path:
    """Return the folder of the published tables: the installed copy, or the checkout's.

    Raises:
        FailureError: there is none.
    """
    package = Path(__file__).resolve().parents[1]
    if (package / "published").is_dir():
        return package / "published"
    # Beside an installed package, a folder of that name is somebody else's: PyTables is imported as
    # ``tables``.
    if not _is_checkout(package.parent):
        raise FailureError(
            f"this installation of locbench has no tables: {package / 'published'} is missing",
            "Install locbench again.",
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


def _files() -> dict[str, list[Path]]:
    """Return the tables' files by id, those of every folder by name."""
    files: dict[str, list[Path]] = {}
    for folder in table_folders():
        for path in _listed(folder):
            files.setdefault(path.stem, []).append(path)
    return files


def _listed(folder: Path) -> list[Path]:
    """Return a folder's tables.

    The ``._NAME`` files that macOS leaves beside others are none.
    """
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
    return paths


def _only(paths: Sequence[Path]) -> Path:
    """Return the one file of an id."""
    if len(paths) > 1:
        raise FailureError(
            f"table {paths[0].stem!r} is there twice: {paths[0]} and {paths[1]}",
            "Give one of them another id and file name, or name its folder no more.",
        )
    return paths[0]


def table_ids() -> list[str]:
    """Return the ids of all tables, those of every folder sorted by file name."""
    return list(_files())


def load_table(table_id: str) -> Table:
    """Read one table, by its id or by a name that stands for it; no other file is read.

    Raises:
        UsageError: there is no table of that id.
        FailureError: its file is malformed, or there are two of them; the message names the file,
            the key and the remedy.
    """
    files = _files()
    if aliased(table_id) not in files:
        names = [*files, *(name for name in ALIASES if aliased(name) in files)]
        raise UsageError(
            f"unknown table {shortened(table_id)}",
            suggestion(table_id, names) + " See: locbench list",
        )
    return read_table(_only(files[aliased(table_id)]))


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
    for paths in _files().values():
        try:
            path = _only(paths)
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


def read_table(path: Path, above: Sequence[str] = ()) -> Table:
    """Read and check one TOML file; see `load_table` for errors.

    Args:
        path: the file.
        above: ids of tables that extend this one, each the next.
    """
    try:
        plain = tomllib.loads(read_regular(path, LARGEST_FILE).decode("utf-8-sig"))
        if "extends" not in plain:
            table = msgspec.convert(plain, Table)
        else:
            table = _extended(path, msgspec.convert(plain, Extension), (*above, path.stem))
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


def _extended(path: Path, extension: Extension, above: Sequence[str]) -> Table:
    """Return the table of an extension's file, reading the one that it extends."""
    base, files = aliased(extension.base.table), _files()
    if base in above:
        circle = " extends ".join((*above, base))
        raise FailureError(f"{path}: key extends: it leads back: {circle}", "Mend this key.")
    if base not in files:
        raise FailureError(
            f"{path}: key extends: unknown table {shortened(base)}", suggestion(base, files)
        )
    table = read_table(_only(files[base]), above)
    try:
        return extended(extension, table)
    except UsageError as error:
        raise FailureError(f"{path}: key extends: {error.message}", error.remedy) from None


def _check(path: Path, table: Table) -> None:
    others = [*_files(), *(each.stem for each in path.parent.glob("*.toml"))]
    for key, message in faults(path, table, others):
        raise FailureError(f"{path}: key {key}: {message}", "Mend this key of the file.")
    try:
        table.cells  # noqa: B018 - builds every recipe
    except LocbenchError as error:
        plugin = " If a plugin gives it: --plugin FILE.py." if "unknown" in error.message else ""
        raise FailureError(
            f"{path}: {error}", f"Mend the recipe or the number that the message names.{plugin}"
        ) from None
    for message in faults_of_cells(table):
        raise FailureError(f"{path}: {message}", "Mend the recipe that the message names.")
