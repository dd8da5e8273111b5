"""``locbench bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from locbench.cli.completion import dataset_names, method_names, network_names
from locbench.cli.options import Device, Json, Memory, Modules, Precision, Set


def bench(
    network: Annotated[
        str | None,
        typer.Option(
            help="For example resnet110.",
            autocompletion=network_names,
            show_default="a standard list",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="Compared with bp on the same network.",
            autocompletion=method_names,
            show_default="bp",
        ),
    ] = None,
    set_: Set = None,
    modules: Modules = None,
    dataset: Annotated[
        str,
        typer.Option(
            help="Shape and number of its images; random ones are timed.",
            autocompletion=dataset_names,
        ),
    ] = "cifar10",
    batch_size: Annotated[
        int | None, typer.Option(help="Images per step.", show_default="1024, on the CPU 128")
    ] = None,
    engines: Annotated[
        str | None,
        typer.Option(
            help="Of reference, eager, compiled, graphed, compiled+graphed.",
            show_default="all that can run",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps per round.", show_default="as --seconds allow")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Rounds in which all engines take turns.")] = 5,
    seconds: Annotated[
        float, typer.Option(help="For all rounds of one engine with one method.")
    ] = 10.0,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also time AugLocal's official code, checked out in this folder.",
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Show where the time of an eager step goes.")
    ] = False,
    device: Device = "auto",
    precision: Precision = None,
    memory: Memory = None,
    threads: Annotated[int | None, typer.Option(help="Of the processor.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write CSV to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Time training steps of engines, compared with the plain way and with backpropagation."""
    from locbench.bench.cases import (
        cases_of,
        official_cases,
        parse_engines,
        refuse_unnamed,
        standard_cases,
    )

    names = None if engines is None else parse_engines(engines)
    options = set_ or []
    method_settings = {"method": method, "modules": modules, "memory": memory}
    if against is None:
        refuse_unnamed(network, method_settings, options)
    from locbench.bench.benchmark import BenchLimits
    from locbench.commands.bench import BenchCommand
    from locbench.console import Output

    precision = precision or "fp32"
    command = BenchCommand(device, precision, threads, out, Output(as_json), against)
    settings: dict[str, object] = {
        "network": network,
        "dataset": dataset,
        "precision": precision,
        "batch_size": command.batch_size if batch_size is None else batch_size,
    }
    if against is not None:
        cases = official_cases(settings | method_settings, options)
    elif network:
        cases = cases_of(settings | method_settings | {"method": method or "bp"}, options)
    else:
        cases = standard_cases(settings)
    if profile:
        command.profile(cases, 3 if steps is None else steps)
    else:
        command.bench(cases, names, BenchLimits(rounds, steps, seconds))
