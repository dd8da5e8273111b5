"""``locbench report``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from locbench.cli.completion import table_names
from locbench.cli.options import FOLDERS, Columns, Json, ResultsFolders, Rows, Tables, use_tables
from locbench.errors import UsageError
from locbench.spec.choices import Layout


class FormatName(StrEnum):
    """A report's format; typer takes no list of a Literal."""

    markdown = "markdown"
    latex = "latex"
    csv = "csv"
    json = "json"
    html = "html"


class FailingName(StrEnum):
    """What a check may fail on besides what is off."""

    missing = "missing"
    failed = "failed"


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
        list[FormatName] | None,
        typer.Option(
            "--format", help="Repeat it for several; html is a site with all records, by itself."
        ),
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
    layout: Annotated[
        Layout | None,
        typer.Option(
            help="Tables for a paper, in LaTeX: ours, the published numbers, or both in each cell."
        ),
    ] = None,
    caption: Annotated[
        str, typer.Option(help="With --layout: LaTeX.", show_default="the table's title")
    ] = "",
    label: Annotated[str, typer.Option(help="With --layout.", show_default="tab:ID-LAYOUT")] = "",
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw a table into this file, or all tables into this folder."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Print what is off instead, one line each; exit with 1 if anything is."
        ),
    ] = False,
    fail_on: Annotated[
        list[FailingName] | None,
        typer.Option("--fail-on", help="With --check: these fail too; repeat it."),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="With --check: the largest difference, in a number's unit, that passes.",
            show_default="0",
        ),
    ] = None,
    results: ResultsFolders = FOLDERS,
    table_folders: Tables = None,
    as_json: Json = False,
) -> None:
    """Compare all records with the published numbers: mean, difference, verdict, rank."""
    use_tables(table_folders)
    from locbench.commands.check import check_tables
    from locbench.commands.paper_tables import paper_tables
    from locbench.commands.report import Selection, plot_tables, report_site, report_tables
    from locbench.report.ranks import FEWEST_ASKED, FEWEST_CELLS
    from locbench.report.render import PaperStyle

    others = (format_, out, only_run, rank_few, claims, layout, caption, label)
    if plot is not None:
        if any((*others, rows, columns, as_json, check)):
            raise UsageError(
                "--plot draws whole tables and takes --results alone",
                "Leave the other options out, or leave out --plot.",
            )
        plot_tables(table_ids or [], plot, results)
        return
    selection = Selection(tuple(rows or ()), tuple(columns or ()), only_run=only_run)
    if check:
        if any(others):
            raise UsageError(
                "--check prints what fails and no report",
                "Leave out --format, --out, --only-run, --rank-few, --claims and --layout.",
            )
        check_tables(
            table_ids or [],
            results,
            selection,
            also=[name.value for name in fail_on or []],
            tolerance=tolerance or 0.0,
            as_json=as_json,
        )
        return
    if fail_on or tolerance is not None:
        raise UsageError("--fail-on and --tolerance are of --check", "Add --check.")
    formats = [*(["json"] if as_json else []), *(name.value for name in format_ or [])]
    if layout is not None:
        if rank_few or claims or "html" in formats:
            raise UsageError(
                "--layout has numbers alone", "Leave out --rank-few, --claims and --format html."
            )
        style = PaperStyle(layout, caption, label)
        paper_tables(table_ids or [], formats, out, results, selection, style)
        return
    if caption or label:
        raise UsageError("--caption and --label are of --layout", "Add --layout ours.")
    if "html" in formats:
        if claims or len(set(formats)) > 1:
            raise UsageError(
                "html is a site of its own, with all claims in it",
                "Leave out --claims and other formats.",
            )
        fewest = FEWEST_ASKED if rank_few else FEWEST_CELLS
        report_site(table_ids or [], out, results, selection, fewest=fewest)
        return
    report_tables(
        table_ids or [], formats, out, results, selection, rank_few=rank_few, claims=claims
    )
