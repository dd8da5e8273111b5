"""Splits that a recipe carries: InfoPro's for three modules, and any that the user names."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from specimens import recipe, recipe_of

from locbench.errors import UsageError
from locbench.spec.arguments import assignments
from locbench.spec.partition import partition_of
from locbench.spec.recipe import Recipe
from locbench.terminal.splits import published

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
