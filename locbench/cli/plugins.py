"""The option ``--plugin`` of every command."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

T = TypeVar("T")

Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        help="Methods, networks and data sets of your own; repeat it.",
        show_default="$LOCBENCH_PLUGINS",
    ),
]


def with_plugins(command: Callable[..., T]) -> Callable[..., T]:
    """Return a command with the option ``--plugin`` besides, which loads plugins before it runs."""
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)

    @functools.wraps(command)
    def run(*args: Any, plugin: list[Path] | None = None, **kwargs: Any) -> T:
        from locbench.console import remark
        from locbench.plugins import load_plugins

        remark(*load_plugins(plugin or ()))
        return command(*args, **kwargs)

    kinds = [each.replace(annotation=hints[each.name]) for each in signature.parameters.values()]
    option = inspect.Parameter(
        "plugin", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Plugins
    )
    run.__signature__ = signature.replace(parameters=[*kinds, option])  # type: ignore[attr-defined]
    run.__annotations__ = {**hints, "plugin": Plugins}
    return run


def name_plugins(files: Sequence[Path]) -> None:
    """Let the command that follows load some plugins."""
    from locbench.plugins import VARIABLE

    if files:
        named = [os.environ.get(VARIABLE, ""), *map(str, files)]
        os.environ[VARIABLE] = os.pathsep.join(filter(None, named))
