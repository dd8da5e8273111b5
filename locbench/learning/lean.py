"""Isolated training in less memory: a module's graph exists only while it is used, and so do its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from locbench.learning.auxiliary.branch import Targets
from locbench.learning.handover import give
from locbench.learning.routing import Outcome, with_top
from locbench.learning.statistics import batch_statistics_only

if TYPE_CHECKING:
    from locbench.learning.learner import Learner

Finished = Callable[[int], None]
"""Told a module's index when its gradients, its auxiliary nets' included, are complete; may use and free them."""


def isolated_lean(learner: Learner, images: Tensor, targets: Targets, finished: Finished | None = None) -> Outcome:
    """Train every module by its own loss, its forward pass run once for its auxiliary nets and once for itself.

    During the auxiliary nets' backward pass only the module's input and output are there. The second forward pass
    leaves BatchNorm's running statistics alone; it must give what the first gave, so a module may not draw random
    numbers. The last module has no auxiliary net and runs once.
    """
    finished = finished or _keep
    losses, x = [], images
    top = learner.modules_count - 1
    for index in range(top):
        leaf, features = _first_run(learner, index, x)
        losses.append(learner.independent(index, leaf, targets.with_features(features)))
        gradient = [leaf.grad]
        del leaf, features
        with batch_statistics_only(*learner.module_units(index)):
            h = learner.run_module(index, x)
        x = h.detach()
        give(h, gradient)
        del h
        finished(index)
    outcome = with_top(losses, learner.run_module(top, x), targets)
    finished(top)
    return outcome


def _first_run(learner: Learner, index: int, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return a module's output as a leaf that gathers its gradient, and its input features if they are wanted."""
    with torch.no_grad():
        h, features = learner.run_module_from(index, x)
    torch.clear_autocast_cache()  # weights cast without a graph would serve the second run too
    return h.requires_grad_(), features


def _keep(_: int) -> None:
    return None
