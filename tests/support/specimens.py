"""Small learners and batches that several tests share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from locbench.contract.methods import attach_points
from locbench.learning.auxiliary.branch import AttachPoint, Targets
from locbench.learning.learner import Learner, build_learner
from locbench.spec.recipe import Recipe
from locbench.spec.validation import make_recipe

CLASSES = 10


def recipe(
    method: str, network: str = "resnet8", modules: int | None = None, **options: Any
) -> Recipe:
    """Return a short recipe on the digits; ``options`` are the method's."""
    return recipe_of(method, options, network=network, modules=modules)


def recipe_of(method: str, options: dict[str, Any], **settings: Any) -> Recipe:
    defaults = {"network": "resnet8", "dataset": "digits", "epochs": 4, "batch_size": 8, "lr": 0.05}
    return make_recipe({**defaults, **settings, "method": method, "options": options})


def learner(
    method: str, *, side: int = 8, dtype: torch.dtype = torch.float64, **settings: Any
) -> Learner:
    return build_learner(recipe(method, **settings), CLASSES, side).to(dtype)


def batch(
    size: int = 6, side: int = 8, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[Tensor, Targets]:
    """Return normalised images and their targets.

    Every class of three occurs, most more than once.
    """
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(size, 3, side, side, generator=generator, dtype=torch.float64).to(dtype)
    return (pixels - 0.5) / 0.5, Targets(torch.arange(size) % 3, pixels)


def gradients(net: nn.Module) -> dict[str, Tensor]:
    """Return every parameter's gradient by name, zeros where there is none."""
    return {
        name: torch.zeros_like(each) if each.grad is None else each.grad.clone()
        for name, each in net.named_parameters()
    }


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    for name, value in left.items():
        torch.testing.assert_close(
            value, right[name], rtol=1e-8, atol=1e-11, msg=lambda text, name=name: name + text
        )


def attach_point(
    layer: int, network: str = "resnet32", side: int = 32, patches: int = 1
) -> AttachPoint:
    """Return where a net hangs after a layer of a network whose every local layer is a module."""
    return replace(attach_points(network, CLASSES, side)[layer], patches=patches)
