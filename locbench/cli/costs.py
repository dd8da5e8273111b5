"""``locbench costs``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from locbench.cli.completion import dataset_names, method_names, network_names, table_names
from locbench.cli.options import (
    RESULTS,
    BatchSize,
    ImageSize,
    Json,
    Modules,
    Precision,
    Results,
    Set,
    Tables,
    use_tables,
)
from locbench.spec.choices import Autograd


def costs(
    table_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]", help="A table; else give a recipe.", autocompletion=table_names
        ),
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="For example resnet110.", autocompletion=network_names)
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="For example auglocal, hpff+dgl.", autocompletion=method_names),
    ] = None,
    set_: Set = None,
    modules: Modules = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Decides image size and classes; `locbench run` has digits.",
            autocompletion=dataset_names,
            show_default="cifar10",
        ),
    ] = None,
    batch_size: BatchSize = None,
    image_size: ImageSize = None,
    precision: Precision = None,
    autograd: Annotated[
        Autograd,
        typer.Option(help="torch<=1.10: softmax keeps its input for the backward pass."),
    ] = "current",
    ddp_buckets: Annotated[
        bool,
        typer.Option(
            "--ddp-buckets", help="One more copy of all parameters, as with several processes."
        ),
    ] = False,
    timeline: Annotated[
        Path | None, typer.Option(help="Draw the live bytes over the step into this file.")
    ] = None,
    residuals: Annotated[
        bool, typer.Option("--residuals", help="Distance from all papers' memory; no ID.")
    ] = False,
    results: Results = RESULTS,
    table_folders: Tables = None,
    as_json: Json = False,
) -> None:
    """Predict what training costs, without a GPU: parameters, operations and tensor memory."""
    use_tables(table_folders)
    from locbench.commands.costs import Costing, refuse_more_than_one
    from locbench.console import Output
    from locbench.costs.memory.options import TraceOptions
    from locbench.spec.arguments import settings_from_options

    settings = settings_from_options(
        set_,
        network=network,
        method=method,
        dataset=dataset,
        modules=modules,
        batch_size=batch_size,
        image_size=image_size,
        precision=precision,
    )
    legacy = None if autograd == "current" else autograd
    others = {"timeline": timeline, "ddp_buckets": ddp_buckets, "autograd": legacy}
    given = settings | {name: value for name, value in others.items() if value}
    refuse_more_than_one(table_id, residuals, given)
    costing = Costing(results, Output(as_json))
    if residuals:
        costing.residuals()
    elif table_id is not None:
        costing.table(table_id)
    else:
        options = TraceOptions(kept_softmax=legacy is not None, ddp_buckets=ddp_buckets)
        costing.recipe(settings, timeline, options)
