"""Lines of text on a terminal."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.text import Text


def hang(console: Console, mark: str, text: str) -> None:
    """Print a text with its lines set in below its mark."""
    room = max(console.width - len(mark), 20)
    for index, line in enumerate(textwrap.wrap(text, room, break_on_hyphens=False) or [""]):
        say(console, (" " * len(mark) if index else mark) + line)


def say(console: Console, text: str, style: str = "") -> None:
    """Print a text as one line, or as the lines that it has."""
    console.print(Text(text.rstrip(), style=style), soft_wrap=True)
