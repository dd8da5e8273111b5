"""The terminal, and results as JSON or for people."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Literal, NoReturn, TypeAlias

import msgspec
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from locbench.printable import escaped, printable


class Terminal(Console):
    """A console that takes every text literally, and raises an error when its reader has gone.

    It guesses no colours, takes neither brackets for markup nor words between colons for pictures,
    and shows control characters of names instead of sending them.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, emoji=False, markup=False, **settings)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render; every text passes here, also those inside of grids and bars."""
        return super().render(
            _literal(renderable) if isinstance(renderable, Text) else renderable, options
        )

    def render_str(self, text: str, **settings: Any) -> Text:
        """Make a text of a string."""
        return _literal(super().render_str(text, **settings))

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError."""
        raise BrokenPipeError


Loudness: TypeAlias = Literal["quiet", "normal", "verbose"]
"""What is printed besides results: nothing, progress and notes, or every epoch and reason."""

_loudness: ContextVar[Loudness] = ContextVar("loudness", default="normal")


@contextlib.contextmanager
def speaking(loudness: Loudness) -> Iterator[None]:
    """Print as much as that besides results."""
    token = _loudness.set(loudness)
    try:
        yield
    finally:
        _loudness.reset(token)


def is_verbose() -> bool:
    """Return whether every epoch and reason is printed."""
    return _loudness.get() == "verbose"


class Output:
    """Where a command prints: results on standard output, and with JSON all else on standard error.

    Args:
        as_json: results are JSON.
        quiet: nothing but JSON is printed, as by all but one of several processes.

    Attributes:
        results: where results are printed for people.
        console: where progress and notes are.
    """

    def __init__(self, as_json: bool, *, quiet: bool = False) -> None:
        self.as_json, self.results = as_json, Terminal(stderr=as_json, quiet=quiet)
        silent = _loudness.get() == "quiet"
        self.console = Terminal(stderr=as_json, quiet=True) if silent else self.results

    def show(self, entry: Callable[[], object], view: Callable[[Terminal], None]) -> None:
        """Print a result as JSON, or for people."""
        if self.as_json:
            print_json(entry())
        else:
            view(self.results)


_listener: ContextVar[Callable[[str], object] | None] = ContextVar("remarks", default=None)
"""Who gets remarks in the place of standard error."""


def remark(*texts: str) -> None:
    """Print sentences on standard error.

    Where nobody can read them, they are lost, and no reason to stop.
    """
    if (tell := _listener.get()) is not None:
        for text in texts:
            tell(text)
        return
    with contextlib.suppress(OSError, ValueError):
        for text in texts:
            Terminal(stderr=True, soft_wrap=True).print(text)


@contextlib.contextmanager
def remarks_to(tell: Callable[[str], object]) -> Iterator[None]:
    """Give remarks to a function, in the place of printing them."""
    token = _listener.set(tell)
    try:
        yield
    finally:
        _listener.reset(token)


def _literal(text: Text) -> Text:
    shown = printable(text.plain, keep="\n\t")
    if shown == text.plain:
        return text
    copy = text.copy()
    copy.plain = shown
    return copy


def print_json(value: object) -> None:
    """Print a value of plain types and structs as indented JSON on standard output."""
    try:
        encoded = msgspec.json.encode(value)
    except UnicodeEncodeError:  # a path of bytes that are no UTF-8
        encoded = msgspec.json.encode(_readable(msgspec.to_builtins(value)))
    print_document(msgspec.json.format(encoded, indent=2).decode())


def print_document(text: str) -> None:
    """Print a text in UTF-8 whatever the locale: JSON has no other encoding."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    print(text)


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {_readable(name): _readable(item) for name, item in value.items()}
    return [_readable(item) for item in value] if isinstance(value, list | tuple) else value
