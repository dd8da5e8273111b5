"""The learning rate of a detector's step. Imports no torch."""

from __future__ import annotations

from locbench.recipe import Recipe

FALL = 0.1
FIRST = 0.001
"""Share of the rate that the warm-up begins with, as in torchvision's reference training."""


def detector_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the rate of a step: linear warm-up within the first epoch, then a tenth after every milestone.

    The milestones are epochs of a schedule of ``milestone_epochs``; a run of another length keeps their shares of it.

    Args:
        recipe: a detector's.
        step: number of steps taken before, over the whole run.
        steps: steps per epoch.
    """
    detection = recipe.detection
    assert detection is not None
    epoch = step // steps
    fallen = sum(epoch * detection.milestone_epochs >= each * recipe.epochs for each in detection.milestones)
    warm = min(detection.warmup_steps, steps - 1)
    share = 1.0 if step >= warm else FIRST + (1 - FIRST) * step / warm
    return recipe.lr * share * FALL**fallen
