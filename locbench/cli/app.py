"""The commands of ``locbench``."""

from __future__ import annotations

import typer

from locbench.cli.data import data
from locbench.cli.list import list_tables
from locbench.cli.report import report
from locbench.cli.run import run
from locbench.cli.show import show
from locbench.cli.table import table

app = typer.Typer(
    name="locbench",
    help="Reproduce the published tables of local-learning papers and hold every number against the paper's own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("list")(list_tables)
app.command()(show)
app.command()(table)
app.command()(run)
app.command()(report)
app.command()(data)
