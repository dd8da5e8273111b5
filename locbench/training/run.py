"""The training loop: epochs of steps, one optimizer over everything, nothing read back from the device in between."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from locbench.data.batches import Batch, steps_per_epoch
from locbench.data.images import Split
from locbench.errors import DivergedError
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import Learner, build_learner
from locbench.spec.phases import is_global
from locbench.spec.recipe import Recipe, images_per_epoch
from locbench.training.device import set_precision
from locbench.training.distributed import ALONE, World
from locbench.training.engine import Engine, EngineName, make_engine
from locbench.training.evaluation import accuracy
from locbench.training.input import testing_feed, training_feed
from locbench.training.lr_schedule import learning_rate, step_rate
from locbench.training.optimizer import make_optimizer
from locbench.training.state import Keeper, Origin, Outcome, Row, Watcher

__all__ = ["Outcome", "Row", "Run", "Watcher"]

MANY_CLASSES = 200
"""From so many classes on, and where ImageNet is stood in for, the share among the first five guesses is recorded."""


class Run:
    """One recipe being trained.

    Args:
        recipe: what to train.
        split: the images, on the device that is to train.
        checkpoint: where the state is kept between epochs; None keeps none.
        dtype: of images and weights; float64 for tests.
        weights: file of pretrained weights, for a recipe that starts from them; None asks their hub.
        world: the processes that share the run; every one of them makes its own `Run`.
        engine: how steps are run, as `choose_engine` allows.
        origin: the code that trains, and what is recorded already.
    """

    engine: Engine

    def __init__(
        self,
        recipe: Recipe,
        split: Split,
        checkpoint: Path | None = None,
        dtype: torch.dtype = torch.float32,
        weights: Path | None = None,
        world: World = ALONE,
        engine: EngineName = "eager",
        origin: Origin = Origin(),
    ) -> None:
        self.recipe, self.split, self.dtype = recipe, split, dtype
        self.weights, self.world, self._engine_name = weights, world, engine
        self.device = split.train.pixels.device
        world.refuse_empty_shares(self.images_per_epoch, recipe.batch_size)
        set_precision(recipe.precision, self.device)
        self._start_afresh()
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.outcome = Outcome(parameters=self.learner.parameter_counts(), started=started, engine=self.engine.name)
        self.keeper = Keeper(checkpoint, recipe.key, split.fingerprint, origin, leads=world.leads)
        self.keeper.begun(self.outcome)

    def _start_afresh(self) -> None:
        self.learner, self.optimizer = self._fresh()
        parts = (self.learner, self.optimizer, self.recipe, self.world, self.device)
        self.engine = make_engine(self._engine_name, *parts)

    def _fresh(self) -> tuple[Learner, torch.optim.Optimizer]:
        recipe, classes = self.recipe, self.split.info.classes
        learner = build_learner(recipe, classes, self.side)
        if recipe.init != "scratch":
            from locbench.networks.pretrained import load_pretrained

            load_pretrained(learner.chain, recipe.network, classes, self.side, self.weights)
        learner = learner.to(self.device, self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return learner, make_optimizer(learner, self.recipe)

    @property
    def side(self) -> int:
        """Side of the images that the network sees, in pixels."""
        return self.recipe.image_size or self.split.info.side

    @property
    def images_per_epoch(self) -> int:
        """Images that an epoch trains on: all, or those of its whole batches."""
        return images_per_epoch(len(self.split.train), self.recipe.batch_size, self.recipe.drop_last)

    def train(self, watcher: Watcher | None = None) -> Outcome:
        """Train to the end, from the checkpoint if there is one.

        Raises:
            DivergedError: a loss is no longer finite.
        """
        self._resume()
        steps = steps_per_epoch(self.images_per_epoch, self.recipe.batch_size)
        if watcher:
            watcher.run_started(self.recipe.epochs, steps, len(self.outcome.history))
        for epoch in range(len(self.outcome.history) + 1, self.recipe.epochs + 1):
            row = self._epoch(epoch, steps, watcher.step_done if watcher else _ignore)
            self.outcome.history.append(row)
            self._note_engine()
            if watcher:
                watcher.epoch_done(row)
            if epoch < self.recipe.epochs:
                self.keeper.save(self.outcome, learner=self.learner, optimizer=self.optimizer)
        return self.outcome

    def _epoch(self, epoch: int, steps: int, step_done: Callable[[], None]) -> Row:
        begun = time.perf_counter()
        self._set_rate(epoch, 0, steps)
        # Every epoch has its own random state, so that a resumed run draws what an uninterrupted one would have.
        torch.manual_seed((self.recipe.seed * 1_000_003 + epoch) * self.world.size + self.world.rank)
        losses, correct, guided = self._steps(epoch, steps, step_done)
        local_losses: list[float] = losses.tolist()
        if not all(map(math.isfinite, local_losses)):
            raise DivergedError(f"a loss is not finite in epoch {epoch}", "Lower the learning rate.")
        self.outcome.local_losses = local_losses
        rate = float(self.optimizer.param_groups[0]["lr"])
        row: Row = {"epoch": epoch, "lr": rate, "train_loss": self.outcome.local_losses[-1]}
        row["train_acc"] = 100 * correct.item() / self.images_per_epoch
        row |= self._test(epoch)
        row["global_share"] = guided / steps
        row["seconds"] = round(time.perf_counter() - begun, 4)
        self.outcome.seconds += row["seconds"] or 0.0
        return row

    def _steps(self, epoch: int, steps: int, step_done: Callable[[], None]) -> tuple[Tensor, Tensor, int]:
        """Take an epoch's steps; return mean losses by module, the number of correct images, and of global steps."""
        self.learner.train()
        recipe, count = self.recipe, self.images_per_epoch
        losses = torch.zeros(self.learner.modules_count, dtype=self.dtype, device=self.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        wanted = self.learner.restores_image
        batches = training_feed(recipe, self.split, epoch, pixels=wanted, dtype=self.dtype, world=self.world)
        prepare = self._preparation(epoch)
        guided_steps = 0
        for index, batch in enumerate(batches):
            guided = is_global(recipe.composition.phases, (epoch - 1) * steps + index, recipe.epochs * steps)
            guided_steps += guided
            if recipe.rate == "cosine-step":
                self._set_rate(epoch, index, steps)
            whole = min(recipe.batch_size, count - index * recipe.batch_size)
            outcome = self.engine.step(*prepare(batch), guided=guided, whole=whole)
            losses += outcome.losses * len(batch.labels)
            correct += (outcome.logits.argmax(dim=1) == batch.labels).sum()
            step_done()
        self.world.sum(losses, correct)
        self.world.average_buffers(self.learner)
        return losses / count, correct, guided_steps

    def _preparation(self, epoch: int) -> Callable[[Batch], tuple[Batch, Targets]]:
        """Return what is done to the batches of an epoch before a step: their targets are made, or they are mixed."""
        if not self.recipe.mixup:
            return lambda batch: (batch, Targets(batch.labels, batch.pixels))
        from locbench.training.mixup import Mixer

        return Mixer(self.split.info.classes, self.recipe.seed * 1_000_003 + epoch)

    def _set_rate(self, epoch: int, index: int, steps: int) -> None:
        recipe = self.recipe
        by_step = recipe.rate == "cosine-step"
        rate = step_rate(recipe, (epoch - 1) * steps + index, steps) if by_step else learning_rate(recipe, epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _note_engine(self) -> None:
        """Tell in the outcome what has run: an engine may give up, and a resumed run go on with another."""
        seen = self.outcome.engine.split(", ") if len(self.outcome.history) > 1 else []
        if self.engine.name not in seen:
            self.outcome.engine = ", ".join([*seen, self.engine.name])

    def _test(self, epoch: int) -> Row:
        if epoch % self.recipe.test_every and epoch != self.recipe.epochs:
            return {"test_acc": None}
        batches = testing_feed(self.recipe, self.split, self.dtype, self.world)
        found = accuracy(self.learner.chain, batches, self.device, self.world)
        many = self.split.info.classes >= MANY_CLASSES or self.recipe.augmentation == "imagenet"
        row: Row = {"test_acc": found.top1}
        return row | {"test_top5": found.top5} if many else row

    def _resume(self) -> None:
        if not self.keeper.restore(self.outcome, self.device, learner=self.learner, optimizer=self.optimizer):
            self._start_afresh()


def _ignore() -> None:
    return None
