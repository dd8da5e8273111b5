"""Files of traces: read where they are whole, written where possible.

A trace is a fact of the rules by which it was made, and these have a version that is raised by
hand. Other versions of torch, and other text of the same code, void nothing: they are printed with
the number.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec

from locbench.costs.memory.options import TraceOptions, step_words
from locbench.results.json_store import JsonStore, SetAside
from locbench.results.plugin_use import plugins_of
from locbench.results.provenance import versions
from locbench.spec.recipe import Recipe

Bytes: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class Trace(Protocol):
    """What a file holds: what was traced, by which version of the rules, and with what."""

    @property
    def recipe(self) -> Recipe:
        """The recipe without its schedule."""

    @property
    def setting(self) -> TraceOptions:
        """What else a step depends on."""

    @property
    def trace_version(self) -> int:
        """Version of the rules."""

    @property
    def made_with(self) -> str:
        """Versions of locbench and of torch."""


T = TypeVar("T", bound=Trace)


class MissingTrace(NamedTuple):
    """A trace that is not there, or cannot be used: its kind, and the recipe."""

    kind: type[Any]
    recipe: Recipe


class TraceLog:
    """What happened to the traces of a results folder, of one kind or several.

    Attributes:
        set_aside: files that count as missing, and why.
        origins: with what the traces were made that were read or written, since it was cleared
            last.
        missing: what was asked for and is not there, or not of use, and has not been made.
        usable: whether a trace could be read, be it of older rules.
        unkept: why something could not be written; empty if everything was.
    """

    def __init__(self) -> None:
        self.set_aside = SetAside()
        self.origins: set[str] = set()
        self.missing: dict[Path, MissingTrace] = {}
        self.usable = False
        self.unkept = ""

    @property
    def origin(self) -> str:
        """With what the traces were made, in words."""
        return "; ".join(sorted(self.origins))

    @property
    def lines(self) -> tuple[str, ...]:
        """What a user should know, one sentence each."""
        lines = self.set_aside.by_reason(
            "prediction", "locbench costs or locbench splits makes it anew."
        )
        return (
            *lines,
            *([f"What was predicted is not kept: {self.unkept}"] if self.unkept else []),
        )


class TraceStore(JsonStore[T]):
    """Traces of one kind in a results folder.

    Args:
        results: the results folder; traces are in its ``costs``.
        kind: of the traces.
        version: of the rules; what is older counts as missing. What a later version of locbench
            wrote is taken as it is: its rules are the better ones.
        trace: trace what is not there and keep it; without it, what is not there is None.
        log: where events go, if several stores share it.
        others: further results folders, which are read where this one lacks a trace.

    Attributes:
        added: the files of what was traced anew.
    """

    def __init__(
        self,
        results: Path,
        kind: type[T],
        version: int,
        *,
        trace: bool,
        log: TraceLog | None = None,
        others: Sequence[Path] = (),
    ) -> None:
        self.log = log or TraceLog()
        further = [other / "costs" for other in others]
        super().__init__(results / "costs", kind, self.log.set_aside, further)
        self.other_results = tuple(others)
        self.results, self.version, self.trace = results, version, trace
        self.added: set[Path] = set()
        self._known: dict[Path, T] = {}

    def _fault_of(self, value: T, path: Path) -> str:
        if not path.stem.endswith(step_words(value.recipe, value.setting)[-1]):
            return "it holds another step than its name says"
        self.log.usable = True
        if value.trace_version < self.version:
            return (
                f"it is of version {value.trace_version} of the rules, "
                f"and these are version {self.version}"
            )
        other = [
            name for name, words in _plugin_words(value.recipe) if words not in value.made_with
        ]
        return f"it was traced with another version of the plugin {other[0]!r}" if other else ""

    def find(self, path: Path, recipe: Recipe) -> T | None:
        """Return a trace, read from disk once, and log where it comes from.

        None, logged as missing, if it is not there or of no use.
        """
        trace = self._known.get(path) or self.read(path)
        if trace is None:
            self.log.missing[path] = MissingTrace(self.kind, recipe)
        else:
            self._log(path, trace)
        return trace

    def add(self, path: Path, trace: T) -> None:
        """Write a trace; where that cannot be done it is held in memory, and the log says so."""
        self.log.unkept = self.keep(path, trace) or self.log.unkept
        self.added.add(path)
        self._log(path, trace)

    def _log(self, path: Path, trace: T) -> None:
        self._known[path] = trace
        self.log.missing.pop(path, None)
        self.log.origins.add(trace.made_with)


def made_with(recipe: Recipe) -> str:
    """Return the versions that a recipe's trace is made with, its plugins' digests included."""
    known = versions()
    libraries = [f"{name} {known[name]}" for name in ("locbench", "torch", "timm")]
    return ", ".join((*libraries, *(words for _, words in _plugin_words(recipe))))


def _plugin_words(recipe: Recipe) -> list[tuple[str, str]]:
    """Return the plugins of a recipe, and each with the beginning of its digest."""
    return [(name, f"plugin {name} {digest[:12]}") for name, digest in plugins_of(recipe).items()]
