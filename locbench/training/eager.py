"""Training steps whose operations Python queues one by one."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from locbench.data.batches import Batch
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import Learner
from locbench.learning.routing import StepOutput
from locbench.spec.recipe import Recipe
from locbench.training.device import autocast
from locbench.training.distributed import ProcessGroup
from locbench.training.optimizer import ModuleSGD


class EagerEngine:
    """Takes steps one operation after the other.

    Every other engine is compared with it, and falls back on it.

    Args:
        learner: what is trained.
        optimizer: of all its parameters.
        recipe: precision and clipping of the step.
        world: the processes that share every batch.
        device: of the learner.
    """

    name = "eager"
    compile_seconds = 0.0

    def __init__(
        self,
        learner: Learner,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        world: ProcessGroup,
        device: torch.device,
    ) -> None:
        self.learner, self.optimizer, self.recipe = learner, optimizer, recipe
        self.world, self.device = world, device

    def step(
        self, batch: Batch, targets: Targets, *, guided: bool, global_batch: int | None = None
    ) -> StepOutput:
        """Free the gradients of the step before and take one."""
        self.optimizer.zero_grad(set_to_none=True)
        return self.accumulate_and_step(batch, targets, guided=guided, global_batch=global_batch)

    def accumulate_and_step(
        self,
        batch: Batch,
        targets: Targets,
        *,
        guided: bool,
        global_batch: int | None = None,
    ) -> StepOutput:
        """Take one step on top of the gradients that are there.

        Args:
            batch, targets, guided, global_batch: see `Engine.step`.
        """
        local = len(batch.labels)
        global_batch = global_batch or local

        def finish(module: int) -> None:  # its gradients are complete
            assert isinstance(self.optimizer, ModuleSGD)
            parameters = self.learner.local_parameters(module)
            self.world.average_gradients(parameters, local, global_batch)
            self._clip([module])
            self.optimizer.step_module(module)

        early = {"finished": finish} if isinstance(self.optimizer, ModuleSGD) else {}
        with autocast(self.recipe.precision, self.device):
            output = self.learner.step(batch.images, targets, guided=guided, **early)
        self.world.average_gradients(self.learner.parameters(), local, global_batch)
        self._clip(range(self.learner.modules_count))
        self.optimizer.step()  # whatever has not been stepped yet
        return output

    def _clip(self, modules: Iterable[int]) -> None:
        """Scale each module's gradients, its auxiliary nets' included, to the largest norm allowed.

        Modules stay independent so: no module's gradients depend on another's.
        """
        if self.recipe.clip_norm is not None:
            for module in modules:
                parameters = self.learner.local_parameters(module)
                nn.utils.clip_grad_norm_(parameters, self.recipe.clip_norm)
