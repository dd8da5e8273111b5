"""What one training step of any network with any method must do."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from specimens import CLASSES, batch, gradients
from torch import Tensor

from locbench.learning.learner import Learner, build_learner
from locbench.recipe import Recipe
from locbench.training.optimizer import make_optimizer


def stepped(net: Learner, data: Any) -> dict[str, Tensor]:
    """Return the gradients of one step; dropout draws the same every time."""
    net.zero_grad()
    torch.manual_seed(3)
    outcome = net.step(*data)
    assert outcome.losses.shape == (net.modules_count,)
    assert outcome.losses.isfinite().all()
    return gradients(net)


def assert_contract(chosen: Recipe, side: int) -> None:
    """Losses are finite, every parameter learns, no gradient crosses a cut, and a saved learner goes on alike."""
    net, data = build_learner(chosen, CLASSES, side), batch(4, side, torch.float32)
    before = stepped(net, data)
    assert all(each.grad is not None and each.grad.isfinite().all() for each in net.parameters())
    again = deepcopy(net)
    top = net.modules_count - 1
    with torch.no_grad():
        for each in net.module_parameters(top):
            each.mul_(1.1).add_(0.05)
    after = stepped(net, data)
    for index in range(top):
        own = tuple(f"chain.units.{unit}." for unit in net.partition.ranges[index])
        assert all(torch.equal(each, after[name]) for name, each in before.items() if name.startswith(own)), index
    optimizers = [make_optimizer(each, chosen) for each in (net, again)]
    optimizers[0].step()
    again.load_state_dict(net.state_dict())
    optimizers[1].load_state_dict(deepcopy(optimizers[0].state_dict()))
    for each, optimizer in zip((net, again), optimizers, strict=True):
        stepped(each, data)
        optimizer.step()
    for (name, left), (_, right) in zip(net.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(left, right), name
