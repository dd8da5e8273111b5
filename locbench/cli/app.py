"""The commands of ``locbench``."""

from __future__ import annotations

from collections.abc import Callable

import typer

from locbench.cli.bench import bench
from locbench.cli.campaign import campaign
from locbench.cli.costs import costs
from locbench.cli.data import data
from locbench.cli.fit import fit
from locbench.cli.guard import guarded
from locbench.cli.list import list_tables
from locbench.cli.manual import manual
from locbench.cli.report import report
from locbench.cli.run import run
from locbench.cli.show import show
from locbench.cli.splits import splits
from locbench.cli.table import table

app = typer.Typer(
    name="locbench",
    help="Reproduce the published tables of local-learning papers and compare every number with the"
    " paper's own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_tables,
    "show": show,
    "table": table,
    "run": run,
    "campaign": campaign,
    "report": report,
    "data": data,
    "costs": costs,
    "fit": fit,
    "splits": splits,
    "bench": bench,
}

for _name, _command in _COMMANDS.items():
    app.command(_name, epilog=manual(_name))(guarded(_command))
