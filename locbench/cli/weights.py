"""``locbench weights``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from locbench.cli.options import RESULTS, Json, Results
from locbench.errors import UsageError


def weights(
    record: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECORD]",
            help="A record's file, its key, or a part of its name.",
            show_default="list all weights",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Export the network's weights: FILE.safetensors, or FILE.pt for torch."),
    ] = None,
    own_names: Annotated[
        bool,
        typer.Option(
            "--own-names", help="Keep locbench's names where torchvision or timm has the network."
        ),
    ] = False,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """List the weights that were kept with --keep-weights, or export those of one record."""
    from locbench.commands.weights import export_weights, list_weights
    from locbench.console import Output

    if (record is None) != (out is None):
        raise UsageError(
            "an export takes a record and --out FILE",
            "For example: locbench weights KEY --out network.safetensors. Without both, all kept "
            "weights are listed.",
        )
    if record is not None and out is not None:
        export_weights(record, out, results, Output(as_json), own_names=own_names)
    else:
        list_weights(results, Output(as_json))
