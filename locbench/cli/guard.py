"""Ctrl-C and a broken pipe, caught before typer ends them without a word."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

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
