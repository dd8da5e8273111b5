"""Parameters of a detector and an estimate of its time."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import nn
from torchvision.models.detection import MaskRCNN

from locbench.datasets.catalogue import info
from locbench.detection.detector import backbone_chain, build_detector
from locbench.networks.flops import forward_flops
from locbench.spec.recipe import Recipe, without_schedule

MOST_DETECTIONS = 100
"""Most objects that are looked for on a validation image, each with a mask."""
POSITIVE = 4
"""A quarter of the regions that the heads learn from are objects, with masks to learn."""


def detector_parameters(recipe: Recipe) -> dict[str, int]:
    """Return the parameters of a detector (``primary``), counted on the meta device.

    It has no auxiliary nets.
    """
    detector = _on_meta(without_schedule(recipe, batch_size=1))
    return {"primary": sum(each.numel() for each in detector.parameters()), "auxiliary": 0}


def detector_seconds(recipe: Recipe, macs_per_second: float) -> float:
    """Return the time of a detector's run by counted operations, roughly.

    A backward pass counts as two forward ones, every image as one of the shorter side by four
    thirds of it, and sorting and choosing among regions as nothing.
    """
    data, detection = info(recipe.dataset), recipe.detection
    assert detection is not None
    train = min(recipe.train_limit or data.train_size, data.train_size)
    test = min(recipe.test_limit or data.test_size, data.test_size)
    tests = -(-recipe.epochs // recipe.test_every)
    image, region, mask = _macs(without_schedule(recipe, batch_size=1))
    learning = image + detection.proposals * (region + mask // POSITIVE)
    finding = image + detection.candidates // 2 * region + MOST_DETECTIONS * mask
    return (3 * learning * train * recipe.epochs + finding * test * tests) / macs_per_second


@lru_cache(maxsize=64)
def _macs(recipe: Recipe) -> tuple[int, int, int]:
    """Return the operations of an image up to the proposals, of a region, and of a mask."""
    detection, detector = recipe.detection, _on_meta(recipe)
    assert detection is not None
    shape = (3, detection.short_side, min(detection.short_side * 4 // 3, detection.long_side))
    width = detection.width
    heads = detector.roi_heads
    box = forward_flops(lambda: nn.Sequential(heads.box_head, heads.box_predictor), (width, 7, 7))
    mask = forward_flops(
        lambda: nn.Sequential(heads.mask_head, heads.mask_predictor), (width, 14, 14)
    )
    return forward_flops(lambda: _Proposing(detector), shape).macs, box.macs, mask.macs


class _Proposing(nn.Module):
    def __init__(self, detector: MaskRCNN) -> None:
        super().__init__()
        self.backbone, self.head = detector.backbone, detector.rpn.head

    def forward(self, images: torch.Tensor) -> None:
        self.head(list(self.backbone(images).values()))


@lru_cache(maxsize=8)
def _on_meta(recipe: Recipe) -> MaskRCNN:
    assert recipe.backbone is not None
    with torch.device("meta"):
        return build_detector(recipe, backbone_chain(recipe.backbone), info(recipe.dataset).classes)
