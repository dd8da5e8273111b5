"""Lines of text on a terminal, and settings in words."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text


def setting_words(settings: Mapping[str, Any]) -> str:
    """Return settings as ``name=value``, the options of the method among them."""
    flat = {name: value for name, value in settings.items() if name != "options"} | settings.get(
        "options", {}
    )
    return ", ".join(f"{name}={value_words(value)}" for name, value in flat.items())


def value_words(value: Any) -> str:
    """Return a value as ``--set`` takes it, settings within settings in brackets."""
    if isinstance(value, Mapping):
        return f"({setting_words(value)})"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def hang(console: Console, mark: str, text: str) -> None:
    """Print a text with its lines set in below its mark."""
    room = max(console.width - len(mark), 20)
    for index, line in enumerate(textwrap.wrap(text, room, break_on_hyphens=False) or [""]):
        say(console, (" " * len(mark) if index else mark) + line)


def say(console: Console, text: str, style: str = "") -> None:
    """Print a text as one line, or as the lines that it has."""
    console.print(Text(text.rstrip(), style=style), soft_wrap=True)
