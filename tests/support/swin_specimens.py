"""Learners of Swin feature reconstruction that several tests share."""

from __future__ import annotations

from typing import Any

import torch
from specimens import CLASSES, gradients, recipe_of
from torch import Tensor

from locbench.learning.auxiliary.branch import Targets
from locbench.learning.auxiliary.swin import SharedStemBlock
from locbench.learning.learner import Learner, build_learner
from locbench.learning.modules import Auxiliary
from locbench.spec.recipe import Recipe

SIDE = 32
OURS, INFOPRO = "swin-reconstruction", "swin-infopro"


def swin(
    method: str, modules: int | None = 4, network: str = "swin-micro", **options: Any
) -> Recipe:
    sizes = {"image_size": SIDE} if network == "swin-micro" else {}
    return recipe_of(method, options, network=network, modules=modules, **sizes)


def learner(
    method: str, modules: int | None = 4, dtype: torch.dtype = torch.float64, **options: Any
) -> Learner:
    return build_learner(swin(method, modules, **options), CLASSES, SIDE).to(dtype)


def block_of(net: Learner, module: int) -> SharedStemBlock:
    auxiliary = net.independents[str(module)]
    assert isinstance(auxiliary, Auxiliary)
    (block,) = auxiliary.branches
    assert isinstance(block, SharedStemBlock)
    return block


def stepped(
    net: Learner, data: tuple[Tensor, Targets], *, guided: bool = False
) -> dict[str, Tensor]:
    net.zero_grad()
    net.step(*data, guided=guided)
    return gradients(net)


def part(found: dict[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    return {name: each for name, each in found.items() if name.startswith(prefixes)}


def of_module(net: Learner, index: int, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradients of a module, its auxiliary block's included."""
    top = ["chain.head."] if index == net.modules_count - 1 else [f"independents.{index}."]
    return part(found, *(f"chain.units.{unit}." for unit in net.partition.ranges[index]), *top)
