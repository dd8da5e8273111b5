"""Where a chain is cut into local modules."""

from __future__ import annotations

from dataclasses import dataclass

from locbench.spec.networks import NETWORKS, units_per_module
from locbench.spec.recipe import Recipe


@dataclass(frozen=True)
class Partition:
    """A chain cut into local modules.

    Attributes:
        ends: for each module, the 0-based index of its last local layer; the last one is the
            network's top.
    """

    ends: tuple[int, ...]

    @property
    def modules(self) -> int:
        """The number of local modules."""
        return len(self.ends)

    @property
    def ranges(self) -> tuple[range, ...]:
        """The local layers of each module."""
        starts = (0, *(end + 1 for end in self.ends[:-1]))
        return tuple(range(start, end + 1) for start, end in zip(starts, self.ends, strict=True))


def partition_of(recipe: Recipe) -> Partition:
    """Return the partition that a recipe trains: its own split, or that of `units_per_module`.

    With ``merge_top`` = k, cuts above local layer L - k - 2 are dropped: the top k + 1 layers form
    the last module, as AugLocal's code does (there, layer L - k - 1 would get a copy of the rest of
    the network). With ``join_stem`` the cut after the first local layer is dropped.
    """
    units = NETWORKS[recipe.network].units
    if recipe.composition.end_to_end:
        return Partition((units - 1,))
    ends, end = [], -1
    for count in recipe.split or units_per_module(recipe.network, recipe.modules):
        end += count
        ends.append(end)
    highest = units - 2 - recipe.composition.merge_top
    lowest = 1 if recipe.composition.join_stem else 0
    kept = [end for end in ends[:-1] if lowest <= end <= highest]
    return Partition((*kept, units - 1))
