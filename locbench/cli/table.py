"""``locbench table``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from locbench.cli.completion import dataset_names
from locbench.cli.options import (
    FOLDERS,
    Columns,
    DataRoot,
    Devices,
    Download,
    Engine,
    Epochs,
    JobsPerDevice,
    Json,
    KeepWeights,
    Limit,
    Memory,
    Precision,
    Preset,
    ResultsFolders,
    Rows,
    Seed,
    Seeds,
    TableId,
    Tables,
    data_root,
    use_tables,
)
from locbench.spec.choices import Init, Rerun


def table(
    table_id: TableId,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Only this data set's cells, or another one in its place.",
            autocompletion=dataset_names,
        ),
    ] = None,
    rows: Rows = None,
    columns: Columns = None,
    seeds: Seeds = None,
    seed: Seed = None,
    epochs: Epochs = None,
    limit: Limit = None,
    preset: Preset = "paper",
    device: Devices = "auto",
    jobs_per_device: JobsPerDevice = 1,
    precision: Precision = None,
    memory: Memory = None,
    engine: Engine = "auto",
    init: Annotated[
        Init | None,
        typer.Option(
            help="torchvision: its ImageNet weights; pretrained, scratch: the table of swin-tiny."
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="File of pretrained weights, in place of their hub.")
    ] = None,
    root: DataRoot = None,
    results: ResultsFolders = FOLDERS,
    download: Download = False,
    rerun: Annotated[Rerun | None, typer.Option(help="Run recorded cells again.")] = None,
    measure: Annotated[
        bool | None,
        typer.Option(
            "--measure/--no-measure",
            help="Measure costs on the device.",
            show_default="if it is a GPU",
        ),
    ] = None,
    keep_weights: KeepWeights = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show the cells and the time they need; run nothing.")
    ] = False,
    table_folders: Tables = None,
    as_json: Json = False,
) -> None:
    """Run what is missing of a table, one record per cell and seed, and compare it."""
    use_tables(table_folders)
    from locbench.commands.table import Training
    from locbench.console import remark
    from locbench.execution.config import execution_config
    from locbench.files import digest
    from locbench.spec.selection import RunOptions
    from locbench.spec.table_files import aliased
    from locbench.spec.validation import asked_seeds

    options = RunOptions(
        preset=preset,
        dataset=dataset,
        rows=tuple(rows or ()),
        columns=tuple(columns or ()),
        seeds=asked_seeds(seeds, seed),
        epochs=epochs,
        limit=limit,
        precision=precision,
        memory=memory,
        init="torchvision" if init == "torchvision" else None,
        weights=digest(weights) if weights else "",
        keep_weights=keep_weights,
    )
    config = execution_config(
        results[0],
        data_root(root),
        device,
        jobs_per_device,
        engine=engine,
        download=download,
        weights=weights,
        others=tuple(results[1:]),
    )
    training = Training(config, as_json=as_json)
    meant = aliased(table_id, None if options.init else init)
    if meant != table_id:
        remark(
            f"{table_id} stands for several tables; this is {meant}, by its initial "
            "weights (--init)."
        )
    training.table(meant, options, rerun=rerun, plan_only=plan, measure=measure)
