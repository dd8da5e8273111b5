"""The option ``--plugin`` of every command."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        help="Methods, networks and data sets of your own; repeat it.",
        show_default="$LOCBENCH_PLUGINS",
    ),
]


@contextlib.contextmanager
def loaded(plugin: list[Path] | None) -> Iterator[None]:
    """Load plugins before a command runs."""
    from locbench.console import remark
    from locbench.plugins import load_plugins

    remark(*load_plugins(plugin or ()))
    yield


def name_plugins(files: Sequence[Path]) -> None:
    """Let the command that follows load some plugins."""
    from locbench.plugins import VARIABLE

    if files:
        named = [os.environ.get(VARIABLE, ""), *map(str, files)]
        os.environ[VARIABLE] = os.pathsep.join(filter(None, named))
