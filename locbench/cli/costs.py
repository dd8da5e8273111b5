"""``locbench costs``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from locbench.cli.options import RESULTS, Json, Precision, Results


def costs(
    table_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="A table; else give a recipe.")] = None,
    network: Annotated[str | None, typer.Option(help="For example resnet110.")] = None,
    method: Annotated[str | None, typer.Option(help="For example auglocal, hpff+dgl.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE, an option of the method.")] = None,
    modules: Annotated[int | None, typer.Option(help="K local modules [default: every local layer].")] = None,
    dataset: Annotated[str, typer.Option(help="Decides the image size and the number of classes.")] = "cifar10",
    batch_size: Annotated[int | None, typer.Option(help="[default: the papers' for the data set]")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the images in pixels.")] = None,
    precision: Precision = None,
    timeline: Annotated[Path | None, typer.Option(help="Draw the live bytes over the step into this file.")] = None,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """Predict what training costs, without a GPU: parameters, operations, and the peak of tensor memory."""
    from locbench.launch.costing import Costing

    costing = Costing(Path(results), as_json=as_json)
    if table_id is not None:
        costing.table(table_id)
        return
    wanted: dict[str, object] = {"network": network, "method": method, "dataset": dataset, "modules": modules}
    wanted |= {"batch_size": batch_size, "precision": precision.value if precision else None}
    costing.recipe(wanted, set_ or [], image_size, timeline)
