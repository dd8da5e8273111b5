"""What is printed on, apart from the errors."""

from __future__ import annotations

import contextlib
from typing import NoReturn

from rich.console import Console


class Terminal(Console):
    """A console without guessed colours for numbers, and whose reader may go: rich would end the program in silence."""

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False, quiet: bool = False) -> None:
        super().__init__(stderr=stderr, soft_wrap=soft_wrap, quiet=quiet, highlight=False)

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError."""
        raise BrokenPipeError


def remark(text: str) -> None:
    """Print a sentence on standard error; where nobody can read it, it is lost, and no reason to stop."""
    with contextlib.suppress(OSError, ValueError):
        Terminal(stderr=True, soft_wrap=True).print(text, markup=False)
