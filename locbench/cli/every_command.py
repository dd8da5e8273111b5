"""Options of every command: plugins, and how much is printed."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from locbench.cli.plugins import Plugins, loaded
from locbench.errors import UsageError

T = TypeVar("T")

Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", help="Print results, warnings and errors alone.")
]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Print every epoch and every reason too.")
]

OPTIONS: dict[str, tuple[Any, Any]] = {
    "plugin": (Plugins, None),
    "quiet": (Quiet, False),
    "verbose": (Verbose, False),
}
"""Annotation and default by name."""


def with_options(command: Callable[..., T]) -> Callable[..., T]:
    """Return a command that has these options besides its own."""
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)

    @functools.wraps(command)
    def run(
        *args: Any,
        plugin: list[Path] | None = None,
        quiet: bool = False,
        verbose: bool = False,
        **kwargs: Any,
    ) -> T:
        from locbench.console import speaking

        if quiet and verbose:
            raise UsageError("--quiet and --verbose are opposites", "Leave one of them out.")
        with speaking("quiet" if quiet else "verbose" if verbose else "normal"), loaded(plugin):
            return command(*args, **kwargs)

    own = [each.replace(annotation=hints[each.name]) for each in signature.parameters.values()]
    kind = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(name, kind, default=default, annotation=annotation)
        for name, (annotation, default) in OPTIONS.items()
    ]
    run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    run.__annotations__ = hints | {name: option for name, (option, _) in OPTIONS.items()}
    return run
