"""``locbench run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from locbench.cli.options import RESULTS, DataRoot, Device, Download, Json, Memory, Precision, Results, data_root


def run(
    network: Annotated[str, typer.Option(help="For example resnet32.")],
    method: Annotated[str, typer.Option(help="For example auglocal, hpff+dgl, pgl+auglocal, auglocal+reconstruction.")],
    dataset: Annotated[str, typer.Option(help="A data set of `locbench data`.")] = "digits",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, an option of the method; repeat it.")
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE, any other setting of the recipe, such as drop_path; repeat it."),
    ] = None,
    modules: Annotated[int | None, typer.Option(help="K local modules (default: every local layer).")] = None,
    epochs: Annotated[int | None, typer.Option(help="[default: 160, or 4 on digits]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="[default: the papers' for the data set]")] = None,
    lr: Annotated[float | None, typer.Option(help="[default: the papers', scaled to the batch]")] = None,
    limit: Annotated[int | None, typer.Option(help="Training images, balanced over classes.")] = None,
    seeds: Annotated[int, typer.Option(help="Number of seeds.")] = 1,
    device: Device = "auto",
    precision: Precision = None,
    memory: Memory = None,
    weights: Annotated[Path | None, typer.Option(help="Start from the pretrained weights in this file.")] = None,
    root: DataRoot = None,
    results: Results = RESULTS,
    download: Download = False,
    rerun: Annotated[bool, typer.Option("--rerun", help="Run it again although it is recorded.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show parameters and time; run nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run one recipe: any network, method and data set, also those in no paper."""
    from locbench.launch.session import Session
    from locbench.launch.single import parse_setting, recipes_from
    from locbench.weight_files import digest

    session = Session(Path(results), data_root(root), device, download=download, as_json=as_json, weights=weights)
    wanted: dict[str, object] = {
        "network": network,
        "method": method,
        "dataset": dataset,
        "modules": modules,
        "epochs": epochs,
    }
    wanted |= {"batch_size": batch_size, "lr": lr, "train_limit": limit}
    wanted |= {"precision": precision.value if precision else None, "memory": memory.value if memory else None}
    wanted |= {"init": "pretrained", "weights": digest(weights)} if weights else {}
    wanted |= dict(parse_setting(each) for each in recipe or ())
    session.run(recipes_from(wanted, set_ or [], seeds, session.root), rerun=rerun, plan_only=plan)
