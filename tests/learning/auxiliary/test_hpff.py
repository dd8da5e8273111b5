"""Patch feature fusion against its definition: each patch by itself, the outputs averaged."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from specimens import attach_point
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from locbench.learning.auxiliary.branch import AuxiliaryNet, Targets, patch_leaves
from locbench.learning.auxiliary.hpff import PatchFusion
from locbench.learning.auxiliary.stacked import stackable
from locbench.learning.learner import build_learner
from locbench.learning.modules import build_branch
from locbench.spec.components import AugLocal, Branch, Mlp, Patches, PooledLinear, Similarity
from locbench.spec.validation import make_recipe

LAYOUTS = [torch.channels_last, torch.contiguous_format]


def quarters(x: Tensor) -> list[Tensor]:
    h, w = x.shape[2] // 2, x.shape[3] // 2
    return [x[:, :, i : i + h, j : j + w] for i in (0, h) for j in (0, w)]


def passed(branch: nn.Module, features: Tensor, loss: Tensor) -> dict[str, Tensor]:
    """Return what a backward pass left behind: gradients, BatchNorm's buffers and the loss."""
    assert features.grad is not None
    gradients = {name: each.grad for name, each in branch.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    found = {**gradients, **dict(branch.named_buffers()), "input": features.grad, "loss": loss}
    return {name: value.detach() for name, value in found.items() if value is not None}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize(
    "options",
    [Mlp(), Mlp(variant="mlp"), Mlp(variant="cnn"), PooledLinear(), Similarity(), AugLocal()],
    ids=str,
)
def test_patches_one_by_one_give_the_same(
    options: Branch, stacked: bool, layout: torch.memory_format
) -> None:
    point = attach_point(1, "resnet8", 16, patches=2)
    inner: AuxiliaryNet = build_branch(options, point).double()
    plain = deepcopy(inner)
    shape = (5, point.spec.channels, point.spec.side, point.spec.side)
    draws = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=draws, dtype=torch.float64).contiguous(memory_format=layout)
    targets = Targets(torch.tensor([0, 3, 1, 1, 9]))

    leaf = x.clone().requires_grad_()
    before = torch.ones_like(leaf)
    leaf.grad = before.clone()  # of a branch that ran before
    fusion = PatchFusion(inner, Patches(), stacked=stacked)
    loss = fusion.backward(leaf, targets, 0.7)
    assert leaf.grad is not None
    leaf.grad -= before

    whole = x.clone().requires_grad_()
    joint = plain.criterion(sum(plain(part) for part in quarters(whole)) / 4, targets)
    (0.7 * joint).backward()  # type: ignore[no-untyped-call]
    expected = passed(plain, whole, joint)
    found = passed(fusion.branch, leaf, loss)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12, msg=name)


def test_a_stacked_net_needs_no_gradient_of_its_map() -> None:
    point = attach_point(1, "resnet8", 16, patches=2)
    fusion = PatchFusion(build_branch(Mlp(), point), Patches(), stacked=True)
    x = torch.randn(4, point.spec.channels, point.spec.side, point.spec.side)
    fusion.backward(x, Targets(torch.tensor([0, 1, 2, 3])), 1.0)
    assert x.grad is None
    assert all(each.grad is not None for each in fusion.parameters())


@pytest.mark.parametrize("side", [6, 7])
def test_gradients_of_patches_lie_in_their_places(side: int) -> None:
    """A border that no patch covers has none."""
    x = torch.randn(2, 3, side, side, dtype=torch.float64).requires_grad_()
    for index, patch in enumerate(patch_leaves(x, 2), 1):
        (index * patch.square().sum()).backward()  # type: ignore[no-untyped-call]
    factors = torch.zeros(side, side, dtype=torch.float64)
    factors[:3, :3], factors[:3, 3:6], factors[3:6, :3], factors[3:6, 3:6] = 1, 2, 3, 4
    torch.testing.assert_close(x.grad, 2 * factors * x.detach())


def test_nets_that_keep_little_are_stacked() -> None:
    def answer(options: Branch, layer: int) -> bool:
        point = attach_point(layer, "resnet32", 32, patches=2)
        return stackable(partial(build_branch, options, point), point)

    state = torch.get_rng_state()
    assert [answer(Mlp(), layer) for layer in (0, 5, 10)] == [True, True, True]
    assert not answer(AugLocal(), 0)  # copied blocks keep whole maps
    assert not answer(Mlp(variant="cnn"), 0)
    assert torch.equal(torch.get_rng_state(), state)


class Operations(TorchDispatchMode):
    """Counts what computes something."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if not func.is_view and "empty" not in func.__name__ and "detach" not in func.__name__:
            self.counts[func.__name__] += 1
        return func(*args, **kwargs or {})


def test_a_step_of_hpff_has_few_operations() -> None:
    """With every patch by itself, twice, they were 11,200."""
    recipe = make_recipe(
        {
            "network": "resnet32",
            "dataset": "cifar10",
            "method": "hpff+dgl",
            "modules": 16,
            "epochs": 1,
            "batch_size": 2,
            "lr": 0.1,
        }
    )
    learner = build_learner(recipe, 10, 32).train()
    images, targets = torch.randn(2, 3, 32, 32), Targets(torch.tensor([0, 1]))
    with Operations() as operations:
        learner.step(images, targets)
    assert sum(operations.counts.values()) < 3300
    assert operations.counts["slice_backward.default"] == 0
