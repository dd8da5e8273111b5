"""What is printed on, apart from the errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, NoReturn

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from locbench.printable import printable


class Terminal(Console):
    """A console that takes every text literally, and whose reader may go: rich would end the program in silence.

    It guesses no colours, takes neither brackets for markup nor words between colons for pictures, and shows
    control characters of names instead of sending them.
    """

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False, quiet: bool = False) -> None:
        super().__init__(stderr=stderr, soft_wrap=soft_wrap, quiet=quiet, highlight=False, emoji=False, markup=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render; every text passes here, also those inside of grids and bars."""
        return super().render(_literal(renderable) if isinstance(renderable, Text) else renderable, options)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Make a text of a string."""
        return _literal(super().render_str(text, **settings))

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError."""
        raise BrokenPipeError


def remark(*texts: str) -> None:
    """Print sentences on standard error; where nobody can read them, they are lost, and no reason to stop."""
    with contextlib.suppress(OSError, ValueError):
        for text in texts:
            Terminal(stderr=True, soft_wrap=True).print(text, markup=False)


def _literal(text: Text) -> Text:
    shown = printable(text.plain, keep="\n\t")
    if shown == text.plain:
        return text
    copy = text.copy()
    copy.plain = shown
    return copy
