"""``locbench list``."""

from __future__ import annotations

from typing import Annotated

import typer

from locbench.cli.options import RESULTS, Json, Results


def list_tables(
    runs: Annotated[
        bool, typer.Option("--runs", help="List the runs of no table instead, as of locbench run.")
    ] = False,
    methods: Annotated[
        bool,
        typer.Option("--methods", help="List the methods, their options and defaults instead."),
    ] = False,
    results: Results = RESULTS,
    as_json: Json = False,
) -> None:
    """List every table: id, paper, number, title, cells, and how many cells have a record."""
    from locbench.errors import LocbenchError, UsageError

    if methods and runs:
        raise UsageError("--methods and --runs ask for two lists", "Ask for one of them.")
    if methods:
        from locbench.terminal.methods import print_methods

        print_methods(as_json=as_json)
        return
    from locbench.console import remark
    from locbench.results.store import Store
    from locbench.spec.table_files import load_tables
    from locbench.terminal.runs import print_runs
    from locbench.terminal.tables import print_list

    faults: list[LocbenchError] = []
    show = print_runs if runs else print_list
    show(load_tables(faults), Store(results), as_json=as_json)
    remark(*(f"left out: {fault}" for fault in faults))
