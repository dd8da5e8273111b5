"""What decides a detector's numbers beside its schedule."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from locbench.spec.components import Count, Positive


class Detection(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True
):
    """A Mask R-CNN (He et al. 2017) on a feature pyramid, with torchvision's defaults.

    Attributes:
        short_side, long_side: images are scaled to this shorter side, or as far as the longer one
            allows, in pixels.
        flip: half of the training images are mirrored.
        trained_stages: so many stages of the backbone are trained, from the last; the others keep
            its weights. More than there are trains the stem too.
        norm: whether the backbone's BatchNorm is trained; a frozen one keeps statistics, scale and
            shift.
        levels: so many stages of the backbone, from the last, are maps of the pyramid; it pools one
            more from the last.
        anchor: side of the smallest anchor in pixels, on the finest map; it doubles from map to
            map.
        width: channels of the pyramid, of the proposal head and of the mask head.
        box_width: hidden units of the box head.
        candidates: anchors per map that the proposal net ranks highest and hands on; half as many
            in testing.
        proposals: regions per image that the heads learn from; the proposal net learns from half as
            many anchors.
        milestones, milestone_epochs: the rate falls to a tenth after so many of so many epochs; a
            run of another length falls at the same shares of it.
        warmup_steps: linear warm-up of the rate from a thousandth of it, within the first epoch.
    """

    short_side: Positive = 800
    long_side: Positive = 1333
    flip: bool = True
    trained_stages: Count = 3
    norm: Literal["frozen", "trained"] = "frozen"
    levels: Positive = 4
    anchor: Positive = 32
    width: Positive = 256
    box_width: Positive = 1024
    candidates: Annotated[int, msgspec.Meta(ge=2)] = 2000
    proposals: Annotated[int, msgspec.Meta(ge=2)] = 512
    milestones: tuple[int, ...] = (8, 11)
    milestone_epochs: Positive = 12
    warmup_steps: Count = 500
