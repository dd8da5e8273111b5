"""``locbench report``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from locbench.cli.completion import table_names
from locbench.cli.options import RESULTS, Columns, Json, Results, Rows, Tables, use_tables
from locbench.errors import UsageError


class FormatName(StrEnum):
    """A report's format; typer takes no list of a Literal."""

    markdown = "markdown"
    latex = "latex"
    csv = "csv"
    json = "json"


def report(
    table_ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...",
            help="Tables.",
            autocompletion=table_names,
            show_default="all with records",
        ),
    ] = None,
    format_: Annotated[
        list[FormatName] | None, typer.Option("--format", help="Repeat it for several.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write files here instead of printing.")] = None,
    rows: Rows = None,
    columns: Columns = None,
    only_run: Annotated[
        bool,
        typer.Option(
            "--only-run", help="Leave out rows and columns of which nothing was run or computed."
        ),
    ] = False,
    rank_few: Annotated[
        bool,
        typer.Option(
            "--rank-few", help="Rank three and four cells too; five are the fewest otherwise."
        ),
    ] = False,
    claims: Annotated[
        bool,
        typer.Option(
            "--claims", help="Judge what the papers say of their tables, all on one page."
        ),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the table's plot into this file instead.")
    ] = None,
    results: Results = RESULTS,
    table_folders: Tables = None,
    as_json: Json = False,
) -> None:
    """Compare all records with the published numbers: mean, difference, verdict, rank."""
    use_tables(table_folders)
    from locbench.commands.report import Selection, plot_table, report_tables

    if plot is not None:
        others = (rows, columns, format_, out, only_run, rank_few, claims, as_json)
        if any(others):
            raise UsageError(
                "--plot draws a whole table and takes --results alone",
                "Leave the other options out, or leave out --plot.",
            )
        plot_table(table_ids or [], plot, results)
        return
    formats = [*(["json"] if as_json else []), *(name.value for name in format_ or [])]
    selection = Selection(tuple(rows or ()), tuple(columns or ()), only_run=only_run)
    report_tables(
        table_ids or [], formats, out, results, selection, rank_few=rank_few, claims=claims
    )
