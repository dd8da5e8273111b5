"""Where networks are cut: the tables of InfoPro's and HPFF's code, and AugLocal's joint top."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from specimens import recipe, recipe_of

from locbench.errors import UsageError
from locbench.spec.arguments import assignments
from locbench.spec.networks import units_per_module
from locbench.spec.partition import Partition, partition_of
from locbench.spec.recipe import Recipe
from locbench.terminal.splits import published

SPLITS = {
    ("resnet32", 2): [8, 8],
    ("resnet32", 4): [4] * 4,
    ("resnet32", 8): [2] * 8,
    ("resnet32", 16): [1] * 16,
    ("resnet110", 2): [28, 27],
    ("resnet110", 4): [13, 14, 14, 14],
    ("resnet110", 8): [6] + [7] * 7,
    ("resnet110", 16): [3] * 9 + [4] * 7,
    ("resnet110", 55): [1] * 55,
}

# (stage, block) after which the module ends, both as InfoPro counts them; the last module ends with
# the network.
CUTS = {
    ("resnet32", 2): "2,1",
    ("resnet32", 4): "1,2 2,1 3,0",
    ("resnet32", 8): "1,0 1,2 1,4 2,1 2,3 3,0 3,2",
    ("resnet110", 2): "2,8",
    ("resnet110", 4): "1,11 2,7 3,3",
    ("resnet110", 8): "1,4 1,11 2,0 2,7 2,14 3,3 3,10",
    ("resnet110", 16): "1,1 1,4 1,7 1,10 1,13 1,16 2,1 2,4 2,7 2,11 2,15 3,1 3,5 3,9 3,13",
    ("resnet110", 32): " ".join(
        f"{stage},{block}"
        for stage, blocks in (
            (1, "1 2 4 5 7 9 11 13 14 16 17"),
            (2, "1 2 4 5 7 9 11 13 14 16 17"),
            (3, "1 3 4 6 7 9 11 13 15"),
        )
        for block in blocks.split()
    ),
}


@pytest.mark.parametrize(("network", "modules"), SPLITS)
def test_units_per_module(network: str, modules: int) -> None:
    assert list(units_per_module(network, modules)) == SPLITS[network, modules]


@pytest.mark.parametrize(("network", "modules"), CUTS)
def test_cuts(network: str, modules: int) -> None:
    blocks = 5 if network == "resnet32" else 18
    pairs = [tuple(map(int, each.split(","))) for each in CUTS[network, modules].split()]
    ends = [1 + (stage - 1) * blocks + block for stage, block in pairs]  # unit 0 is the stem
    assert list(partition_of(recipe("dgl", network, modules)).ends) == [*ends, 3 * blocks]


def test_without_k_every_local_layer_is_a_module() -> None:
    assert units_per_module("resnet32", None) == (1,) * 16
    assert partition_of(recipe("dgl", "resnet32")).modules == 16


@pytest.mark.parametrize("modules", [0, -1, 17])
def test_k_out_of_range_is_refused(modules: int) -> None:
    with pytest.raises(UsageError, match="16 local layers"):
        units_per_module("resnet32", modules)


def test_ranges_cover_the_chain_once() -> None:
    assert [list(each) for each in Partition((0, 2, 5)).ranges] == [[0], [1, 2], [3, 4, 5]]


def test_backpropagation_has_one_module_whatever_k() -> None:
    assert partition_of(recipe("bp", "resnet32", 8)).ends == (15,)


@pytest.mark.parametrize(("network", "layers"), [("resnet32", 16), ("resnet110", 55)])
@pytest.mark.parametrize("depth", [2, 3, 4, 5, 6, 9])
def test_auglocal_trains_the_top_jointly(network: str, layers: int, depth: int) -> None:
    """L - k modules, k = d - 1: the last one holds the top k + 1 layers."""
    partition = partition_of(recipe("auglocal", network, depth=depth))
    assert partition.modules == layers - (depth - 1)
    assert len(partition.ranges[-1]) == depth
    assert all(len(each) == 1 for each in partition.ranges[:-1])
    assert partition_of(recipe("auglocal", network, depth=depth, merge_top=False)).modules == layers


def test_top_merge_keeps_the_lower_cuts_of_coarser_splits() -> None:
    # ResNet-32, K=8 ends at 1 3 5 7 9 11 13 15; d=6 keeps cuts up to layer 16 - 5 - 2 = 9.
    assert partition_of(recipe("auglocal", "resnet32", 8, depth=6)).ends == (1, 3, 5, 7, 9, 15)


# (stage, block) after which InfoPro's modules end: (1, 4), (2, 4) of five blocks, (1, 17), (2, 17)
# of eighteen; the stem is local layer 0.
ENDS = {"resnet32": (5, 10, 15), "resnet110": (18, 36, 54)}


@pytest.mark.parametrize("network", ENDS)
def test_three_modules_are_infopros(network: str) -> None:
    assert partition_of(recipe("infopro", network, 3)).ends == ENDS[network]


@pytest.mark.parametrize(("network", "ends", "key"), [("resnet32", (4, 9, 15), "f70232f2186a")])
def test_records_of_before_keep_their_split_and_key(
    network: str, ends: tuple[int, ...], key: str
) -> None:
    """Without a split a recipe is one of equal parts, and has the key that it had."""
    made = recipe("dgl", network, 3)
    before = msgspec.structs.replace(made, split=None)
    assert partition_of(before).ends == ends
    assert before.key == key != made.key
    assert msgspec.json.decode(msgspec.json.encode(before), type=Recipe).key == key


def test_a_split_of_the_users() -> None:
    # InfoPro's of balanced memory has cuts of this kind
    chosen = recipe_of(
        "dgl", {}, network="resnet110", **assignments(["split=15,13,27"], "--recipe")
    )
    assert chosen.modules == 3
    assert partition_of(chosen).ends == (14, 27, 54)


def test_the_usual_split_makes_no_other_key() -> None:
    plain = recipe_of("dgl", {}, network="resnet32", modules=4)
    assert recipe_of("dgl", {}, network="resnet32", split=[4, 4, 4, 4]).key == plain.key
    assert (
        recipe_of("bp", {}, network="resnet32", modules=3).key
        == recipe_of("bp", {}, network="resnet32").key
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"split": [6, 5, 6]},
        {"split": [6, 5]},
        {"split": [16, 0]},
        {"split": [17, -1]},
        {"split": [8, 8], "modules": 3},
        {"split": []},
        {"split": 16},
        {"split": "8,8"},
        {"split": [8.0, 8.5]},
    ],
    ids=str,
)
def test_a_split_that_does_not_fit(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        recipe_of("dgl", {}, network="resnet32", **settings)


def test_which_splits_are_called_published() -> None:
    assert published(recipe("dgl", "resnet32", 3))
    assert published(recipe("dgl", "resnet110", 2))
    assert not published(recipe("dgl", "resnet32", 5))
    assert not published(recipe_of("dgl", {}, network="resnet32", split=[5, 5, 6]))
