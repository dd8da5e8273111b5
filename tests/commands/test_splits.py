"""The best divisions: the search against brute force, modules alone against the whole learner, and
the command.
"""

from __future__ import annotations

import random
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from small_table import Bench
from specimens import recipe, recipe_of

from locbench.commands.splits import split_recipe
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.trace import trace_step
from locbench.costs.memory.tracker import GRANULE
from locbench.costs.splits.cuts import (
    Ends,
    ModuleSpan,
    SearchSpace,
    SortedPeaks,
    module_spans,
    search_space,
)
from locbench.costs.splits.module_memory import ModuleMemory, TracedNetwork
from locbench.costs.splits.search import Search, best
from locbench.costs.splits.store import SplitStore, split_text
from locbench.errors import UsageError
from locbench.learning.learner import Learner, build_learner
from locbench.learning.modules import Auxiliary
from locbench.spec.components import Composition
from locbench.spec.partition import partition_of
from locbench.spec.recipe import Recipe, without_schedule
from locbench.spec.table_files import load_table

# The search


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
    """Layers of 5, 1, 1, 1 and 4 bytes; a module needs their sum, and 1 more for its auxiliary net,
    the last none.

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
    assert (
        len(made.traced) == 4
    )  # the bounds are the peaks: the best division is traced and nothing else
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


# Where networks may be cut


def spans_of(method: str, network: str, modules: tuple[int, ...]) -> set[tuple[int, int]]:
    grounds = [search_space(recipe(method, network, each)) for each in modules]
    found = {
        (span.first, span.last)
        for space in grounds
        for ends in space.all_ends()
        for span in module_spans(ends)
    }
    return found | {(0, grounds[0].top)}


def test_swin_has_21_and_78_modules() -> None:
    """6 and 12 pairs of blocks: 6 * 7 / 2 and 12 * 13 / 2 runs of pairs, the whole network among
    them.
    """
    assert len(spans_of("swin-reconstruction", "swin-tiny", (2, 3, 4, 5, 6))) == 21
    for network in ("swin-base", "swin-large"):
        assert len(spans_of("swin-reconstruction", network, (2, 3))) == 78


def test_where_cuts_may_be() -> None:
    assert search_space(recipe("swin-reconstruction", "swin-tiny", 2)).cuts == (2, 4, 6, 8, 10)
    assert search_space(recipe("dgl", "resnet110", 4)).cuts == tuple(range(54))
    assert search_space(recipe("dgl", "resnet110", 4)).divisions == 24_804
    # d = 3 trains the top three of 16 local layers jointly.
    assert search_space(recipe("auglocal", "resnet32", 4, depth=3)).cuts == tuple(range(13))


@pytest.mark.parametrize(
    ("method", "network", "modules"),
    [
        ("swin-reconstruction", "swin-tiny", 7),
        ("dgl", "resnet8", 1),
        ("bp", "resnet8", 2),
        ("hpff+dgl", "resnet8", 2),
    ],
)
def test_what_cannot_be_divided_is_refused(method: str, network: str, modules: int) -> None:
    with pytest.raises(UsageError):
        search_space(recipe(method, network, modules))


# Modules alone


def granules(count: int, item: int = 4) -> int:
    return -(-count * item // GRANULE) * GRANULE


def resident(learner: Learner, index: int, adam: bool) -> int:
    """Return the bytes of a module that stay from step to step, counted from the shapes of its
    tensors.
    """
    nets: list[tuple[Any, bool]] = [(unit, True) for unit in learner.module_units(index)]
    if index == learner.modules_count - 1:
        nets.append((learner.chain.head, True))
    else:
        auxiliary = learner.independents[str(index)]
        assert isinstance(auxiliary, Auxiliary)
        nets += list(zip(auxiliary.branches, map(bool, auxiliary.weights), strict=True))
    total = 0
    for net, runs in nets:
        copies = 1 + runs * (3 if adam else 2)  # with gradient and state
        steps = GRANULE if adam and runs else 0
        total += sum(copies * granules(each.numel()) + steps for each in net.parameters())
        total += sum(granules(each.numel(), each.element_size()) for each in net.buffers())
    return total


SWIN = {
    "network": "swin-micro",
    "batch_size": 16,
    "optimizer": "adamw",
    "augmentation": "swin",
    "drop_path": 0.2,
}
RESNET = {"network": "resnet14", "batch_size": 16}
LEARNERS: list[tuple[str, dict[str, Any], int, int | None]] = [
    ("dgl", RESNET, 3, None),
    ("predsim", RESNET, 2, None),
    ("infopro", RESNET, 2, None),
    ("infopro", RESNET, 4, None),  # the first module's head has weight 0 and is not run
    ("auglocal", RESNET, 4, None),
    ("dgl+pff", RESNET | {"image_size": 16}, 3, None),
    ("swin-reconstruction", SWIN, 2, 1),  # the last module decides, as for Swin-T
    ("swin-reconstruction", SWIN, 4, 0),  # the first module decides, as for Swin-T
    ("swin-infopro", SWIN, 4, None),
]


@pytest.mark.parametrize(("method", "settings", "modules", "decides"), LEARNERS)
def test_modules_alone_make_up_the_whole_learner(
    method: str, settings: dict[str, Any], modules: int, decides: int | None
) -> None:
    """A learner holds what stays of all modules, the batch, and what the neediest module needs
    beyond that.
    """
    one = recipe_of(method, {}, modules=modules, **settings)
    learner, adam = build_learner(one, 10, one.side), one.optimizer == "adamw"
    stays = [resident(learner, index, adam) for index in range(modules)]
    images, labels = granules(one.batch_size * 3 * one.side**2), granules(one.batch_size, 8)
    peaks = Search(search_space(one), ModuleMemory(one)).division(partition_of(one).ends).peaks
    pixels = images if one.augmentation == "standard" or learner.restores_image else 0
    own = labels + (images if learner.restores_image else 0)
    needs = [peak - kept - own for peak, kept in zip(peaks, stays, strict=True)]
    needs[0] -= images
    whole = sum(stays) + images + pixels + labels + max(needs)
    losses = GRANULE * (modules + 2)  # scalars of the modules before are alive
    assert trace_step(one).peak == pytest.approx(whole, abs=losses)
    assert decides is None or needs.index(max(needs)) == decides


@pytest.mark.parametrize(
    ("method", "settings", "modules", "legacy"),
    [("dgl", RESNET | {"network": "resnet8"}, 3, False), ("swin-reconstruction", SWIN, 2, True)],
)
def test_no_module_needs_less_than_its_bound(
    method: str, settings: dict[str, Any], modules: int, legacy: bool
) -> None:
    one = recipe_of(method, {}, modules=modules, **settings)
    segments = ModuleMemory(one, TraceOptions(kept_softmax=legacy, ddp_buckets=legacy))
    space = search_space(one)
    for span in {span for ends in space.all_ends() for span in module_spans(ends)}:
        assert 0.4 * segments.peak(span) < segments.bound(span) <= segments.peak(span)


def test_equal_modules_are_traced_once_and_need_the_same() -> None:
    """Blocks 5-6 and 7-8 of Swin-micro are in the middle of its third stage.

    Only their drop path differs.
    """
    one = recipe_of("swin-reconstruction", {}, modules=4, **SWIN)
    low, high, above = ModuleSpan(1, 5, 6), ModuleSpan(2, 7, 8), ModuleSpan(2, 7, 10)

    def network() -> TracedNetwork:
        return TracedNetwork(
            msgspec.structs.replace(without_schedule(one), modules=None, composition=Composition())
        )

    both, alone = network(), network()
    assert both.peak(low, 4, one.composition) == both.peak(high, 4, one.composition)
    assert len(both._peaks) == 1
    assert alone.peak(high, 4, one.composition) == both.peak(low, 4, one.composition)
    assert both.peak(above, 4, one.composition) > both.peak(low, 4, one.composition)


def test_a_weight_of_zero_makes_another_module() -> None:
    one = recipe_of("infopro", {"task_weight": (0.0, 1.0)}, modules=4, **RESNET)
    other = recipe_of("infopro", {"task_weight": (1.0, 1.0)}, modules=4, **RESNET)
    first, second = ModuleSpan(0, 0, 1), ModuleSpan(1, 2, 3)
    assert ModuleMemory(one).peak(first) < ModuleMemory(other).peak(first)
    assert ModuleMemory(one).peak(second) == ModuleMemory(other).peak(second)


# The Swin paper's Table 1


@pytest.mark.parametrize("row", ["Swin-Tiny", "Swin-Base", "Swin-Large"])
@pytest.mark.parametrize("modules", [2, 4])
def test_a_transformer_is_divided_as_its_table_trains_it(row: str, modules: int) -> None:
    cell = next(
        each
        for each in load_table("swin-splits").cells
        if (each.row, each.column) == (row, f"K={modules}")
    )
    assert cell.recipe is not None
    given = split_recipe({"network": row.lower(), "modules": modules})
    assert without_schedule(given) == without_schedule(cell.recipe)
    assert (
        split_recipe({"network": row.lower(), "modules": modules, "batch_size": 7}).batch_size == 7
    )


def test_the_published_split_of_swin_tiny_needs_the_least() -> None:
    one = split_recipe({"network": "swin-tiny", "modules": 2})
    (found,) = Search(search_space(one), ModuleMemory(one)).best(1)
    assert split_text("swin-tiny", found.units) == "2,10"


def test_at_four_modules_the_first_of_swin_tiny_decides_alone() -> None:
    """So that all divisions that begin with it tie, the published one among them."""
    one = split_recipe({"network": "swin-tiny", "modules": 4})
    search = Search(search_space(one), ModuleMemory(one))
    (found,) = search.best(1)
    published = search.division((2, 4, 6, 12))
    assert max(published.peaks) == max(found.peaks) == found.peaks[0] == published.peaks[0]
    assert found.order <= published.order


# The command

SMALL = ("splits", "--dataset", "digits", "--batch-size", "8", "--network")

TABLE = """\
id = "blocks"
paper = "swin"
number = "Table 1"
title = "Blocks"
source = "Nobody 2024, Table 1"

