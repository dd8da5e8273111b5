"""Learning rates of epochs and steps."""

from __future__ import annotations

from math import cos, pi

from locbench.spec.recipe import Recipe


def rate_of_step(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate of a step.

    Args:
        recipe: of a classifier or a detector.
        step: number of steps taken before, over the whole run.
        steps: steps per epoch.
    """
    if recipe.detection is not None:
        return detector_rate(recipe, step, steps)
    if recipe.rate == "cosine-step":
        return step_rate(recipe, step, steps)
    return epoch_rate(recipe, step // steps + 1)


def epoch_rate(recipe: Recipe, epoch: int) -> float:
    """Return the rate of an epoch, 1-based: after a linear warm-up a cosine to exactly 0.

    c(e) = lr/2 * (1 + cos(pi e / E)); during W warm-up epochs c(e) * (e - 1)/W + warmup_lr * (W + 1
    - e)/W (InfoPro-Pytorch's schedule, W = 10 there). With the rate ``cosine-epoch0`` it is c(e -
    1): the first epoch has the full rate, the last one a little (the official ImageNet scripts of
    AugLocal and HPFF, W = 0 there).
    """
    done = epoch - 1 if recipe.rate == "cosine-epoch0" else epoch
    cosine = 0.5 * recipe.lr * (1 + cos(pi * done / recipe.epochs))
    warm = recipe.warmup_epochs
    if epoch > warm:
        return cosine
    return cosine * (epoch - 1) / warm + recipe.warmup_lr * (warm + 1 - epoch) / warm


def step_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the Swin pipeline's rate of a step: linear warm-up, then a cosine.

    After W warm-up steps of T the rate is min_lr + (lr - min_lr)/2 * (1 + cos(pi t / T)): the
    cosine counts all steps, as timm's scheduler does without ``warmup_prefix``.

    Args:
        recipe: its rates, multiplied by batch_size / 512 where ``lr_scaling`` is ``linear``.
        step: number of steps taken before.
        steps: steps per epoch.
    """
    scale = recipe.batch_size / 512 if recipe.lr_scaling == "linear" else 1.0
    lr, low, start = (scale * rate for rate in (recipe.lr, recipe.min_lr, recipe.warmup_lr))
    warm, total = recipe.warmup_epochs * steps, recipe.epochs * steps
    if step < warm:
        return start + (lr - start) * step / warm
    return low + 0.5 * (lr - low) * (1 + cos(pi * step / total))


FALL = 0.1
"""What a milestone multiplies the rate by."""

FIRST = 0.001
"""Share of the rate that the warm-up begins with, as in torchvision's reference training."""


def detector_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return a detector's rate of a step: linear warm-up, and a tenth after every milestone.

    The warm-up is within the first epoch. The milestones are epochs of a schedule of
    ``milestone_epochs``; a run of another length keeps their shares of it.

    Args:
        recipe: a detector's.
        step: number of steps taken before, over the whole run.
        steps: steps per epoch.
    """
    detection = recipe.detection
    assert detection is not None
    epoch = step // steps
    passed = sum(
        epoch * detection.milestone_epochs >= milestone * recipe.epochs
        for milestone in detection.milestones
    )
    warm = min(detection.warmup_steps, steps - 1)
    share = 1.0 if step >= warm else FIRST + (1 - FIRST) * step / warm
    return recipe.lr * share * FALL**passed
