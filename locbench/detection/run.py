"""One detector being trained: epochs of steps, and average precision where it is asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from locbench.data.batches import steps_per_epoch
from locbench.detection.dataset import SceneSplit
from locbench.detection.detector import backbone_chain, build_detector, load_backbone
from locbench.detection.evaluation import average_precision, detections
from locbench.detection.loader import Sample, training_samples
from locbench.errors import DivergedError
from locbench.spec.recipe import Recipe, images_per_epoch
from locbench.training.device import set_precision
from locbench.training.lr_schedule import detector_rate
from locbench.training.optimizer import by_decay
from locbench.training.state import Keeper, Origin, Outcome, Row, Watcher

TESTED_AT_ONCE = 4
"""Validation images per batch."""


class DetectionRun:
    """One recipe of a detector being trained, as `training.loop.Run` trains a classifier.

    Args:
        recipe: what to train.
        split: the images and what is on them.
        backbone: file of the backbone's weights.
        checkpoint: where the state is kept between epochs; None keeps none.
        device: where to train.
        origin: the code that trains, and what is recorded already.

    Raises:
        FailureError: the file holds no weights of this backbone.
    """

    def __init__(
        self,
        recipe: Recipe,
        split: SceneSplit,
        backbone: Path,
        checkpoint: Path | None = None,
        device: torch.device = torch.device("cpu"),
        origin: Origin = Origin(),
    ) -> None:
        self.recipe, self.split, self.backbone, self.device = recipe, split, backbone, device
        set_precision(recipe.precision, device)
        self.detector, self.optimizer = self._fresh()
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        counts = {"primary": sum(each.numel() for each in self.detector.parameters()), "auxiliary": 0}
        self.outcome = Outcome(parameters=counts, started=started)
        self.keeper = Keeper(checkpoint, recipe.key, split.fingerprint, origin)
        self.keeper.begun(self.outcome)

    def _fresh(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        recipe = self.recipe
        assert recipe.backbone is not None
        torch.manual_seed(recipe.seed)
        chain = backbone_chain(recipe.backbone)
        load_backbone(chain, recipe.network, self.backbone)
        detector: nn.Module = build_detector(recipe, chain, self.split.info.classes).to(self.device)
        return detector, make_detector_optimizer(detector, recipe)

    def train(self, watcher: Watcher | None = None) -> Outcome:
        """Train to the end, from the checkpoint if there is one.

        Raises:
            DivergedError: the loss is no longer finite.
            FailureError: an image cannot be decoded.
        """
        self._resume()
        steps = steps_per_epoch(len(self.split.train), self.recipe.batch_size, self.recipe.drop_last)
        if watcher:
            watcher.run_started(self.recipe.epochs, steps, len(self.outcome.history))
        for epoch in range(len(self.outcome.history) + 1, self.recipe.epochs + 1):
            row = self._epoch(epoch, steps, watcher.step_done if watcher else _ignore)
            self.outcome.history.append(row)
            if watcher:
                watcher.epoch_done(row)
            if epoch < self.recipe.epochs:
                self.keeper.save(self.outcome, detector=self.detector, optimizer=self.optimizer)
        return self.outcome

    def _epoch(self, epoch: int, steps: int, step_done: Callable[[], None]) -> Row:
        begun = time.perf_counter()
        # Every epoch has its own random state, so that a resumed run draws what an uninterrupted one would have.
        torch.manual_seed(self.recipe.seed * 1_000_003 + epoch)
        loss = float(self._steps(epoch, steps, step_done))
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is not finite in epoch {epoch}", "Lower the learning rate.")
        self.outcome.local_losses = [loss]
        row: Row = {"epoch": epoch, "lr": float(self.optimizer.param_groups[0]["lr"]), "train_loss": loss}
        row |= self._test(epoch)
        row["seconds"] = round(time.perf_counter() - begun, 4)
        self.outcome.seconds += row["seconds"] or 0.0
        return row

    def _steps(self, epoch: int, steps: int, step_done: Callable[[], None]) -> Tensor:
        """Take an epoch's steps; return the mean loss over images."""
        recipe, scenes = self.recipe, self.split.train
        assert recipe.detection is not None
        self.detector.train()
        total = torch.zeros((), device=self.device)
        flip, drop_last = recipe.detection.flip, recipe.drop_last
        batches = training_samples(
            scenes, recipe.batch_size, seed=recipe.seed, epoch=epoch, flip=flip, drop_last=drop_last
        )
        for index, samples in enumerate(batches):
            rate = detector_rate(recipe, (epoch - 1) * steps + index, steps)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            total += self._step(samples) * len(samples)
            step_done()
        return total / images_per_epoch(len(scenes), recipe.batch_size, recipe.drop_last)

    def _step(self, samples: list[Sample]) -> Tensor:
        images = [each.image.to(self.device, non_blocking=True).float().div_(255) for each in samples]
        targets = [
            {name: part.to(self.device, non_blocking=True) for name, part in each.target.items()} for each in samples
        ]
        self.optimizer.zero_grad(set_to_none=True)
        loss: Tensor = sum(self.detector(images, targets).values())
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.detector.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        return loss.detach()

    def _test(self, epoch: int) -> Row:
        # Reports and progress ask every row for a classifier's accuracy.
        row: Row = {"test_acc": None}
        if epoch % self.recipe.test_every and epoch != self.recipe.epochs:
            return row
        found = detections(self.detector, self.split.test, TESTED_AT_ONCE, self.device)
        return row | average_precision(self.split.test, found)

    def _resume(self) -> None:
        if not self.keeper.restore(self.outcome, self.device, detector=self.detector, optimizer=self.optimizer):
            self.detector, self.optimizer = self._fresh()


def make_detector_optimizer(detector: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer over a detector; layers that are not trained have no gradients and are passed over."""
    groups = by_decay(detector, recipe.weight_decay)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, fused=True)
    return torch.optim.SGD(
        groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov and recipe.momentum > 0, fused=True
    )


def detection_metrics(outcome: Outcome) -> dict[str, float]:
    """Return a finished run's numbers: average precisions after the last epoch in percent, and the training loss."""
    last = outcome.history[-1]
    kept = {name: value for name, value in last.items() if name.startswith(("box_", "mask_")) or name == "train_loss"}
    return {name: value for name, value in kept.items() if value is not None}


def _ignore() -> None:
    return None
