"""The search for the best divisions against brute force."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

import pytest

from locbench.costs.splits.cuts import (
    Ends,
    ModuleSpan,
    SearchSpace,
    SortedPeaks,
    module_spans,
)
from locbench.costs.splits.search import Search, best


class HandMade:
    """Peaks typed or drawn in a test; bounds are a share of them."""

    def __init__(self, peaks: dict[ModuleSpan, int], tight: float = 1.0) -> None:
        self.peaks, self.tight, self.traced = peaks, tight, list[ModuleSpan]()

    def bound(self, span: ModuleSpan) -> int:
        return int(self.peaks[span] * self.tight)

    def peak(self, span: ModuleSpan) -> int:
        self.traced.append(span)
        return self.peaks[span]


def drawn(
    layers: int, modules: int, seed: int, largest: int, tight: float = 1.0
) -> tuple[SearchSpace, HandMade]:
    """Return peaks that depend on all of a span; few different ones make ties."""
    draw = random.Random(seed)
    spans = [(first, last) for first in range(layers) for last in range(first, layers)]
    peaks = {
        ModuleSpan(module, *span): draw.randint(1, largest)
        for module in range(modules)
        for span in spans
    }
    cuts = tuple(sorted(draw.sample(range(layers - 1), layers - 3)))
    return SearchSpace(cuts, layers - 1, modules), HandMade(peaks, tight)


def brute(space: SearchSpace, peaks: dict[ModuleSpan, int]) -> list[tuple[SortedPeaks, Ends]]:
    """Return every division with its peaks from the largest down, the best first."""
    found = []
    for chosen in combinations(space.cuts, space.modules - 1):
        edges = [-1, *chosen, space.top]
        costs = [
            peaks[ModuleSpan(module, low + 1, high)]
            for module, (low, high) in enumerate(pairwise(edges))
        ]
        found.append((tuple(sorted(costs, reverse=True)), tuple(edges[1:])))
    return sorted(found)


CASES = [(9, 2, 1), (9, 3, 2), (10, 4, 3), (8, 5, 4), (8, 6, 5)]


@pytest.mark.parametrize(("layers", "modules", "seed"), CASES)
@pytest.mark.parametrize("largest", [3, 1000])
@pytest.mark.parametrize("tight", [0.0, 0.6, 1.0])
def test_the_best_are_those_of_brute_force(
    layers: int, modules: int, seed: int, largest: int, tight: float
) -> None:
    space, made = drawn(layers, modules, seed, largest, tight)
    wanted = brute(space, made.peaks)
    assert space.divisions == len(wanted)
    for count in (1, 4, len(wanted) + 5):
        assert best(space, count, made.peaks.__getitem__) == [ends for _, ends in wanted[:count]]
        found = Search(space, made).best(count)
        assert [each.order for each in found] == [order for order, _ in wanted[:count]]
        assert [each.units for each in found] == [
            tuple(high - low for low, high in pairwise((-1, *ends))) for _, ends in wanted[:count]
        ]


@pytest.mark.parametrize(("layers", "modules", "seed"), CASES)
@pytest.mark.parametrize("known", [0, 3])
def test_ranks_are_those_of_brute_force(layers: int, modules: int, seed: int, known: int) -> None:
    space, made = drawn(layers, modules, seed, 4, 0.5)
    wanted = brute(space, made.peaks)
    orders = [order for order, _ in wanted]
    for order, ends in wanted:
        search = Search(space, made)
        found = search.best(known) if known else []
        assert search.rank(search.division(ends), found) == 1 + sum(each < order for each in orders)


def test_a_division_worked_out_by_hand() -> None:
    """Layers take 5, 1, 1, 1 and 4 bytes, and each auxiliary net 1; the last module has none.

    Three modules: 5 | 1 1 1 | 4 needs 6, 4, 4; of the others only 5 | 1 1 | 1 4 (6, 3, 5) and 5 | 1
    | 1 1 4 (6, 2, 6) need no more than 6, and their next-largest modules need more.
    """
    sizes = (5, 1, 1, 1, 4)
    space = SearchSpace((0, 1, 2, 3), 4, 3)
    all_places = {span for ends in space.all_ends() for span in module_spans(ends)}
    made = HandMade(
        {each: sum(sizes[each.first : each.last + 1]) + (each.module < 2) for each in all_places},
        0.5,
    )
    found = Search(space, made).best(3)
    assert [(each.units, each.peaks) for each in found] == [
        ((1, 3, 1), (6, 4, 4)),
        ((1, 2, 2), (6, 3, 5)),
        ((1, 1, 3), (6, 2, 6)),
    ]


def test_only_what_can_matter_is_traced() -> None:
    space, made = drawn(10, 4, 7, 10**6)
    (found,) = Search(space, made).best(1)
    # The bounds are the peaks: the best division is traced and nothing else.
    assert len(made.traced) == 4
    assert {made.peaks[span] for span in made.traced} == set(found.peaks)


def test_a_rank_that_asks_for_too_many_traces_is_left_open() -> None:
    layers = 60
    space = SearchSpace(tuple(range(layers - 1)), layers - 1, 4)
    spans = [(first, last) for first in range(layers) for last in range(first, layers)]
    made = HandMade(
        {ModuleSpan(module, *span): span[1] - span[0] for module in range(4) for span in spans}
    )
    search = Search(space, made)
    assert search.rank(search.division((0, 1, 2, layers - 1))) is None
    assert len(made.traced) == 4
