"""``locbench figure``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from locbench.cli.analyse import AnalysisSeed, DataFile, Images, Target
from locbench.cli.options import (
    RESULTS,
    Columns,
    DataRoot,
    Devices,
    Epochs,
    JobsPerDevice,
    Json,
    Limit,
    Precision,
    Preset,
    Results,
    Rows,
    Seed,
    Seeds,
    data_root,
)
from locbench.errors import UsageError


def figure(
    figure_id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="A figure.", show_default="list all figures"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Draw it: FILE.png, FILE.pdf or FILE.svg.")
    ] = None,
    data: DataFile = None,
    dataset: Annotated[
        str | None, typer.Option(help="Only this data set's runs, or another one in its place.")
    ] = None,
    rows: Rows = None,
    columns: Columns = None,
    seeds: Seeds = None,
    seed: Seed = None,
    epochs: Epochs = None,
    limit: Limit = None,
    preset: Preset = "paper",
    images: Images = 2000,
    analysis_seed: AnalysisSeed = 0,
    target: Target = 0,
    device: Devices = "auto",
    jobs_per_device: JobsPerDevice = 1,
    precision: Precision = None,
    root: DataRoot = None,
    results: Results = RESULTS,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show the runs and the time they need; run nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Draw a published figure from our runs; what is missing of them is trained first."""
    from locbench.commands.figure import draw_figure, list_figures
    from locbench.console import Output
    from locbench.execution.config import execution_config
    from locbench.spec.selection import RunOptions
    from locbench.spec.validation import asked_seeds

    if figure_id is None:
        if out is not None or data is not None:
            raise UsageError(
                "a file is asked for, and no figure is named", "Name one of: locbench figure"
            )
        list_figures(Output(as_json))
        return
    from locbench.analysis.analyses import Settings

    options = RunOptions(
        preset=preset,
        dataset=dataset,
        rows=tuple(rows or ()),
        columns=tuple(columns or ()),
        seeds=asked_seeds(seeds, seed),
        epochs=epochs,
        limit=limit,
        precision=precision,
    )
    draw_figure(
        figure_id,
        options,
        execution_config(results, data_root(root), device, jobs_per_device),
        Settings(data_root(root), images, analysis_seed, target),
        as_json=as_json,
        out=out,
        data=data,
        plan_only=plan,
    )
