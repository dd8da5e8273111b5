"""A learner: a chain, its partition, its auxiliary nets and its routing, ready to take training steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from locbench.learning.auxiliary.branch import Branch, Cut, Targets
from locbench.spec.components import BUILDERS, AnyBranch


class Auxiliary(nn.Module):
    """All branches on one module's output at one level, each with its weight there.

    Args:
        branches: the nets with their criteria.
        weights: one per branch; a branch of weight 0 is not run.
    """

    def __init__(self, branches: list[Branch], weights: list[float]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.weights = weights

    def backward(self, features: Tensor, targets: Targets, scale: float = 1.0) -> Tensor:
        """Back-propagate every branch in turn, each graph freed before the next, and return the weighted loss.

        Args:
            features: a leaf, B x C x H x W; its ``grad`` gathers the gradient if it asks for one.
            targets: labels and image.
            scale: multiplies the gradients, not the returned loss.
        """
        total = features.new_zeros(())
        for branch, weight in zip(self.branches, self.weights, strict=True):
            if weight:
                total = total + weight * cast(Branch, branch).backward(features, targets, weight * scale)
        if features.requires_grad and features.grad is None:
            features.grad = torch.zeros_like(features)
        return total


def build_branch(options: AnyBranch, cut: Cut) -> Branch:
    """Return the auxiliary branch that options describe, for a cut."""
    builder = cast(Callable[[AnyBranch, Cut], Branch], BUILDERS[str(options.__struct_config__.tag)])
    return builder(options, cut)
