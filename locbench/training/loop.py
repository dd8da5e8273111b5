"""The training loop of classifiers and detectors: epochs, checkpoints, test sets."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

import torch

from locbench.data.batches import steps_per_epoch
from locbench.errors import DivergedError
from locbench.spec.recipe import Recipe, images_per_epoch
from locbench.training.device import set_precision
from locbench.training.distributed import SINGLE_PROCESS, ProcessGroup
from locbench.training.events import (
    EpochDone,
    EpochMetrics,
    RunEvent,
    RunListener,
    RunStarted,
    StepDone,
)
from locbench.training.lr_schedule import rate_of_step
from locbench.training.state import Keeper, RunState, Stateful


class TrainingRun(ABC):
    """One recipe being trained.

    Args:
        recipe: what to train.
        images: number of training images there are.
        device: where to train.
        keeper: of the state between epochs.
        world: the processes that share the run; every one of them makes its own.
    """

    optimizer: torch.optim.Optimizer

    def __init__(
        self,
        recipe: Recipe,
        images: int,
        device: torch.device,
        keeper: Keeper,
        world: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.recipe, self.device, self.keeper, self.world = recipe, device, keeper, world
        self.images_per_epoch = images_per_epoch(images, recipe.batch_size, recipe.drop_last)
        world.refuse_empty_shares(self.images_per_epoch, recipe.batch_size)
        set_precision(recipe.precision, device)
        parameters = self._build()
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.state = RunState(parameters=parameters, started=started, engine=self.engine_name)
        keeper.begun(self.state)

    @abstractmethod
    def _build(self) -> dict[str, int]:
        """Make the network and its optimizer anew; return the numbers of its parameters."""

    @abstractmethod
    def _parts(self) -> dict[str, Stateful]:
        """Return what a checkpoint keeps, by the names that it has there."""

    @abstractmethod
    def _steps(
        self, epoch: int, steps: int, step_done: Callable[[], None]
    ) -> tuple[list[float], EpochMetrics]:
        """Take an epoch's steps.

        Return the mean losses over images, the network's last, and what its row says else.
        """

    @abstractmethod
    def _evaluate(self) -> EpochMetrics:
        """Return what the row of an epoch says of the test images."""

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """Return the numbers at the end of a finished run, as its record has them."""

    @property
    def engine_name(self) -> str:
        """What really runs the steps."""
        return "eager"

    def train(self, listener: RunListener | None = None) -> RunState:
        """Train to the end, from the checkpoint if there is one.

        Raises:
            DivergedError: a loss is no longer finite.
            FailureError: an image cannot be decoded.
        """
        if not self.keeper.restore(self.state, self.device, **self._parts()):
            self._build()
        steps = steps_per_epoch(self.images_per_epoch, self.recipe.batch_size)
        notify = listener.on if listener else _ignore
        notify(RunStarted(self.recipe.epochs, steps, len(self.state.history)))
        for epoch in range(len(self.state.history) + 1, self.recipe.epochs + 1):
            row = self._epoch(epoch, steps, partial(notify, StepDone()))
            self.state.history.append(row)
            self._note_engine()
            notify(EpochDone(row))
            if epoch < self.recipe.epochs:
                self.keeper.save(self.state, **self._parts())
        return self.state

    def _epoch(self, epoch: int, steps: int, step_done: Callable[[], None]) -> EpochMetrics:
        begun = time.perf_counter()
        # Every epoch has its own random state, so that a resumed run draws what an uninterrupted
        # one would have.
        torch.manual_seed(
            (self.recipe.seed * 1_000_003 + epoch) * self.world.size + self.world.rank
        )
        losses, trained = self._steps(epoch, steps, step_done)
        if not all(map(math.isfinite, losses)):
            raise DivergedError(
                f"a loss is not finite in epoch {epoch}", "Lower the learning rate."
            )
        self.state.local_losses = losses
        row: EpochMetrics = {
            "epoch": epoch,
            "lr": float(self.optimizer.param_groups[0]["lr"]),
            "train_loss": losses[-1],
        }
        row |= trained | {"test_acc": None}
        if epoch % self.recipe.test_every == 0 or epoch == self.recipe.epochs:
            row |= self._evaluate()
        row["seconds"] = round(time.perf_counter() - begun, 4)
        self.state.seconds += row["seconds"] or 0.0
        return row

    def _set_rate(self, step: int, steps: int) -> None:
        """Set the learning rate of a step, counted from 0 over the whole run."""
        rate = rate_of_step(self.recipe, step, steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _note_engine(self) -> None:
        """Note in the state which engines have run: one may give up, a resumed run use another."""
        seen = self.state.engine.split(", ") if len(self.state.history) > 1 else []
        if self.engine_name not in seen:
            self.state.engine = ", ".join([*seen, self.engine_name])


def _ignore(event: RunEvent) -> None:
    """Do nothing: nobody listens."""
