"""``locbench splits``."""

from __future__ import annotations

from typing import Annotated

import typer

from locbench.cli.completion import dataset_names, network_names
from locbench.cli.options import RESULTS, ImageSize, Json, Precision, Results, Set


def splits(
    network: Annotated[
        str, typer.Option(help="For example swin-tiny, resnet110.", autocompletion=network_names)
    ],
    modules: Annotated[int, typer.Option(help="K local modules.")],
    method: Annotated[
        str | None, typer.Option(help="Else swin-reconstruction for a transformer, dgl for others.")
    ] = None,
    set_: Set = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Else the published one, or cifar10.", autocompletion=dataset_names),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Else the published one of network or data set.")
    ] = None,
    image_size: ImageSize = None,
    precision: Precision = None,
    top: Annotated[
        int | None, typer.Option(help="Show so many of the best divisions; else five.")
    ] = None,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Find the division into K local modules whose largest needs the least memory."""
    from locbench.commands.splits import show_splits
    from locbench.console import Output
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
    show_splits(settings, top, results, Output(as_json))
