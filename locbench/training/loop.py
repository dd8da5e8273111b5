"""The training loop: epochs of steps, one optimizer over everything, nothing read back from the device in between."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from locbench.data.batches import Batch, steps_per_epoch, train_batches
from locbench.data.images import Split
from locbench.errors import DivergedError
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import Learner, build_learner
from locbench.learning.phases import is_global
from locbench.learning.routing import Outcome as StepOutcome
from locbench.recipe import Recipe
from locbench.training.checkpoints import load_checkpoint, save_checkpoint
from locbench.training.evaluation import accuracy
from locbench.training.optimizer import ModuleSGD, by_module
from locbench.training.precision import autocast, set_precision
from locbench.training.rate import learning_rate

Row = dict[str, float | None]


class Watcher(Protocol):
    """Who wants to hear how a run is going."""

    def run_started(self, epochs: int, steps: int, done: int) -> None:
        """A run of so many epochs of so many steps starts, or goes on after ``done`` epochs."""

    def step_done(self) -> None:
        """A step has been queued."""

    def epoch_done(self, row: Row) -> None:
        """An epoch is over; ``row`` is its line of the history."""


@dataclass
class Outcome:
    """What a run gives.

    Attributes:
        history: one row per epoch, see `Record`.
        local_losses: mean loss of every module in the last epoch.
        parameters: counts, primary and auxiliary.
        seconds: time spent, all parts of a resumed run together.
        resumed: how often it was continued.
        started: UTC time of its first start.
    """

    history: list[Row] = field(default_factory=list)
    local_losses: list[float] = field(default_factory=list)
    parameters: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    resumed: int = 0
    started: str = ""


class Run:
    """One recipe being trained.

    Args:
        recipe: what to train.
        split: the images, on the device that is to train.
        checkpoint: where the state is kept between epochs; None keeps none.
        dtype: of images and weights; float64 for tests.
    """

    def __init__(
        self, recipe: Recipe, split: Split, checkpoint: Path | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        self.recipe, self.split, self.checkpoint, self.dtype = recipe, split, checkpoint, dtype
        self.device = split.train.pixels.device
        set_precision(recipe.precision, self.device)
        self.learner, self.optimizer = self._fresh()
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.outcome = Outcome(parameters=self.learner.parameter_counts(), started=started)

    def _fresh(self) -> tuple[Learner, torch.optim.SGD]:
        learner = build_learner(self.recipe, self.split.info.classes, self.split.info.side)
        learner = learner.to(self.device, self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return learner, make_optimizer(learner, self.recipe)

    def train(self, watcher: Watcher | None = None) -> Outcome:
        """Train to the end, from the checkpoint if there is one.

        Raises:
            DivergedError: a loss is no longer finite.
        """
        self._resume()
        steps = steps_per_epoch(len(self.split.train), self.recipe.batch_size)
        if watcher:
            watcher.run_started(self.recipe.epochs, steps, len(self.outcome.history))
        for epoch in range(len(self.outcome.history) + 1, self.recipe.epochs + 1):
            row = self._epoch(epoch, steps, watcher.step_done if watcher else _ignore)
            self.outcome.history.append(row)
            if watcher:
                watcher.epoch_done(row)
            if self.checkpoint and epoch < self.recipe.epochs:
                save_checkpoint(self.checkpoint, self._state())
        return self.outcome

    def _epoch(self, epoch: int, steps: int, step_done: Callable[[], None]) -> Row:
        begun = time.perf_counter()
        rate = learning_rate(self.recipe, epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Every epoch has its own random state, so that a resumed run draws what an uninterrupted one would have.
        torch.manual_seed(self.recipe.seed * 1_000_003 + epoch)
        losses, correct, guided = self._steps(epoch, steps, step_done)
        local_losses: list[float] = losses.tolist()
        if not all(map(math.isfinite, local_losses)):
            raise DivergedError(f"a loss is not finite in epoch {epoch}", "Lower the learning rate.")
        self.outcome.local_losses = local_losses
        row: Row = {"epoch": epoch, "lr": rate, "train_loss": self.outcome.local_losses[-1]}
        row["train_acc"] = 100 * correct.item() / len(self.split.train)
        row["test_acc"] = self._test(epoch)
        row["global_share"] = guided / steps
        row["seconds"] = round(time.perf_counter() - begun, 4)
        self.outcome.seconds += row["seconds"] or 0.0
        return row

    def _steps(self, epoch: int, steps: int, step_done: Callable[[], None]) -> tuple[Tensor, Tensor, int]:
        """Take an epoch's steps; return mean losses by module, the number of correct images, and of global steps."""
        self.learner.train()
        recipe, images = self.recipe, self.split.train
        losses = torch.zeros(self.learner.modules_count, dtype=self.dtype, device=self.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        batches = train_batches(
            images, self.split.info, recipe.batch_size, seed=recipe.seed, epoch=epoch, dtype=self.dtype
        )
        guided_steps = 0
        for index, batch in enumerate(batches):
            guided = is_global(recipe.composition.phases, (epoch - 1) * steps + index, recipe.epochs * steps)
            guided_steps += guided
            self.optimizer.zero_grad(set_to_none=True)
            outcome = self._step(batch, guided=guided)
            losses += outcome.losses * len(batch.labels)
            correct += (outcome.logits.argmax(dim=1) == batch.labels).sum()
            step_done()
        return losses / len(images), correct, guided_steps

    def _step(self, batch: Batch, *, guided: bool) -> StepOutcome:
        targets, optimizer = Targets(batch.labels, batch.pixels), self.optimizer
        early = {"finished": optimizer.step_module} if isinstance(optimizer, ModuleSGD) else {}
        with autocast(self.recipe.precision, self.device):
            outcome = self.learner.step(batch.images, targets, guided=guided, **early)
        optimizer.step()  # whatever has not been stepped yet
        return outcome

    def _test(self, epoch: int) -> float | None:
        if epoch % self.recipe.test_every and epoch != self.recipe.epochs:
            return None
        return accuracy(self.learner.chain, self.split.test, self.split.info, self.dtype)

    def _state(self) -> dict[str, Any]:
        outcome = self.outcome
        return {
            "epoch": len(outcome.history),
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": outcome.history,
            "local_losses": outcome.local_losses,
            "seconds": outcome.seconds,
            "resumed": outcome.resumed,
            "started": outcome.started,
        }

    def _resume(self) -> None:
        if self.checkpoint is None or not self.checkpoint.is_file():
            return
        state = load_checkpoint(self.checkpoint, self.device)
        if state is None:
            return
        try:
            self.learner.load_state_dict(state["learner"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, KeyError, ValueError):  # written by other code: the run starts from its beginning
            self.learner, self.optimizer = self._fresh()
            return
        for name in ("history", "local_losses", "seconds", "started"):
            setattr(self.outcome, name, state[name])
        self.outcome.resumed = state["resumed"] + 1


def make_optimizer(learner: Learner, recipe: Recipe) -> torch.optim.SGD:
    """Return SGD over the network and all auxiliary nets, weight decay on everything (one group).

    Modules share no parameters, so one step at the end of a batch equals stepping each module by itself; with lean
    memory each has its own group, to be stepped when its gradients are complete.
    """
    lean = recipe.memory == "lean"
    return (ModuleSGD if lean else torch.optim.SGD)(
        by_module(learner) if lean else learner.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov and recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def _ignore() -> None:
    return None
