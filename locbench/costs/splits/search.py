"""The search for the best divisions of a network.

A module's peak depends on its span alone, so the N best divisions are found by dynamic programming
over the layers. Peaks are traced one by one where they can matter: a lower bound stands for a peak
until a division is among the best with it, which leaves the answer exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import nsmallest
from itertools import pairwise
from typing import Protocol, TypeAlias

from locbench.costs.splits.cuts import (
    Division,
    Ends,
    ModuleSpan,
    SearchSpace,
    SortedPeaks,
    module_spans,
)

FEW = 100_000
"""Up to so many divisions are gone through one by one to rank one of them."""

WORTH_TRACING = 100
"""A rank that asks for more traces than this is left open."""


Cost: TypeAlias = Callable[[ModuleSpan], int]


class Peaks(Protocol):
    """What modules need, in bytes."""

    def bound(self, span: ModuleSpan) -> int:
        """Return a number that the module's peak is not below; cheap."""

    def peak(self, span: ModuleSpan) -> int:
        """Return the module's peak; slow."""


def best(space: SearchSpace, count: int, cost: Cost) -> list[Ends]:
    """Return the ``count`` best divisions under a cost of modules, the best first.

    Adding one module to two partial divisions keeps their order, so that of all ways to reach a
    layer with as many modules only the ``count`` best need be kept.
    """
    ways: dict[int, list[tuple[SortedPeaks, Ends]]] = {-1: [((), ())]}
    for module in range(space.modules):
        left = space.modules - 2 - module  # cuts that must still follow this module's end
        ends = (space.top,) if left < 0 else space.cuts[module : len(space.cuts) - left]
        ways = {end: nsmallest(count, _reaching(end, module, ways, cost)) for end in ends}
    return [ends for _, ends in ways[space.top]]


def _reaching(
    end: int, module: int, ways: dict[int, list[tuple[SortedPeaks, Ends]]], cost: Cost
) -> Iterator[tuple[SortedPeaks, Ends]]:
    for before, partial in ways.items():
        if before < end:
            added = cost(ModuleSpan(module, before + 1, end))
            for order, ends in partial:
                yield tuple(sorted((*order, added), reverse=True)), (*ends, end)


class Search:
    """A search for the best divisions that traces a module only where its peak can matter.

    Args:
        space: where the network may be cut.
        peaks: of its modules.
    """

    def __init__(self, space: SearchSpace, peaks: Peaks) -> None:
        self.space, self.peaks = space, peaks
        self.known: dict[ModuleSpan, int] = {}

    def best(self, count: int) -> list[Division]:
        """Return the ``count`` best divisions, the best first."""
        while True:
            candidates = best(self.space, count, self._cost)
            unknown = [spans for ends in candidates if (spans := self._unknown(ends))]
            if not unknown:
                return [self.division(ends) for ends in candidates]
            # The span of the largest cost is the likeliest to rule its division out.
            for span in {max(spans, key=self._cost) for spans in unknown}:
                self._trace(span)

    def division(self, ends: Ends) -> Division:
        """Return a division with the peaks of all its modules."""
        for span in self._unknown(ends):
            self._trace(span)
        units = tuple(after - before for before, after in pairwise((-1, *ends)))
        return Division(units, tuple(self.known[span] for span in module_spans(ends)))

    def rank(self, division: Division, best: Sequence[Division] = ()) -> int | None:
        """Return a division's rank, 1 for the best; None where finding it takes too long.

        Equal divisions share a rank.

        Args:
            division: any division.
            best: the best divisions, the best first, as far as they are known.
        """
        if best and division.order <= best[-1].order:
            return 1 + sum(better.order < division.order for better in best)
        if self.space.divisions > FEW:
            return None
        rivals = [ends for ends in self.space.all_ends() if self._order(ends) < division.order]
        if len({span for ends in rivals for span in self._unknown(ends)}) > WORTH_TRACING:
            return None
        return 1 + sum(self._beats(ends, division.order) for ends in rivals)

    def _beats(self, ends: Ends, order: SortedPeaks) -> bool:
        for span in sorted(self._unknown(ends), key=self._cost, reverse=True):
            if self._order(ends) >= order:
                return False
            self._trace(span)
        return self._order(ends) < order

    def _order(self, ends: Ends) -> SortedPeaks:
        return tuple(sorted(map(self._cost, module_spans(ends)), reverse=True))

    def _unknown(self, ends: Ends) -> list[ModuleSpan]:
        return [span for span in module_spans(ends) if span not in self.known]

    def _cost(self, span: ModuleSpan) -> int:
        return self.known[span] if span in self.known else self.peaks.bound(span)

    def _trace(self, span: ModuleSpan) -> None:
        self.known[span] = self.peaks.peak(span)
