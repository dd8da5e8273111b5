"""What may be wrong with a table's file: labels, lengths and references."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from locbench.datasets.class_folders import PREFIX as FOLDER
from locbench.datasets.coco import PREFIX as COCO
from locbench.datasets.imagenet import PREFIX as STREAMED
from locbench.datasets.known import KNOWN
from locbench.errors import FailureError, LocbenchError, UsageError
from locbench.files import MEGABYTE, read_regular, user_path
from locbench.printable import printable, shortened
from locbench.registry import suggestion
from locbench.spec.claims import claim_faults
from locbench.spec.tables import Table

PREFIXES = (FOLDER, STREAMED, COCO)
"""Beginnings of the names of data sets that are described by a PATH."""

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
"""What tables print, and the units in which it can be held against what is computed or trained."""

MOST_TRIALS = 1000


def faults(path: Path, table: Table) -> Iterator[tuple[str, str]]:
    """Yield the key and a message for every fault of a table that was read from a file."""
    if table.id != path.stem:
        yield "id", f"{table.id!r} is not the file's name"
    yield from _in_texts("", msgspec.to_builtins(table))
    if not 1 <= table.trials <= MOST_TRIALS:
        yield "trials", f"{table.trials} runs behind a number; it is from 1 to {MOST_TRIALS}"
    yield from _in_metrics(table)
    yield from _in_labels(table)
    yield from _in_grids(table)
    yield from _in_references(table)
    yield from _in_calibration(path, table)
    yield from claim_faults(table)


def faults_of_cells(table: Table) -> Iterator[str]:
    """Yield a message for every fault of a table whose recipes could be made.

    These are unknown data sets, except those named by a PATH, and what stands at cells that cannot
    be run yet.
    """
    for key, message in _in_settings(table):
        yield f"key {key}: {message}"
    for cell in table.cells:
        for recipe in (cell.recipe, cell.recipe and cell.recipe.backbone):
            if (
                recipe is not None
                and recipe.dataset not in KNOWN
                and not recipe.dataset.startswith(PREFIXES)
            ):
                unknown = (
                    f"unknown data set {recipe.dataset!r}; {suggestion(recipe.dataset, KNOWN)}"
                )
                yield f"row {cell.row!r}, column {cell.column!r}: {unknown}"


def _in_texts(key: str, value: object) -> Iterator[tuple[str, str]]:
    """Find texts that say nothing where something has to be said, and control characters, which
    command a terminal.
    """
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
        if (
            key.rpartition(".")[2] in ("id", "number", "title", "source", "label")
            and not value.strip()
        ):
            yield key, "it is empty"


def _in_metrics(table: Table) -> Iterator[tuple[str, str]]:
    if not table.metrics:
        yield "metrics", "there is none"
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


def _in_settings(table: Table) -> Iterator[tuple[str, str]]:
    """Look at the names of all settings, also of rows that cannot be run yet, whose recipes nobody
    makes.
    """
    places = {"recipe": table.recipe}
    for axis, own in (("rows", table.rows), ("columns", table.columns)):
        for each in own:
            places[f"{axis}.{each.label!r}.recipe"] = each.recipe
            places |= {
                f"{axis}.{each.label!r}.at.{label!r}": settings
                for label, settings in each.at.items()
            }
    for key, settings in places.items():
        if not isinstance(settings.get("options", {}), dict):
            yield f"{key}.options", "it is no table of names and values"


def _in_labels(table: Table) -> Iterator[tuple[str, str]]:
    rows, columns = [row.label for row in table.rows], [column.label for column in table.columns]
    for axis, labels in (("rows", rows), ("columns", columns)):
        if not labels:
            yield axis, "there is none"
        for label in {each for each in labels if labels.count(each) > 1}:
            yield axis, f"label {label!r} is there twice"
    for axis, own, others in (("rows", table.rows, columns), ("columns", table.columns, rows)):
        for each in own:
            for label in each.at:
                if label not in others:
                    yield (
                        f"{axis}.{each.label!r}.at",
                        f"it meets no {label!r}; {suggestion(label, others)}",
                    )


def _in_grids(table: Table) -> Iterator[tuple[str, str]]:
    rows = [row.label for row in table.rows]
    grids = {f"published.{metric}": (metric, grid) for metric, grid in table.published.items()}
    grids |= {
        f"derived[{index}].printed": (each.metric, each.printed)
        for index, each in enumerate(table.derived)
    }
    for key, (metric, grid) in grids.items():
        if metric not in table.metrics:
            yield (
                f"published.{metric}",
                f"metric is not declared; {suggestion(metric, table.metrics)}",
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
    if not table.computed and not any(
        text for grid in table.published.values() for texts in grid.values() for text in texts
    ):
        yield "published", "nothing is printed in any cell"


def _in_numbers(
    table: Table, key: str, row: str, texts: Sequence[str], kind: str, unit: str
) -> Iterator[tuple[str, str]]:
    """Look at what a row prints.

    An accuracy or an error is a share, and what has a unit of its own is above 0.
    """
    from locbench.spec.tables import parse_published

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
    rows = [row.label for row in table.rows]
    for index, each in enumerate(table.derived):
        key = f"derived[{index}]"
        for label in [*each.printed, *each.against, *each.against.values()]:
            if label not in rows or (label in each.printed and label not in each.against):
                yield (
                    f"{key}.against",
                    f"no row or no reference for {label!r}; {suggestion(label, rows)}",
                )
        for label in each.against:
            if _leads_back(each.against, label):
                yield f"{key}.against", f"{label!r} is its own reference"
        if each.metric in table.metrics and table.metrics[each.metric].kind == "text":
            yield f"{key}.metric", f"nothing follows from {each.metric}, which is text"
        unit = "%" if each.formula == "reduction" else "pp"
        if each.unit != unit and (
            each.formula == "reduction" or each.unit != table.metrics[each.metric].unit
        ):
            yield (
                f"{key}.unit",
                f"{each.unit!r} is not the unit of a {each.formula}; write {unit!r}",
            )


def _leads_back(against: Mapping[str, str], start: str) -> bool:
    """Return whether the references from a row on come back to it."""
    label, seen = against[start], {start}
    while label in against and label not in seen:
        seen.add(label)
        label = against[label]
    return label == start


def _in_calibration(path: Path, table: Table) -> Iterator[tuple[str, str]]:
    if table.calibration is None:
        return
    other = table.calibration.of
    if other and (other == table.id or not path.with_name(f"{other}.toml").is_file()):
        yield "calibration.of", f"{other!r} is no other table"
    for index, term in enumerate(table.calibration.terms):
        if not 0 <= term.gigabytes < 1000:
            yield (
                f"calibration.terms[{index}].gigabytes",
                f"{term.gigabytes} is no size from 0 to 1000",
            )
    rows, columns = [row.label for row in table.rows], [column.label for column in table.columns]
    fitted = {
        f"terms[{index}].fitted": each.fitted for index, each in enumerate(table.calibration.terms)
    }
    for key, places in (
        fitted | {"unfit": [(each.row, each.column) for each in table.calibration.unfit]}
    ).items():
        for row, column in places:
            if row not in rows or column not in columns:
                yield f"calibration.{key}", f"there is no place ({row!r}, {column!r})"


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


ALIASES: dict[str, dict[str, str]] = {
    "swin-tiny": {"pretrained": "swin-tiny-pretrained", "scratch": "swin-tiny-scratch"},
}
"""Table ids by name and by initial weights.

The first initial weights are meant where none are named.
"""


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
    """Return the folder of the TOML files: LOCBENCH_TABLES, the installed copy, or the checkout's
    ``tables``.

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
            "Install locbench again, or name a folder of tables in the environment variable LOCBENCH_TABLES.",
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
            each
            for each in sorted(folder.iterdir())
            if each.suffix == ".toml" and not each.name.startswith(".")
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
