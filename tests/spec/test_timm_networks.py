"""Models of timm in recipes: image sizes, keys, and what needs no timm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from specimens import recipe_of

from locbench.data.images import load
from locbench.spec.networks import NETWORKS, TIMM, units_per_module
from locbench.spec.presets import with_preset
from locbench.spec.recipe import Recipe
from locbench.training.input import normalised_for


def recipe(network: str = "resnet18", dataset: str = "cifar10", **settings: object) -> Recipe:
    return recipe_of("dgl", {}, network=TIMM + network, dataset=dataset, **settings)


@pytest.mark.parametrize(
    ("network", "dataset", "side"),
    [
        ("resnet18", "cifar10", 32),  # the data set's own, where that is smaller
        ("resnet18", "imagenet", 224),
        ("vit_tiny_patch16_384", "imagenet", 384),  # files are scaled to any size
        ("vit_tiny_patch16_224", "stl10", 96),
    ],
)
def test_image_size(network: str, dataset: str, side: int) -> None:
    assert recipe(network, dataset).side == side
    assert recipe(network, dataset, image_size=64).side == 64


def test_what_is_implied_makes_no_other_key() -> None:
    """ResNet-18 has nine local layers; three modules hold three each."""
    assert recipe(modules=9).key == recipe().key == recipe(split=(1,) * 9).key
    assert recipe(modules=3).key == recipe(split=(3, 3, 3)).key
    assert recipe(modules=3).key != recipe().key
    assert recipe(split=(2, 3, 4)).key != recipe(modules=3).key
    assert recipe(split=(2, 3, 4)).modules == 3
    assert units_per_module("timm:resnet18", 4) == (2, 2, 2, 3)


def test_networks_of_timm_are_known_but_not_listed() -> None:
    assert "timm:resnet18" in NETWORKS
    assert not any(name.startswith(TIMM) for name in NETWORKS)
    assert NETWORKS["timm:resnet18"].label == "timm:resnet18"


def test_images_are_normalised_as_timm_does() -> None:
    digits = load("digits", Path("unused"), limit=10, test_limit=10)
    info = normalised_for("timm:vit_tiny_patch16_224", digits).info
    assert info.mean == info.std == (0.5, 0.5, 0.5)
    info = normalised_for("timm:resnet18", digits).info
    assert (info.mean, info.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalised_for("resnet32", digits) is digits


def test_a_smoke_run_has_images_that_models_take() -> None:
    """The digits have 16 pixels, which are too few for a ConvNeXt."""
    assert with_preset(recipe("convnext_atto"), "smoke").side == 32
    assert with_preset(recipe("convnext_atto"), "quick").side == 32
    assert with_preset(recipe("convnext_atto", image_size=224), "quick").side == 224


SCRIPT = """
import sys
import msgspec
from locbench.spec.recipe import Recipe
from locbench.spec.compatibility import refuse_unfit
from locbench.spec.networks import NETWORKS
from locbench.spec.presets import reductions, same_task_key
for text in sys.argv[1:]:
    recipe = msgspec.json.decode(text, type=Recipe)
    refuse_unfit(recipe, ask_timm=False)
    same_task_key(recipe)
    reductions(recipe, recipe)
    print(recipe.key, NETWORKS[recipe.network].label)
print([name for name in ("torch", "timm", "numpy") if name in sys.modules])
"""


def test_a_recipe_is_read_without_timm() -> None:
    """Of a model too that this timm does not have."""
    written = [recipe(modules=3), recipe(split=(2, 3, 4)), recipe("vit_tiny_patch16_224")]
    later = msgspec.structs.replace(written[0], network="timm:of_later_years")
    texts = [msgspec.json.encode(each).decode() for each in (*written, later)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *texts], capture_output=True, text=True, check=True
    )
    *lines, imported = done.stdout.splitlines()
    assert imported == "[]"
    assert [line.split()[0] for line in lines[:3]] == [each.key for each in written]
    assert lines[3].split()[1] == "timm:of_later_years"