[recipe]
network = "swin-micro"
dataset = "digits"
epochs = 1
batch_size = 8
lr = 0.05

[metrics.split]
unit = ""
kind = "text"
better = "none"

[[rows]]
label = "Micro"

[[columns]]
label = "Configuration"
recipe = { method = "bp" }

[[columns]]
label = "K=2"
recipe = { modules = 2, method = "swin-greedy" }

[published.split]
"Micro" = ["2,2,6,2", "12,0"]
"""


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def best_of(one: Recipe) -> list[tuple[SortedPeaks, tuple[int, ...]]]:
    """Return all divisions of a network of four local layers into two, each module traced."""
    segments = ModuleMemory(one)
    return sorted(
        (
            tuple(
                sorted(
                    (
                        segments.peak(ModuleSpan(0, 0, end)),
                        segments.peak(ModuleSpan(1, end + 1, 3)),
                    ),
                    reverse=True,
                )
            ),
            (end,),
        )
        for end in range(3)
    )


def test_the_command_prints_and_keeps_what_it_finds(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = bench.call(*SMALL, "resnet8", "--modules", "2", "--json")
    assert called.code == 0
    wanted = best_of(recipe("dgl", modules=2))
    found = called.json["best"]
    assert [each["split"] for each in found] == [[end + 1, 3 - end] for _, (end,) in wanted]
    assert [each["largest_bytes"] for each in found] == [order[0] for order, _ in wanted]
    assert [each["behind_percent"] for each in found] == [
        pytest.approx(100 * (order[0] / wanted[0][0][0] - 1)) for order, _ in wanted
    ]
    assert (called.json["divisions"], called.json["unit"], called.json["method"]) == (
        3,
        "local layers",
        "dgl",
    )
    trained = called.json["trained"]
    assert (trained["split"], trained["published"]) == ([2, 2], False)
    assert trained["rank"] == 1 + [end for _, (end,) in wanted].index(1)
    monkeypatch.setattr(
        "locbench.costs.splits.module_memory.ModuleMemory", None
    )  # would fail if anything were traced
    shown = bench.call(*SMALL, "resnet8", "--modules", "2")
    assert shown.code == 0
    assert "resnet8, dgl, K = 2, batch 8 of 16 x 16 pixels: 3 divisions" in shown.out
    assert f"{wanted[0][0][0] / 2**20:,.1f}" in shown.out
    assert "Traceback" not in shown.err


def test_more_divisions_than_were_kept_are_worked_out(bench: Bench) -> None:
    command = (*SMALL, "resnet8", "--modules", "3", "--method", "predsim", "--json", "--top")
    few, many = (bench.call(*command, count).json["best"] for count in ("1", "9"))
    assert (len(few), len(many)) == (1, 3)
    assert many[:1] == few
    assert all(sum(each["split"]) == 4 for each in many)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("swin-tiny", "--modules", "7"), "Choose K from 2 to 6."),
        (("swin-tiny", "--modules", "1"), "5 places for a cut, after every second block"),
        (("resnet8", "--modules", "5"), "Choose K from 2 to 4."),
        (("resnet8", "--modules", "2", "--method", "auglocal", "--set", "depth=5"), "0 places"),
        (("resnet9", "--modules", "2"), "unknown network 'resnet9'"),
        (("resnet8", "--modules", "2", "--method", "dlg"), "unknown method 'dlg'"),
        (("resnet8", "--modules", "2", "--method", "bp"), "no isolated modules"),
        (("resnet8", "--modules", "2", "--top", "0"), "--top is 0"),
        (("swin-tiny", "--modules", "2", "--image-size", "250"), "250 pixels"),
        (("resnet8",), "--modules"),
    ],
)
def test_wrong_usage_is_refused(bench: Bench, arguments: tuple[str, ...], said: str) -> None:
    called = bench.call(*SMALL, *arguments)
    assert called.code == 2
    assert said in called.err
    assert not called.out


def test_a_table_of_splits_is_computed(bench: Bench) -> None:
    bench.write(TABLE, "blocks")
    assert bench.call("table", "blocks").code == 0
    kept = [path.name for path in (bench.results / "costs").iterdir()]
    assert len([name for name in kept if name.startswith("splits-swin-micro")]) == 1
    called = bench.call("report", "blocks", "--format", "json")
    one = next(each.recipe for each in load_table("blocks").cells if each.column == "K=2")
    assert one is not None
    splits = SplitStore(bench.results).splits(one)
    assert splits is not None
    found = split_text("swin-micro", splits.best[0].units)
    (comparison,) = called.json["comparisons"]
    values = {
        entry["column"]: (entry["measured"], entry["verdict"]) for entry in comparison["entries"]
    }
    assert values == {"Configuration": ("2,2,6,2", "match"), "K=2": (found, "off")}


def test_without_traces_a_report_leaves_splits_out(tmp_path: Path) -> None:
    assert SplitStore(tmp_path).splits(recipe("dgl", modules=2)) is None
    assert not any(tmp_path.iterdir())
