"""Modules traced alone against the whole learner."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from specimens import recipe_of

from locbench.commands.splits import split_recipe
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.trace import trace_step
from locbench.costs.memory.tracker import GRANULE
from locbench.costs.splits.cuts import (
    ModuleSpan,
    module_spans,
    search_space,
)
from locbench.costs.splits.module_memory import ModuleMemory, TracedNetwork
from locbench.costs.splits.search import Search
from locbench.costs.splits.store import split_text
from locbench.learning.learner import Learner, build_learner
from locbench.learning.modules import Auxiliary
from locbench.spec.components import Composition
from locbench.spec.partition import partition_of
from locbench.spec.recipe import without_schedule
from locbench.spec.table_files import load_table


def granules(count: int, item: int = 4) -> int:
    return -(-count * item // GRANULE) * GRANULE


def resident(learner: Learner, index: int, adam: bool) -> int:
    """Return the bytes of a module that stay from step to step, by the shapes of its tensors."""
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
    """A learner holds what stays of all modules, the batch, and the largest module's rest."""
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
