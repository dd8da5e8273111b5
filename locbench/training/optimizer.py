"""Stochastic gradient descent that can step one local module at a time."""

from __future__ import annotations

import torch

from locbench.learning.learner import Learner


class ModuleSGD(torch.optim.SGD):
    """SGD with one parameter group per local module, each with its auxiliary nets.

    Every rule is SGD's own, and so is the state; `step` steps what has gradients, whichever module it is in.
    """

    def step_module(self, index: int) -> None:
        """Step one module and free its gradients."""
        everything = self.param_groups
        self.param_groups = everything[index : index + 1]
        try:
            self.step()
            self.zero_grad(set_to_none=True)
        finally:
            self.param_groups = everything


def by_module(learner: Learner) -> list[dict[str, object]]:
    """Return a learner's parameters as one group per local module; every parameter is in one of them."""
    groups: list[dict[str, object]] = [
        {"params": [*learner.module_parameters(index), *learner.auxiliary_parameters(index)]}
        for index in range(learner.modules_count)
    ]
    return groups
