"""The training of a detector, and its average precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from locbench.detection.batches import Sample, train_batches
from locbench.detection.dataset import DetectionSplit
from locbench.detection.detector import backbone_chain, build_detector, load_backbone
from locbench.detection.evaluation import average_precision, detections
from locbench.spec.recipe import Recipe
from locbench.training.events import EpochMetrics
from locbench.training.loop import TrainingRun
from locbench.training.optimizer import by_decay
from locbench.training.state import Keeper, Origin, Stateful

TESTED_AT_ONCE = 4
"""Validation images per batch."""


class DetectionRun(TrainingRun):
    """One recipe of a detector being trained.

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
        split: DetectionSplit,
        backbone: Path,
        checkpoint: Path | None = None,
        device: torch.device = torch.device("cpu"),
        origin: Origin = Origin(),
    ) -> None:
        self.split, self.backbone = split, backbone
        keeper = Keeper(checkpoint, recipe.key, split.fingerprint, origin)
        super().__init__(recipe, len(split.train), device, keeper)

    def _build(self) -> dict[str, int]:
        recipe = self.recipe
        assert recipe.backbone is not None
        torch.manual_seed(recipe.seed)
        chain = backbone_chain(recipe.backbone)
        load_backbone(chain, recipe.network, self.backbone)
        self.detector: nn.Module = build_detector(recipe, chain, self.split.info.classes).to(
            self.device
        )
        self.optimizer = make_detector_optimizer(self.detector, recipe)
        return {"primary": sum(each.numel() for each in self.detector.parameters()), "auxiliary": 0}

    @property
    def trained(self) -> nn.Module:
        """The detector."""
        return self.detector

    def _parts(self) -> dict[str, Stateful]:
        return {"detector": self.detector, "optimizer": self.optimizer}

    def _steps(
        self, epoch: int, steps: int, step_done: Callable[[], None]
    ) -> tuple[list[float], EpochMetrics]:
        recipe = self.recipe
        assert recipe.detection is not None
        self.detector.train()
        total = torch.zeros((), device=self.device)
        flip, drop_last = recipe.detection.flip, recipe.drop_last
        batches = train_batches(
            self.split.train,
            recipe.batch_size,
            seed=recipe.seed,
            epoch=epoch,
            flip=flip,
            drop_last=drop_last,
            pinned=self.device.type == "cuda",
        )
        for index, samples in enumerate(batches, (epoch - 1) * steps):
            self._set_rate(index, steps)
            total += self._step(samples) * len(samples)
            step_done()
        return [float(total / self.images_per_epoch)], {}

    def _step(self, samples: list[Sample]) -> Tensor:
        images = [
            each.image.to(self.device, non_blocking=True).float().div_(255) for each in samples
        ]
        targets = [
            {name: part.to(self.device, non_blocking=True) for name, part in each.target.items()}
            for each in samples
        ]
        self.optimizer.zero_grad(set_to_none=True)
        loss: Tensor = sum(self.detector(images, targets).values())
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.detector.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        return loss.detach()

    def _evaluate(self) -> EpochMetrics:
        found = detections(self.detector, self.split.test, TESTED_AT_ONCE, self.device)
        return dict(average_precision(self.split.test, found))

    def metrics(self) -> dict[str, float]:
        """Return average precisions after the last epoch in percent, and the training loss."""
        return {
            name: value
            for name, value in self.state.history[-1].items()
            if value is not None and (name.startswith(("box_", "mask_")) or name == "train_loss")
        }


def make_detector_optimizer(detector: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer over a detector.

    Layers that are not trained have no gradients and are passed over.
    """
    groups = by_decay(detector, recipe.weight_decay)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(
            groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, fused=True
        )
    return torch.optim.SGD(
        groups,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov and recipe.momentum > 0,
        fused=True,
    )
