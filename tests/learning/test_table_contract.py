"""One training step of every network with every method that a table names.

A new table is covered by being there.

Large networks are taken at the width that reduced runs give them.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from specimens import CLASSES
from step_contract import assert_contract

from locbench.learning.learner import build_learner
from locbench.spec.networks import NETWORKS, units_per_module
from locbench.spec.partition import partition_of
from locbench.spec.presets import small_variant
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_tables

Pair = tuple[str, str]


def trained() -> Iterator[Recipe]:
    """Return the recipe of every cell of every table.

    A detector's backbone is one too, the detector is not.
    """
    for table in load_tables():
        for cell in table.cells:
            if cell.recipe is not None:
                yield cell.recipe.backbone or cell.recipe


def pairs() -> dict[Pair, Recipe]:
    """Return the recipe with the fewest local modules of each network and method."""
    found: dict[Pair, Recipe] = {}
    for each in trained():
        pair = (each.network, each.method)
        if pair not in found or modules_of(each) < modules_of(found[pair]):
            found[pair] = each
    return found


def modules_of(of: Recipe) -> int:
    return len(units_per_module(of.network, of.modules))


def small(of: Recipe) -> tuple[Recipe, int]:
    """Return the recipe on a network as reduced runs have it, and a side for its patches."""
    info = NETWORKS[small_variant(of.network)]
    side = info.transformer.side if info.transformer else 32 if of.dataset == "imagenet" else 16
    return msgspec.structs.replace(of, network=info.name, image_size=side, drop_path=0.0), side


PAIRS = pairs()


@pytest.mark.parametrize("pair", PAIRS, ids="|".join)
def test_one_training_step(pair: Pair) -> None:
    chosen, side = small(PAIRS[pair])
    assert_contract(chosen, side)


def test_every_cell_of_every_table_is_divided_as_its_recipe_says() -> None:
    """Within a pair options and K differ alone; a small network is divided as its large one.

    On ResNet-32, on which most options are tried, the learner is built with each of them too.
    """
    for each in {small(each)[0].key: each for each in trained()}.values():
        chosen, side = small(each)
        assert partition_of(chosen).ends == partition_of(each).ends
        if each.network == "resnet32":
            assert build_learner(chosen, CLASSES, side).modules_count == len(
                partition_of(each).ends
            )


@pytest.mark.parametrize("name", [name for name in NETWORKS if small_variant(name) != name])
def test_a_stand_in_has_the_same_local_layers(name: str) -> None:
    large, small_one = NETWORKS[name], NETWORKS[small_variant(name)]
    assert small_one.units == large.units
    assert small_one.splits == large.splits
    assert (small_one.small_variant, small_one.torchvision) == ("", "")
