"""The registries: names to components, and which plugin a name came from."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from locbench.errors import UsageError

T = TypeVar("T")

Target: TypeAlias = str | Callable[..., Any]
"""A function or a class, or ``"package.module:attribute"``, which is imported when it is needed.

The package names its own in words, so that what there is can be listed without PyTorch.
"""


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


def imported(target: Target) -> Callable[..., Any]:
    """Return what a target names."""
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), attribute)
    return found


class RegistrationError(ValueError):
    """A component cannot be registered; the text says why."""


class Registry(Generic[T]):
    """Components of one kind by name, in the order of their names.

    Args:
        kind: what the components are, in the singular, for messages ("network", "data set").
        fault: returns why a component cannot be registered under a name; empty if it can.
    """

    def __init__(self, kind: str, fault: Callable[[str, T], str] = lambda _name, _: "") -> None:
        self.kind = kind
        self._fault = fault
        self._entries: dict[str, T] = {}
        self._plugins: dict[str, str] = {}
        _REGISTRIES.append(self)

    def add(self, name: str, component: T) -> None:
        """Register a component.

        Raises:
            RegistrationError: the name is taken, or the component is none of this kind.
        """
        if name in self._entries:
            owner = self.plugin_of(name)
            raise RegistrationError(
                f"the {self.kind} {name!r} is registered twice: "
                + (f"the plugin {owner!r} has one" if owner else "locbench has one")
            )
        if fault := _name_fault(name) or self._fault(name, component):
            raise RegistrationError(f"the {self.kind} {name!r}: {fault}")
        self._entries[name] = component
        self._plugins[name] = _registering

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers what it decorates under ``name``."""

        def decorate(component: T) -> T:
            self.add(name, component)
            return component

        return decorate

    def plugin_of(self, name: str) -> str:
        """Return the name of the plugin that a component came with; empty for locbench's own."""
        return self._plugins.get(name, "")

    def names_of(self, plugin: str) -> list[str]:
        """Return the names that a plugin has registered."""
        return [name for name in self if self.plugin_of(name) == plugin]

    def call(self, name: str, target: Target, *args: object) -> Any:
        """Call what a component is built by.

        Raises:
            UsageError: a plugin's does not take such arguments.
        """
        try:
            return imported(target)(*args)
        except TypeError as error:
            plugin, frames = self.plugin_of(name), error.__traceback__
            if not plugin or (frames is not None and frames.tb_next is not None):
                raise
            raise UsageError(
                f"the {self.kind} {name!r} of the plugin {plugin!r} cannot be built: {error}",
                "Let its builder take what the package's own take.",
            ) from error

    def remove(self, name: str) -> None:
        """Forget a component."""
        del self._entries[name], self._plugins[name]

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise UsageError(f"unknown {self.kind} {name!r}", suggestion(name, self))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))


_REGISTRIES: list[Registry[Any]] = []

_registering = ""


@contextmanager
def registered_by(plugin: str) -> Iterator[None]:
    """Let what is registered meanwhile belong to a plugin; if it fails, none of it stays."""
    global _registering
    before, _registering = _registering, plugin
    try:
        yield
    except BaseException:
        for registry in _REGISTRIES:
            for name in registry.names_of(plugin):
                registry.remove(name)
        raise
    finally:
        _registering = before


def struct_fault(component: object, base: type[msgspec.Struct]) -> str:
    """Return why a class cannot be one of options; empty if it can.

    Args:
        component: what is registered.
        base: what it has to be a subclass of.
    """
    if not (isinstance(component, type) and issubclass(component, base)):
        return f"it is no subclass of locbench.{base.__name__}"
    bare = [field.name for field in msgspec.structs.fields(component) if field.required]
    return f"its option {bare[0]!r} has no default" if bare else ""


def _name_fault(name: object) -> str:
    if not isinstance(name, str) or not name or name != name.strip():
        return "its name is no word"
    # They join methods, list values and stand in files' names.
    taken = [sign for sign in "+,/ " if sign in name]
    return f"its name has {taken[0]!r} in it" if taken else ""
