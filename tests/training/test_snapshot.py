"""The check of a captured step: how far its effects may be from an eager one's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from locbench.learning.routing import StepOutput
from locbench.training.snapshot import Effects, Snapshot

CPU = torch.device("cpu")
OUTPUT = StepOutput(torch.ones(2), torch.ones(3, 2))


def effects_of_a_step(optimizer_class: type[torch.optim.Optimizer]) -> tuple[Snapshot, Effects]:
    torch.manual_seed(0)
    net = nn.Linear(50, 40)
    optimizer = optimizer_class(net.parameters(), lr=0.1, **MOMENTUM.get(optimizer_class, {}))  # type: ignore[call-arg]
    before = Snapshot(net, optimizer, CPU)
    net(torch.randn(8, 50)).square().mean().backward()
    optimizer.step()
    return before, before.now(OUTPUT)


MOMENTUM = {torch.optim.SGD: {"momentum": 0.9}}


def changed(effects: Effects, kind: str, share: float, factor: float) -> Effects:
    """Return effects of which a share of one kind's numbers is multiplied."""
    (first, *others) = effects[kind]
    spoilt = first.clone().flatten()
    spoilt[: round(share * len(spoilt))] *= factor
    return effects | {kind: [spoilt.view_as(first), *others]}


@pytest.mark.parametrize("kind", ["losses", "logits", "weights", "momentum_buffer"])
def test_a_step_of_sgd_may_differ_by_a_hundredth(kind: str) -> None:
    before, effects = effects_of_a_step(torch.optim.SGD)
    before.refuse_difference(effects, changed(effects, kind, 1, 1.005))
    with pytest.raises(RuntimeError, match=f"differs from an eager one in its {kind}"):
        before.refuse_difference(effects, changed(effects, kind, 1, 1.05))


def test_signs_of_gradients_near_zero_may_differ_in_adamw_and_gradients_not() -> None:
    before, effects = effects_of_a_step(torch.optim.AdamW)
    assert {"exp_avg", "exp_avg_sq", "step"} <= effects.keys()
    before.refuse_difference(effects, changed(effects, "weights", 0.005, -1))
    for kind, share, factor in (("weights", 0.2, -1), ("exp_avg", 1, 1.05), ("exp_avg_sq", 1, 1.1)):
        with pytest.raises(RuntimeError, match=kind):
            before.refuse_difference(effects, changed(effects, kind, share, factor))
