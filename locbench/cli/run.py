"""``locbench run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from locbench.cli.completion import dataset_names, method_names, network_names
from locbench.cli.options import (
    FOLDERS,
    BatchSize,
    DataRoot,
    Devices,
    Download,
    Engine,
    JobsPerDevice,
    Json,
    KeepWeights,
    Limit,
    Memory,
    Modules,
    Precision,
    ResultsFolders,
    Seed,
    Set,
    data_root,
)
from locbench.spec.choices import Init


def run(
    network: Annotated[
        str, typer.Option(help="For example resnet32, timm:resnet18.", autocompletion=network_names)
    ],
    method: Annotated[
        str,
        typer.Option(
            help="For example auglocal, hpff+dgl, pgl+auglocal, auglocal+reconstruction.",
            autocompletion=method_names,
        ),
    ],
    dataset: Annotated[
        str,
        typer.Option(
            help="A data set of `locbench data`; digits need no download.",
            autocompletion=dataset_names,
        ),
    ] = "digits",
    set_: Set = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE, any other setting of the recipe, such as drop_path; repeat it."
        ),
    ] = None,
    modules: Modules = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the training images.", show_default="160, or 4 on digits"),
    ] = None,
    batch_size: BatchSize = None,
    lr: Annotated[
        float | None,
        typer.Option(help="Base learning rate.", show_default="the papers', scaled to the batch"),
    ] = None,
    limit: Limit = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="N|LIST", help="How many seeds, or which ones, such as 0,3,7.", show_default="1"
        ),
    ] = None,
    seed: Seed = None,
    device: Devices = "auto",
    jobs_per_device: JobsPerDevice = 1,
    precision: Precision = None,
    memory: Memory = None,
    engine: Engine = "auto",
    init: Annotated[
        Init | None,
        typer.Option(
            help="pretrained: timm's, of a transformer or timm:NAME; "
            "torchvision: of ImageNet's networks."
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="File of such weights, in place of their hub.")
    ] = None,
    root: DataRoot = None,
    results: ResultsFolders = FOLDERS,
    download: Download = False,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Run it again although it is recorded.")
    ] = False,
    keep_weights: KeepWeights = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show parameters and time; run nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run one recipe: any network, method and data set, also those in no paper."""
    from locbench.commands.table import Training
    from locbench.execution.config import execution_config
    from locbench.files import digest
    from locbench.spec.arguments import initial_weights, recipes_from, settings_from_options
    from locbench.spec.validation import asked_seeds

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
    settings = settings_from_options(
        set_,
        network=network,
        method=method,
        dataset=dataset,
        modules=modules,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        train_limit=limit,
        precision=precision,
        memory=memory,
        **initial_weights(network, init, digest(weights) if weights else ""),
    )
    recipes = recipes_from(settings, asked_seeds(seeds, seed), config.root, recipe or [])
    training.run(recipes, rerun=rerun, plan_only=plan, keep_weights=keep_weights)
