"""``locbench show``."""

from __future__ import annotations

from typing import Annotated

import typer

from locbench.cli.options import Json


def show(
    table_id: Annotated[str, typer.Argument(metavar="ID", help="A table of `locbench list`.")],
    as_json: Json = False,
) -> None:
    """Show a table: its axes, recipes, published numbers with their source, and notes on
    contradictions.
    """
    from locbench.console import Output
    from locbench.spec.table_files import load_table
    from locbench.terminal.tables import print_table, table_entry

    table = load_table(table_id)
    Output(as_json).show(lambda: table_entry(table), lambda console: print_table(console, table))
