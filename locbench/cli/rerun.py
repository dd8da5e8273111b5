"""``locbench rerun``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from locbench.cli.options import DataRoot, Device, Download, Engine, Json, data_root


def rerun(
    record: Annotated[
        Path, typer.Argument(metavar="RECORD.json", help="A record's file, of whatever folder.")
    ],
    device: Device = "auto",
    engine: Engine = "auto",
    weights: Annotated[
        Path | None, typer.Option(help="The file of weights that the run started from.")
    ] = None,
    root: DataRoot = None,
    results: Annotated[
        Path, typer.Option(help="Folder of the new record, which is not that of the old one.")
    ] = Path("reruns"),
    download: Download = False,
    as_json: Json = False,
) -> None:
    """Run again what a record says, and say whether the numbers are the same."""
    from locbench.commands.rerun import rerun as run_again
    from locbench.execution.config import execution_config
    from locbench.files import user_path

    config = execution_config(
        user_path(str(results)),
        data_root(root),
        device,
        engine=engine,
        download=download,
        weights=weights,
    )
    run_again(record, config, as_json=as_json)
