"""The commands of ``locbench``."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Annotated, ParamSpec, TypeVar

import typer

from locbench import __version__
from locbench.cli.analyse import analyse
from locbench.cli.bench import bench
from locbench.cli.campaign import campaign
from locbench.cli.check import check
from locbench.cli.costs import costs
from locbench.cli.data import data
from locbench.cli.env import env
from locbench.cli.every_command import with_options
from locbench.cli.figure import figure
from locbench.cli.fit import fit
from locbench.cli.list import list_tables
from locbench.cli.manual import manual
from locbench.cli.plugins import Plugins, name_plugins
from locbench.cli.report import report
from locbench.cli.rerun import rerun
from locbench.cli.run import run
from locbench.cli.show import show
from locbench.cli.splits import splits
from locbench.cli.table import table
from locbench.cli.weights import weights
from locbench.errors import ReaderGoneError, StoppedError

P = ParamSpec("P")
T = TypeVar("T")


def guarded(command: Callable[P, T]) -> Callable[P, T]:
    """Return a command that raises `StoppedError` at Ctrl-C, `ReaderGoneError` at a broken pipe."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            value = command(*args, **kwargs)
            sys.stdout.flush()
        except KeyboardInterrupt:
            raise StoppedError(
                "stopped; nothing that is recorded is lost", "To go on: the same command."
            ) from None
        except BrokenPipeError:
            raise ReaderGoneError("nobody reads the output any more") from None
        return value

    return run


app = typer.Typer(
    name="locbench",
    help="Reproduce the published tables of local-learning papers and compare every number with the"
    " paper's own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"locbench {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    plugin: Plugins = None,
) -> None:
    """Take the options that stand before a command."""
    name_plugins(plugin or ())


_COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_tables,
    "show": show,
    "table": table,
    "run": run,
    "rerun": rerun,
    "campaign": campaign,
    "report": report,
    "data": data,
    "costs": costs,
    "fit": fit,
    "splits": splits,
    "weights": weights,
    "analyse": analyse,
    "figure": figure,
    "bench": bench,
    "env": env,
    "check": check,
}

for _name, _command in _COMMANDS.items():
    app.command(_name, epilog=manual(_name))(guarded(with_options(_command)))
