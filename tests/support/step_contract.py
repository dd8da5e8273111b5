"""What one training step of any network with any method must do."""

from __future__ import annotations

from typing import Any

import torch
from specimens import CLASSES, gradients
from torch import Tensor

from locbench.contract.findings import findings
from locbench.contract.methods import MethodContract
from locbench.learning.learner import Learner
from locbench.spec.recipe import Recipe


def assert_holds(checks: Any) -> None:
    """Run checks of a contract, none of which may fail."""
    found = list(findings(checks))
    assert found
    assert [each for each in found if each.fault] == []


def assert_contract(chosen: Recipe, side: int) -> None:
    """Losses are finite, every parameter learns, gradients cross no cut they may not, and a saved
    net goes on alike.
    """
    assert_holds(MethodContract(chosen, CLASSES, side).step_checks())


def stepped(net: Learner, data: Any) -> dict[str, Tensor]:
    """Return the gradients of one step; dropout draws the same every time."""
    net.zero_grad()
    torch.manual_seed(3)
    output = net.step(*data)
    assert output.losses.shape == (net.modules_count,)
    assert output.losses.isfinite().all()
    return gradients(net)
