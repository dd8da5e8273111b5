"""What decides a detector's numbers beside its schedule. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from locbench.data.coco.layout import PATTERN, SHAPES, holds_boxes
from locbench.errors import UsageError
from locbench.networks.catalogue import NETWORKS

if TYPE_CHECKING:
    from locbench.recipe import Recipe


class Detection(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """A Mask R-CNN (He et al. 2017) on a feature pyramid (Lin et al. 2017); the defaults are torchvision's.

    Attributes:
        short_side, long_side: images are scaled to this shorter side, or as far as the longer one allows, in pixels.
        flip: half of the training images are mirrored.
        trained_stages: so many stages of the backbone are trained, from the last; the others keep its weights. More
            than there are trains the stem too.
        norm: whether the backbone's BatchNorm is trained; a frozen one keeps statistics, scale and shift.
        levels: so many stages of the backbone, from the last, are maps of the pyramid; it pools one more from the last.
        anchor: side of the smallest anchor in pixels, on the finest map; it doubles from map to map.
        width: channels of the pyramid, of the proposal head and of the mask head.
        box_width: hidden units of the box head.
        candidates: anchors per map that the proposal net ranks highest and hands on; half as many in testing.
        proposals: regions per image that the heads learn from; the proposal net learns from half as many anchors.
        milestones, milestone_epochs: the rate falls to a tenth after so many of so many epochs; a run of another
            length falls at the same shares of it.
        warmup_steps: linear warm-up of the rate from a thousandth of it, within the first epoch.
    """

    short_side: int = 800
    long_side: int = 1333
    flip: bool = True
    trained_stages: int = 3
    norm: Literal["frozen", "trained"] = "frozen"
    levels: int = 4
    anchor: int = 32
    width: int = 256
    box_width: int = 1024
    candidates: int = 2000
    proposals: int = 512
    milestones: tuple[int, ...] = (8, 11)
    milestone_epochs: int = 12
    warmup_steps: int = 500


def refuse_unfit_detector(recipe: Recipe) -> None:
    """Refuse a data set of boxes without a detector, a detector without boxes, and what detectors do not have.

    Raises:
        UsageError: two settings do not fit.
    """
    if recipe.detection is None or recipe.backbone is None:
        _refuse_without(recipe)
        return
    if not holds_boxes(recipe.dataset):
        raise UsageError(
            f"{recipe.dataset!r} holds images in classes, and a detector learns from boxes and masks",
            f"Use coco, {PATTERN}, or {SHAPES}.",
        )
    if recipe.backbone.network != recipe.network or recipe.backbone.detection is not None:
        raise UsageError(
            f"the backbone is {recipe.backbone.network!r} and the detector's network {recipe.network!r}",
            "Set both to the same network; the backbone is itself no detector.",
        )
    for fault, remedy in _faults(recipe, recipe.detection):
        raise UsageError(fault, remedy)


def _refuse_without(recipe: Recipe) -> None:
    if recipe.detection is not None or recipe.backbone is not None:
        missing = "detection" if recipe.detection is None else "backbone"
        raise UsageError(f"a detector needs both detection and backbone, {missing} is missing", f"Set {missing} too.")
    if holds_boxes(recipe.dataset):
        raise UsageError(
            f"{recipe.dataset!r} holds boxes and masks for detectors, and this trains on images in classes",
            "Choose another data set (see: locbench data), or the table auglocal-coco.",
        )
    if recipe.rate == "steps":
        raise UsageError("the rate 'steps' is for detectors", "Use one of the cosines.")


def _faults(recipe: Recipe, detection: Detection) -> list[tuple[str, str]]:
    """Return what does not fit a detector, as pairs of message and remedy."""
    numbers = ("short_side", "levels", "anchor", "width", "box_width", "milestone_epochs")
    least = dict.fromkeys(numbers, 1) | {"candidates": 2, "proposals": 2, "long_side": detection.short_side}
    least |= {"trained_stages": 0, "warmup_steps": 0}
    found = [
        (f"detection.{name} is {getattr(detection, name)}", f"Set it to {low} or more.")
        for name, low in least.items()
        if getattr(detection, name) < low
    ]
    wrong = {
        "a detector's backbone is a convolutional network": NETWORKS[recipe.network].transformer is not None,
        "a detector is trained by backpropagation; the method of its backbone stands in its backbone's recipe": not (
            recipe.composition.end_to_end
        ),
        "lean memory is not for detectors": recipe.memory == "lean",
        "a detector is trained by one process": recipe.processes > 1,
        "mixup is not for detectors": recipe.mixup,
        "a detector's rate is 'steps'": recipe.rate != "steps",
    }
    return found + [(message, "Change that setting.") for message, is_so in wrong.items() if is_so]
