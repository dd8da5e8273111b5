"""``locbench check``."""

from __future__ import annotations

from typing import Annotated

import typer

from locbench.cli.options import DataRoot, ImageSize, Json, data_root


def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Methods, modifiers, auxiliary branches, networks, data sets.",
            show_default="all of the plugins",
        ),
    ] = None,
    network: Annotated[
        str, typer.Option(help="On which methods, branches and data sets are tried.")
    ] = "resnet8",
    image_size: ImageSize = None,
    root: DataRoot = None,
    as_json: Json = False,
) -> None:
    """Check that components do what training asks of them: a sentence for each thing."""
    from locbench.commands.contract import Bench, check_components
    from locbench.console import Output

    bench = Bench(network, image_size, data_root(root))
    check_components(names or (), bench, Output(as_json))
