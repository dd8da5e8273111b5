"""Training steps on PyTorch's own CUDA code: no waits, no allocations, capture, kernels, memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cuda_standin import run
from cuda_steps import RECIPES, recipe_named

from locbench.costs.memory.deviations import DEVIATIONS, deviation_of
from locbench.costs.memory.options import phase_options
from locbench.spec.methods import METHODS
from locbench.spec.modifiers import MODIFIERS
from locbench.spec.networks import NETWORKS

pytestmark = pytest.mark.timeout(900)  # the first test waits for the steps of all recipes

Entry = dict[str, Any]


class Case(NamedTuple):
    """A kind of step of a recipe."""

    name: str
    guided: bool


CASES = [
    Case(name, setting.guided) for name in RECIPES for setting in phase_options(recipe_named(name))
]

NEVER_CAPTURED = {"checkpointed", "lean"}

MOST_KERNELS = {
    "bp": 87,
    "checkpointed": 120,
    "lean": 384,
    "bf16": 451,
    "bp bf16": 158,
    "dgl": 278,
    "dgl official": 320,
    "dgl cnn": 191,
    "head": 179,
    "head contrast": 368,
    "predsim": 320,
    "infopro": 234,
    "infopro bf16": 398,
    "auglocal": 181,
    "pgl": 204,
    "hpff": 576,
    "pff": 351,
    "pff retain": 999,
    "reconstruction": 365,
    "similarity": 464,
    "swin-greedy": 1010,
    "swin-contrast": 1180,
    "swin-infopro": 1285,
    "swin-reconstruction": 1260,
    "vgg19": 373,
    "mobilenetv2": 646,
    "efficientnet": 928,
    "regnet": 807,
    "resnet34": 515,
    "vgg13": 144,
}
"""Kernels of an eager step with torch 2.14, to be lowered when it needs fewer.

Those of Swin vary by a few from process to process.
"""

CLOSE = 0.005
"""Share by which peaks of memory differ from what is known of them."""

OTHER_TORCH = 1.25
"""How many times as many kernels another version may launch."""


@pytest.fixture(scope="module")
def observations(standin: Path) -> dict[Case, Entry]:
    """Return what all recipes' steps ask of the device."""
    done = run(standin, "-m", "cuda_steps", seconds=840)
    assert done.returncode == 0, done.stderr
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    return {Case(entry["name"], entry["guided"]): entry for entry in entries}


@pytest.fixture
def entry(observations: dict[Case, Entry], case: Case) -> Entry:
    found = observations[case]
    assert "error" not in found, found["error"]
    return found


def test_recipes_have_every_method_and_network() -> None:
    recipes = [recipe_named(name) for name in RECIPES]
    words = {word for recipe in recipes for word in recipe.method.split("+")}
    assert words >= {*METHODS, *MODIFIERS}
    builders = {NETWORKS[recipe.network].builder.partition(":")[0] for recipe in recipes}
    assert builders == {NETWORKS[name].builder.partition(":")[0] for name in NETWORKS}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_steady_step_neither_waits_nor_allocates(entry: Entry) -> None:
    assert entry["eager"]["waits"] == 0
    assert entry["eager"]["allocations"] == 0


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_step_launches_no_more_kernels_than_before(entry: Entry) -> None:
    import torch

    usual = torch.__version__.startswith("2.14.")
    assert entry["eager"]["kernels"] <= MOST_KERNELS[entry["name"]] * (1 if usual else OTHER_TORCH)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_allocator_gives_out_what_is_predicted(entry: Entry) -> None:
    eager = entry["eager"]
    ratio = eager["peak"] / eager["predicted"]
    deviation = deviation_of(recipe_named(entry["name"]))
    assert deviation.least - CLOSE <= ratio <= deviation.most + CLOSE


def test_every_deviation_is_observed() -> None:
    observed = {deviation_of(recipe_named(name)) for name in RECIPES}
    assert {deviation for _, deviation in DEVIATIONS} <= observed


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name not in NEVER_CAPTURED], ids=str
)
def test_a_step_is_captured_and_replayed_without_a_wait(entry: Entry) -> None:
    graphed = entry["graphed"]
    assert graphed["engine"] == "graphed", graphed["warned"]
    assert graphed["capture"]["notes"] == []
    assert graphed["capture"]["violations"] == 0
    assert graphed["capture"]["captured"] > 0
    replay = graphed["replay"]
    assert (replay["graph_launches"], replay["waits"], replay["allocations"]) == (1, 0, 0)
    assert replay["kernels"] <= 2  # seed and offset of dropout
    # Images and labels go in, losses and logits out; images as such only where one is restored.
    assert replay["copies"] == 4 + graphed["restores image"]
