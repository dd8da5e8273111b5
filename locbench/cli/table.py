"""``locbench table``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from locbench.cli.options import (
    RESULTS,
    DataRoot,
    Devices,
    Download,
    Engine,
    EngineName,
    InitName,
    JobsPerDevice,
    Json,
    Memory,
    Precision,
    PresetName,
    RerunName,
    Results,
    data_root,
)


def table(
    table_id: Annotated[str, typer.Argument(metavar="ID", help="A table of `locbench list`.")],
    dataset: Annotated[
        str | None, typer.Option(help="Only this data set's cells, or another one in its place.")
    ] = None,
    rows: Annotated[list[str] | None, typer.Option(help="Rows: labels, parts of them, patterns; repeat it.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="Columns, likewise.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds per cell.", show_default="the paper's; 1 if reduced")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs in place of the preset's.")] = None,
    limit: Annotated[int | None, typer.Option(help="Training images, balanced over classes.")] = None,
    preset: Annotated[PresetName, typer.Option(help="smoke: minutes; quick: half an hour.")] = PresetName.paper,
    device: Devices = "auto",
    jobs_per_device: JobsPerDevice = 1,
    precision: Precision = None,
    memory: Memory = None,
    engine: Engine = EngineName.auto,
    init: Annotated[
        InitName | None,
        typer.Option(help="torchvision: its ImageNet weights; pretrained, scratch: which table swin-tiny means."),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="File of pretrained weights, in place of their hub.")] = None,
    root: DataRoot = None,
    results: Results = RESULTS,
    download: Download = False,
    rerun: Annotated[RerunName | None, typer.Option(help="Run recorded cells again.")] = None,
    measure: Annotated[
        bool | None,
        typer.Option("--measure/--no-measure", help="Measure costs on the device.", show_default="if it is a GPU"),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show the cells and the time they need; run nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run what is missing of a table, one record per cell and seed, and show it against the published numbers."""
    from locbench.commands.table import Session
    from locbench.console import remark
    from locbench.execution.selection import Wishes
    from locbench.files import digest
    from locbench.spec.table_files import aliased

    wishes = Wishes(
        preset=preset.value,
        dataset=dataset,
        rows=tuple(rows or ()),
        columns=tuple(columns or ()),
        seeds=seeds,
        epochs=epochs,
        limit=limit,
        precision=precision.value if precision else None,
        memory=memory.value if memory else None,
        init="torchvision" if init is InitName.torchvision else None,
        weights=digest(weights) if weights else "",
    )
    session = Session(
        Path(results),
        data_root(root),
        device,
        download=download,
        as_json=as_json,
        weights=weights,
        engine=engine.value,
        jobs_per_device=jobs_per_device,
    )
    meant = aliased(table_id, init.value if init and not wishes.init else None)
    if meant != table_id:
        remark(f"{table_id} stands for several tables; this is {meant}, by its initial weights (--init).")
    session.table(meant, wishes, rerun=rerun.value if rerun else None, plan_only=plan, measure=measure)
