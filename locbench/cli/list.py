"""``locbench list``."""

from __future__ import annotations

from typing import Annotated

import typer

from locbench.cli.options import FOLDERS, Json, ResultsFolders, Tables, use_tables


def list_tables(
    runs: Annotated[
        bool, typer.Option("--runs", help="List the runs of no table instead, as of locbench run.")
    ] = False,
    methods: Annotated[
        bool,
        typer.Option("--methods", help="List the methods, their options and defaults instead."),
    ] = False,
    results: ResultsFolders = FOLDERS,
    table_folders: Tables = None,
    as_json: Json = False,
) -> None:
    """List every table: id, paper, number, title, cells, and how many cells have a record."""
    use_tables(table_folders)
    from locbench.console import Output, remark
    from locbench.errors import LocbenchError, UsageError

    output = Output(as_json)
    if methods and runs:
        raise UsageError("--methods and --runs ask for two lists", "Ask for one of them.")
    if methods:
        from locbench.spec.method_options import describe_methods
        from locbench.terminal.methods import print_methods

        output.show(describe_methods, lambda console: print_methods(console, describe_methods()))
        return
    from locbench.results.store import Store
    from locbench.spec.table_files import load_tables
    from locbench.terminal.runs import print_runs
    from locbench.terminal.tables import print_list

    faults: list[LocbenchError] = []
    (print_runs if runs else print_list)(output, load_tables(faults), Store(*results))
    remark(*(f"left out: {fault}" for fault in faults))
