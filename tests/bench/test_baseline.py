"""The reference trains as the engines do: the same losses, and parameters after steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from specimens import CLASSES, batch, recipe_of
from torch import Tensor

from locbench.bench.baseline import Reference
from locbench.data.batches import Batch
from locbench.errors import UsageError
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import Learner, build_learner
from locbench.spec.recipe import Recipe
from locbench.training.distributed import SINGLE_PROCESS
from locbench.training.engine import make_engine
from locbench.training.optimizer import make_optimizer

CPU = torch.device("cpu")
SIDE = 16

Step = Callable[[Batch, Targets], Tensor]

METHODS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "bp": ("bp", {}, False),
    "bp+checkpointed": ("bp+checkpointed", {}, False),
    "dgl": ("dgl", {}, False),
    "predsim": ("predsim", {}, False),
    "infopro": ("infopro", {"reconstruction_weight": [2, 1], "task_weight": [1, 2]}, False),
    "auglocal": ("auglocal", {"depth": 2}, False),
    "hpff+dgl": ("hpff+dgl", {}, False),
    "hpff+dgl, cascade alone": ("hpff+dgl", {"levels": "CL"}, False),
    "hpff+infopro, released form": (
        "hpff+infopro",
        {"pff_scope": "cascade_decoder", "official_edges": True, "reconstruction_weight": [2, 1]},
        False,
    ),
    "pff+infopro": ("pff+infopro", {"task_weight": [1, 2]}, False),
    "pgl local": ("pgl+head", {}, False),
    "pgl global": ("pgl+head", {}, True),
    "pgl+infopro global": ("pgl+infopro", {"task_weight": [1, 2]}, True),
}


def chosen(name: str) -> tuple[Recipe, bool]:
    method, options, guided = METHODS[name]
    return recipe_of(method, options), guided


def data(number: int, dtype: torch.dtype) -> tuple[Batch, Targets]:
    images, targets = batch(6, SIDE, dtype, seed=number)
    return Batch(images, targets.labels, targets.pixels), targets


def ways(name: str, dtype: torch.dtype) -> tuple[tuple[Learner, Step], tuple[Learner, Step]]:
    """Return the same learner twice: trained the plain way, and by the loop's eager engine in
    channels-last memory.
    """
    recipe, guided = chosen(name)
    plain, ours = (build_learner(recipe, CLASSES, SIDE).to(dtype) for _ in range(2))
    ours = ours.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    reference = Reference(plain, recipe, CPU)
    engine = make_engine("eager", ours, make_optimizer(ours, recipe), recipe, SINGLE_PROCESS, CPU)
    return (
        (plain, lambda images, targets: reference.step(images, targets, guided=guided).losses),
        (ours, lambda images, targets: engine.step(images, targets, guided=guided).losses.clone()),
    )


@pytest.mark.parametrize("name", METHODS)
def test_three_steps_are_the_same(name: str) -> None:
    (plain, reference), (ours, eager) = ways(name, torch.float64)
    for number in range(3):
        torch.testing.assert_close(
            reference(*data(number, torch.float64)),
            eager(*data(number, torch.float64)),
            rtol=1e-6,
            atol=1e-9,
        )
    tolerance = 1e-6 if "infopro" in name else 1e-9
    for (key, left), (_, right) in zip(
        plain.named_parameters(), ours.named_parameters(), strict=True
    ):
        torch.testing.assert_close(
            left, right, rtol=0, atol=tolerance, msg=lambda text, key=key: f"{key}: {text}"
        )
    start = build_learner(chosen(name)[0], CLASSES, SIDE)
    moved = [
        not torch.equal(a.double(), b)
        for a, b in zip(start.parameters(), plain.parameters(), strict=True)
    ]
    assert all(moved)


@pytest.mark.parametrize("name", METHODS)
def test_first_losses_in_single_precision(name: str) -> None:
    (_, reference), (_, eager) = ways(name, torch.float32)
    found, wanted = reference(*data(0, torch.float32)), eager(*data(0, torch.float32))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)


def test_what_is_read_back_is_every_modules_loss_and_accuracy() -> None:
    recipe, _ = chosen("dgl")
    learner = build_learner(recipe, CLASSES, SIDE)
    reference = Reference(learner, recipe, CPU)
    output = reference.step(*data(0, torch.float32), guided=False)
    assert [loss for loss, _ in reference.read] == output.losses.tolist()
    assert len(reference.read) == learner.modules_count == 4
    right = output.logits.argmax(1) == data(0, torch.float32)[1].labels
    assert reference.read[-1][1] == pytest.approx(100 * right.double().mean().item())
    assert [each.defaults["foreach"] for each in reference.optimizers] == [False] * 4
    assert [each.defaults["fused"] for each in reference.optimizers] == [False] * 4


def test_other_recipes_have_no_reference() -> None:
    recipe = recipe_of("dgl", {}, memory="lean")
    with pytest.raises(UsageError, match="reference"):
        Reference(build_learner(recipe, CLASSES, SIDE), recipe, CPU)
