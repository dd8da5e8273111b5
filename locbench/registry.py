"""The one registry: names to components, loaded when first asked for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Generic, TypeVar, cast

from locbench.errors import UsageError

T = TypeVar("T")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a sentence that names the closest known names, or all of them when none is close."""
    known = list(known)
    close = close_names(name, known)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    return f"Known: {', '.join(known)}."


def close_names(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that a misspelt one may mean, closest first, at most three."""
    lowered = {word.lower(): word for word in known}
    return [
        lowered[word] for word in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)
    ]


class Registry(Generic[T]):
    """Components of one kind by name; a lazy entry is imported only when it is asked for.

    Args:
        kind: what the components are, in the singular, for messages ("network", "data set").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._lazy: dict[str, str] = {}

    def add(self, name: str, component: T) -> None:
        """Register a component; a second one of the same name raises ValueError."""
        self._refuse_duplicate(name)
        self._entries[name] = component

    def add_lazy(self, name: str, target: str) -> None:
        """Register ``"package.module:attribute"``, imported when the name is first asked for."""
        self._refuse_duplicate(name)
        self._lazy[name] = target

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers what it decorates under ``name``."""

        def decorate(component: T) -> T:
            self.add(name, component)
            return component

        return decorate

    def __getitem__(self, name: str) -> T:
        if name in self._lazy and name not in self._entries:
            module, _, attribute = self._lazy[name].partition(":")
            self._entries[name] = cast(T, getattr(import_module(module), attribute))
        if name not in self._entries:
            raise UsageError(f"unknown {self.kind} {name!r}", suggestion(name, self))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._lazy

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._entries, *self._lazy}))

    def _refuse_duplicate(self, name: str) -> None:
        if name in self:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
