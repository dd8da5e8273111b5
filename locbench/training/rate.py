"""The learning rate of an epoch. Imports no torch."""

from __future__ import annotations

from math import cos, pi

from locbench.recipe import Recipe


def learning_rate(recipe: Recipe, epoch: int) -> float:
    """Return the rate of an epoch, 1-based: cosine to exactly 0 in the last one, after a linear warm-up.

    c(e) = lr/2 * (1 + cos(pi e / E)); during W warm-up epochs c(e) * (e - 1)/W + warmup_lr * (W + 1 - e)/W
    (InfoPro-Pytorch's schedule, W = 10 there).
    """
    cosine = 0.5 * recipe.lr * (1 + cos(pi * epoch / recipe.epochs))
    warm = recipe.warmup_epochs
    if epoch > warm:
        return cosine
    return cosine * (epoch - 1) / warm + recipe.warmup_lr * (warm + 1 - epoch) / warm
