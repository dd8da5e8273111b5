"""Refusal of batches that leave a process a single image.

Some auxiliary nets cannot train on it.
"""

from __future__ import annotations

import torch

from locbench.errors import UsageError
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import build_learner
from locbench.spec.components import Periodic
from locbench.spec.recipe import Recipe, images_per_epoch

_NORMS_WORDS = "more than 1 value per channel"
"""What PyTorch's BatchNorm says where there is nothing to take a variance of."""


def least_share(recipe: Recipe, images: int) -> int:
    """Return how many images a process sees at once at least, of so many in the training set."""
    count = images_per_epoch(
        min(images, recipe.train_limit or images), recipe.batch_size, recipe.drop_last
    )
    return min(recipe.batch_size, count % recipe.batch_size or count) // recipe.processes


def refuse_lone_image(recipe: Recipe, images: int, classes: int) -> None:
    """Refuse epochs that end with one image in a process, if the method cannot train on it.

    A step on one drawn image tells: what a BatchNorm behind a pooling sees depends on the method
    and the sizes.

    Args:
        recipe: a classifier's.
        images: of the training set.
        classes: of the data set.

    Raises:
        UsageError: the last batch has one image, or one for each process, and BatchNorm refuses it.
    """
    if least_share(recipe, images) != 1:
        return
    with torch.random.fork_rng(devices=[]):
        learner = build_learner(recipe, classes, recipe.side).train()
        image = torch.rand(1, 3, recipe.side, recipe.side)
        targets = Targets(torch.zeros(1, dtype=torch.int64), image)
        try:
            learner.step(image, targets)
            if isinstance(recipe.composition.phases, Periodic):
                learner.step(image, targets, guided=True)
        except ValueError as error:
            if _NORMS_WORDS not in str(error):
                raise
            where = (
                "one image"
                if recipe.processes == 1
                else f"one image for one of {recipe.processes} processes"
            )
            raise UsageError(
                f"the last batch of an epoch has {where}, and the BatchNorms of {recipe.method} "
                "need two",
                "Choose another --limit or batch size, or leave incomplete batches out: "
                "locbench run --recipe drop_last=true",
            ) from None
