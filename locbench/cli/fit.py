"""``locbench fit``."""

from __future__ import annotations

from typing import Annotated

import typer

from locbench.cli.completion import dataset_names, method_names, network_names
from locbench.cli.options import Json, Modules, Precision, Set


def fit(
    memory: Annotated[str, typer.Option(help="For example 11GB (decimal) or 24GiB.")],
    network: Annotated[
        str, typer.Option(help="For example resnet110.", autocompletion=network_names)
    ],
    method: Annotated[
        str | None, typer.Option(help="Find its largest batch.", autocompletion=method_names)
    ] = None,
    set_: Set = None,
    modules: Modules = None,
    dataset: Annotated[
        str,
        typer.Option(
            help="Decides image size and classes; the papers' set, not digits as of run.",
            autocompletion=dataset_names,
        ),
    ] = "cifar10",
    batch_size: Annotated[
        int | None, typer.Option(help="Without --method: find the cheapest method for it.")
    ] = None,
    precision: Precision = None,
    as_json: Json = False,
) -> None:
    """Find the largest batch that fits a memory, or the cheapest method for a batch."""
    from locbench.commands.fit import show_fit
    from locbench.console import Output
    from locbench.spec.arguments import settings_from_options

    settings = settings_from_options(
        set_,
        network=network,
        method=method,
        dataset=dataset,
        modules=modules,
        batch_size=batch_size,
        precision=precision,
    )
    show_fit(memory, settings, Output(as_json))
