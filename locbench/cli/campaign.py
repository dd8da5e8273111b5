"""``locbench campaign``."""

from __future__ import annotations

from typing import Annotated

import typer

from locbench.cli.completion import table_names
from locbench.cli.options import (
    FOLDERS,
    DataRoot,
    Devices,
    Engine,
    Epochs,
    JobsPerDevice,
    Json,
    KeepWeights,
    Limit,
    Precision,
    Preset,
    ResultsFolders,
    Seed,
    Seeds,
    Tables,
    data_root,
    use_tables,
)


def campaign(
    tables: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID[@DATASET][:ROWS[:COLUMNS]]]...",
            help="Tables or parts of them, most valuable first.",
            autocompletion=table_names,
            show_default="CIFAR-10 cells of three papers",
        ),
    ] = None,
    budget: Annotated[str, typer.Option(help="Time to spend, such as 10min or 1h30m.")] = "30min",
    seeds: Seeds = None,
    seed: Seed = None,
    epochs: Epochs = None,
    limit: Limit = None,
    preset: Preset = "paper",
    device: Devices = "auto",
    jobs_per_device: JobsPerDevice = 1,
    engine: Engine = "auto",
    precision: Precision = None,
    root: DataRoot = None,
    results: ResultsFolders = FOLDERS,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Check the device first, a minute.")
    ] = True,
    keep_weights: KeepWeights = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what is there and what is not; run nothing.")
    ] = False,
    table_folders: Tables = None,
    as_json: Json = False,
) -> None:
    """Train the missing cells of several tables, best first, within a budget of time.

    Every cell gets its first seed before any gets its second. Runs end between two epochs and
    continue from there.
    """
    use_tables(table_folders)
    from locbench.commands.campaign import start
    from locbench.execution.config import execution_config
    from locbench.spec.selection import RunOptions
    from locbench.spec.validation import asked_seeds

    start(
        tables or (),
        RunOptions(
            preset=preset,
            seeds=asked_seeds(seeds, seed),
            epochs=epochs,
            limit=limit,
            precision=precision,
            keep_weights=keep_weights,
        ),
        budget,
        execution_config(
            results[0],
            data_root(root),
            device,
            jobs_per_device,
            engine=engine,
            others=tuple(results[1:]),
        ),
        check=check,
        plan_only=plan,
        as_json=as_json,
    )
