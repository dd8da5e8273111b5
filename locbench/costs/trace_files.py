"""Files of what was traced: read where they are whole, written where they can be.

A trace is a fact of the rules by which it was made, and these have a version that is raised by hand. Other versions of
torch, and other text of the same code, void nothing: they are told with the number.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec

from locbench.costs.memory.options import Setting
from locbench.errors import FailureError, UsageError
from locbench.files import read_regular, write_atomically
from locbench.results.provenance import versions
from locbench.spec.recipe import Recipe

Bytes: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class Trace(Protocol):
    """What a file holds: what was traced, by which version of the rules, and with what."""

    @property
    def recipe(self) -> Recipe:
        """The recipe without its schedule."""

    @property
    def setting(self) -> Setting:
        """What else a step depends on."""

    @property
    def trace_version(self) -> int:
        """Version of the rules."""

    @property
    def made_with(self) -> str:
        """Versions of locbench and of torch."""


T = TypeVar("T", bound=Trace)


class Missing(NamedTuple):
    """What was looked for and is not there, or cannot be used: the kind of trace, and of what."""

    kind: type[Any]
    recipe: Recipe


class TraceFiles:
    """The files of one folder.

    Args:
        folder: where they are; made when the first one is written.

    Attributes:
        faults: why a file counts as missing.
        origins: with what the traces were made that were read or written, since it was cleared last.
        missing: what was asked for and is not there, or not of use, and has not been made.
        unkept: why something could not be written; empty if everything was.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[Path, str] = {}
        self.origins: set[str] = set()
        self.missing: dict[Path, Missing] = {}
        self.unkept = ""
        self._made: dict[Path, Trace] = {}

    def read(self, path: Path, kind: type[T], version: int, recipe: Recipe, setting: Setting) -> T | None:
        """Return what a file holds; None if it is not there, not whole, of another step, or of an older version.

        What a later version of locbench wrote is taken as it is: its rules are the better ones.
        """
        made = self._made.get(path)
        if isinstance(made, kind):
            self.origins.add(made.made_with)
            return made
        self.faults.pop(path, None)
        self.missing.pop(path, None)
        try:
            found = msgspec.json.decode(read_regular(path), type=kind)
            if (found.recipe.key, found.setting) != (recipe.key, setting):
                raise ValueError("it holds another step than its name says")
            if found.trace_version >= version:
                self.origins.add(found.made_with)
                return found
            self.faults[path] = f"it is of version {found.trace_version} of the rules, and these are version {version}"
        except FileNotFoundError:
            pass
        except OSError as error:
            self.faults[path] = error.strerror or str(error)
        except (ValueError, RecursionError, UsageError) as error:  # msgspec's errors are ValueErrors
            self.faults[path] = str(error)
        self.missing[path] = Missing(kind, recipe)
        return None

    def write(self, path: Path, made: Trace) -> None:
        """Write a trace; where that cannot be done it is remembered as long as this object lives."""
        self.faults.pop(path, None)
        self.missing.pop(path, None)
        self.origins.add(made.made_with)
        try:
            write_atomically(path, msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
        except FailureError as error:
            self._made[path] = made
            self.unkept = self.unkept or error.message

    @property
    def origin(self) -> str:
        """With what the traces were made, in words."""
        return "; ".join(sorted(self.origins))

    @property
    def lines(self) -> tuple[str, ...]:
        """What a user should know of these files, one sentence each."""
        lines = summed_up(self.faults, "prediction", "locbench costs or locbench splits makes it anew.")
        return (*lines, *([f"What was predicted is not kept: {self.unkept}"] if self.unkept else []))


def summed_up(faults: Mapping[Path, str], what: str, remedy: str) -> list[str]:
    """Return one sentence for each reason why files count as missing, with how many there are and the first one."""
    paths: dict[str, list[Path]] = {}
    for path, why in faults.items():
        paths.setdefault(why, []).append(path)
    lines = []
    for why, same in paths.items():
        more = f" and {len(same) - 1} more" if len(same) > 1 else ""
        lines.append(f"The {what} {same[0]}{more} counts as missing: {why}. {remedy}")
    return lines


@cache
def made_with() -> str:
    """Return the versions that a trace is made with, as its file tells them."""
    found = versions()
    return f"locbench {found['locbench']}, torch {found['torch']}, timm {found['timm']}"
