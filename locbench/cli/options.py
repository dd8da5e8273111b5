"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from locbench.cli.completion import table_names
from locbench.errors import UsageError
from locbench.files import user_path
from locbench.spec import choices

RESULTS = Path("results")
FOLDERS = [RESULTS]


def _results_folder(context: typer.Context, given: Path) -> Path:
    """Return a folder of records; nobody but a shell replaces ``~``, and not in a variable.

    Of several in the variable, it is the first.
    """
    source = context.get_parameter_source("results")
    named = source is not None and source.name == "ENVIRONMENT"
    return user_path(str(given).split(os.pathsep)[0] if named else str(given))


def _results_folders(given: list[Path]) -> list[Path]:
    """Return folders of records likewise; further ones are only read, and have to be there."""
    folders = [user_path(str(folder)) for folder in given]
    for folder in folders[1:]:
        if not folder.is_dir():
            raise UsageError(
                f"--results names no folder: {folder}",
                "The first one may be new; further ones hold records.",
            )
    seen: dict[Path, Path] = {}
    for folder in folders:
        seen.setdefault(folder.resolve(), folder)
    return list(seen.values())


Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="NAME=VALUE, an option of the method; repeat it."),
]
Modules = Annotated[
    int | None, typer.Option(help="K local modules.", show_default="every local layer")
]
BatchSize = Annotated[
    int | None, typer.Option(help="Images per step.", show_default="the papers' for the data set")
]
ImageSize = Annotated[int | None, typer.Option(help="Side of the images in pixels.")]
Epochs = Annotated[int | None, typer.Option(help="Epochs in place of the preset's.")]
Limit = Annotated[int | None, typer.Option(help="Training images, balanced over classes.")]
Seeds = Annotated[
    str | None,
    typer.Option(
        metavar="N|LIST",
        help="How many seeds per cell, or which ones, such as 0,3,7.",
        show_default="the paper's; 1 if reduced",
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", help="This seed alone.")]
Tables = Annotated[
    list[Path] | None,
    typer.Option(
        "--tables",
        metavar="DIR",
        help="Folder of tables of your own, beside the shipped ones; repeat it.",
        show_default="$LOCBENCH_TABLES",
    ),
]
Rows = Annotated[
    list[str] | None, typer.Option(help="Rows: labels, parts of them, patterns; repeat it.")
]
Columns = Annotated[list[str] | None, typer.Option(help="Columns, likewise.")]
TableId = Annotated[
    str,
    typer.Argument(metavar="ID", help="A table of `locbench list`.", autocompletion=table_names),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ... or auto.")]
Devices = Annotated[
    str,
    typer.Option(
        help="cpu, cuda, cuda:1, ... or auto; cuda:0,cuda:1 or all train on several side by side."
    ),
]
JobsPerDevice = Annotated[
    int, typer.Option(help="Cells at a time on each device; their times are marked as shared.")
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root", help="Folder of the data sets.", show_default="$LOCBENCH_DATA or .data"
    ),
]
Results = Annotated[
    Path,
    typer.Option(
        envvar="LOCBENCH_RESULTS",
        show_envvar=False,
        callback=_results_folder,
        help="Folder of the records and reports.",
        show_default="$LOCBENCH_RESULTS or results",
    ),
]
ResultsFolders = Annotated[
    list[Path],
    typer.Option(
        "--results",
        envvar="LOCBENCH_RESULTS",
        show_envvar=False,
        callback=_results_folders,
        help="Folder of the records and reports; repeat it to read several as one. The first is"
        " written into.",
        show_default="$LOCBENCH_RESULTS or results",
    ),
]
Download = Annotated[bool, typer.Option("--download", help="Fetch a data set that is missing.")]
Precision = Annotated[
    choices.Precision | None,
    typer.Option(help="Arithmetic of the training step.", show_default="fp32"),
]
Memory = Annotated[
    choices.Memory | None,
    typer.Option(
        help="lean: less memory, some layers run twice; for isolated modules and bp.",
        show_default="plain",
    ),
]
KeepWeights = Annotated[
    bool,
    typer.Option(
        "--keep-weights", help="Keep final weights; recorded runs without them run again."
    ),
]
Engine = Annotated[
    choices.EngineChoice,
    typer.Option(
        help="How steps are run, to the same numbers; auto: the fastest that is safe there."
    ),
]
Preset = Annotated[
    choices.Preset,
    typer.Option(help="smoke: minutes; quick: half an hour; short: hours; paper: as published."),
]


def use_tables(folders: list[Path] | None) -> None:
    """Add the folders of ``--tables`` to those of the tables."""
    from locbench.spec.table_files import add_tables

    add_tables(folders or ())


def data_root(given: Path | None) -> Path:
    """Return the folder of the data sets."""
    from locbench.datasets.catalogue import default_root

    return given or default_root()
