"""Where a network may be cut, and how its divisions are ranked.

The best division is the one whose largest module needs the least memory, as Pathak et al. 2023
(section 3.3) chose theirs; where that is the same for two, the next-largest modules decide, and so
on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

from locbench.errors import UsageError
from locbench.spec.components import Isolated
from locbench.spec.networks import NETWORKS, NetworkInfo
from locbench.spec.recipe import Recipe


class ModuleSpan(NamedTuple):
    """A local module of a division.

    Attributes:
        module: its 0-based index among the modules.
        first, last: its local layers.
    """

    module: int
    first: int
    last: int


Ends: TypeAlias = tuple[int, ...]
"""The last local layer of each module, as in `spec.partition.Partition`."""

SortedPeaks: TypeAlias = tuple[int, ...]
"""Peaks from the largest down: the smaller of two such tuples belongs to the better division."""


class Division(msgspec.Struct, frozen=True):
    """A network cut into local modules.

    Attributes:
        units: local layers per module.
        peaks: bytes that each module needs.
    """

    units: tuple[Annotated[int, msgspec.Meta(ge=1)], ...]
    peaks: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]

    @property
    def order(self) -> SortedPeaks:
        """What divisions are ranked by."""
        return tuple(sorted(self.peaks, reverse=True))


@dataclass(frozen=True)
class SearchSpace:
    """Where a network may be cut.

    Attributes:
        cuts: the local layers after which a module may end, in order, without the top one.
        top: the last local layer.
        modules: K.
    """

    cuts: tuple[int, ...]
    top: int
    modules: int

    @property
    def divisions(self) -> int:
        """How many divisions there are."""
        return comb(len(self.cuts), self.modules - 1)

    def all_ends(self) -> Iterator[Ends]:
        """Yield every division."""
        return ((*chosen, self.top) for chosen in combinations(self.cuts, self.modules - 1))


def module_spans(ends: Ends) -> tuple[ModuleSpan, ...]:
    """Return the modules of a division."""
    starts = (0, *(end + 1 for end in ends[:-1]))
    return tuple(
        ModuleSpan(index, first, last)
        for index, (first, last) in enumerate(zip(starts, ends, strict=True))
    )


def search_space(recipe: Recipe) -> SearchSpace:
    """Return where a recipe's network may be cut.

    Raises:
        UsageError: the method has no isolated modules, or the network cannot be cut into so many.
    """
    composition, units = recipe.composition, NETWORKS[recipe.network].units
    if composition.end_to_end or not isinstance(composition.routing, Isolated):
        raise UsageError(
            f"the method {recipe.method!r} has no isolated modules, "
            "so that none has a memory of its own",
            "Choose a local method such as dgl, infopro or swin-reconstruction.",
        )
    modules = units if recipe.modules is None else recipe.modules
    return SearchSpace(cuts_for(recipe.network, modules, composition.merge_top), units - 1, modules)


def cuts_for(network: str, modules: int, merged: int = 0) -> tuple[int, ...]:
    """Return the local layers after which a module may end, in order, the top one left out.

    A transformer is cut after shifted-window blocks alone (Pathak et al. 2023, section 3.3), any
    other network after any local layer.

    Args:
        network: a name of the network catalogue.
        modules: K.
        merged: number of layers below the top one that stay in its module (AugLocal).

    Raises:
        UsageError: there is no such network, or it cannot be cut into so many modules.
    """
    info = NETWORKS[network]
    cuts = tuple(cut for cut in _boundaries(info) if cut <= info.units - 2 - merged)
    if not 2 <= modules <= len(cuts) + 1:
        places = "1 place" if len(cuts) == 1 else f"{len(cuts)} places"
        rule = ", after every second block" if info.transformer else ""
        raise UsageError(
            f"K = {modules} does not divide {info.label}: it has {places} for a cut{rule}",
            f"Choose K from 2 to {len(cuts) + 1}."
            if cuts
            else "Choose another method or a deeper network.",
        )
    return cuts


def _boundaries(info: NetworkInfo) -> Iterator[int]:
    if info.transformer is None:
        yield from range(info.units - 1)
        return
    unit = 0  # the patch embedding
    for depth in info.transformer.depths:
        for block in range(depth):
            unit += 1
            if block % 2 == 1:  # windows are shifted in every second block of a stage
                yield unit
