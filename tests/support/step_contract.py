"""What one training step of any network with any method must do."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from specimens import CLASSES, batch, gradients
from torch import Tensor

from locbench.learning.learner import Learner, build_learner
from locbench.spec.components import Cascade, Checkpointed, Isolated
from locbench.spec.recipe import Recipe
from locbench.training.optimizer import make_optimizer


def stepped(net: Learner, data: Any) -> dict[str, Tensor]:
    """Return the gradients of one step; dropout draws the same every time."""
    net.zero_grad()
    torch.manual_seed(3)
    output = net.step(*data)
    assert output.losses.shape == (net.modules_count,)
    assert output.losses.isfinite().all()
    return gradients(net)


def idle(net: Learner) -> tuple[str, ...]:
    """Return the auxiliary nets at an end where a published weight is 0: what has no weight is not
    computed.
    """
    ends = (0, -1)
    silent = {
        end
        for each in net.composition.branches
        for end in ends
        if each.weight and each.weight[end] == 0
    }
    kinds = {"independents": net.independents, "cascades": net.cascades}
    return tuple(
        f"{kind}.{list(nets)[end]}." for kind, nets in kinds.items() if nets for end in silent
    )


def assert_contract(chosen: Recipe, side: int) -> None:
    """Losses are finite, every parameter learns, gradients cross no cut they may not, and a saved
    net goes on alike.
    """
    net, data = build_learner(chosen, CLASSES, side), batch(4, side, torch.float32)
    before = stepped(net, data)
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None or name.startswith(idle(net)), name
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    again = deepcopy(net)
    top = net.modules_count - 1
    with torch.no_grad():
        for each in net.module_parameters(top):
            each.mul_(1.1).add_(0.05)
    after = stepped(net, data)
    reach = {Isolated: 0, Cascade: 1, Checkpointed: top}[type(net.composition.routing)]
    for index in range(top - reach):
        own = tuple(f"chain.units.{unit}." for unit in net.partition.ranges[index])
        assert all(
            torch.equal(each, after[name]) for name, each in before.items() if name.startswith(own)
        ), index
    optimizers = [make_optimizer(each, chosen) for each in (net, again)]
    optimizers[0].step()
    again.load_state_dict(net.state_dict())
    optimizers[1].load_state_dict(deepcopy(optimizers[0].state_dict()))
    for learner, optimizer in zip((net, again), optimizers, strict=True):
        stepped(learner, data)
        optimizer.step()
    for (name, left), (_, right) in zip(
        net.state_dict().items(), again.state_dict().items(), strict=True
    ):
        assert torch.equal(left, right), name
