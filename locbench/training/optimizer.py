"""Optimizers over a network and all its auxiliary nets."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from locbench.learning.learner import Learner
from locbench.spec.recipe import Recipe


class ModuleSGD(torch.optim.SGD):
    """SGD with one parameter group per local module, each with its auxiliary nets.

    Every rule is SGD's own, and so is the state; `step` steps what has gradients, whichever module
    it is in.
    """

    def step_module(self, index: int) -> None:
        """Step one module and free its gradients."""
        groups = self.param_groups
        self.param_groups = groups[index : index + 1]
        try:
            self.step()
            self.zero_grad(set_to_none=True)
        finally:
            self.param_groups = groups


def make_optimizer(learner: Learner, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer of a recipe over the network and all auxiliary nets.

    Modules share no parameters, so one step at the end of a batch equals stepping each module by
    itself; with lean memory SGD has one group per module, to be stepped when its gradients are
    complete.
    """
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(
            by_decay(learner, recipe.weight_decay),
            lr=recipe.lr,
            betas=recipe.betas,
            eps=recipe.eps,
            fused=True,
        )
    lean = recipe.memory == "lean"
    modules = range(learner.modules_count)
    return (ModuleSGD if lean else torch.optim.SGD)(
        [{"params": learner.local_parameters(index)} for index in modules]
        if lean
        else learner.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov and recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def by_decay(learner: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return parameters in two groups, decayed ones and others.

    Vectors, biases and relative position biases have no decay. That is the Swin pipeline's rule
    (microsoft/Swin-Transformer, optimizer.py).
    """
    decayed: list[Tensor] = []
    spared: list[Tensor] = []
    for name, weight in learner.named_parameters():
        spare = weight.ndim <= 1 or name.endswith(("bias", "relative_position_bias_table"))
        (spared if spare else decayed).append(weight)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
