"""Parameters of a recipe, counted on the meta device: nothing is allocated and nothing is drawn."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import torch

from locbench.data.catalogue import info
from locbench.learning.learner import Learner, build_chain
from locbench.learning.partition import partition_of
from locbench.recipe import Recipe


def meta_learner(recipe: Recipe, side: int | None = None) -> Learner:
    """Return the learner of a recipe without storage, for counting; nothing is drawn, and its layers are plain.

    Args:
        recipe: network and method.
        side: of the images in pixels; None takes the data set's.
    """
    data = info(recipe.dataset)
    with torch.device("meta"):
        chain = build_chain(recipe.network, data.classes, side or recipe.side)
        return Learner(chain, partition_of(recipe), recipe.composition)


def parameter_counts(recipe: Recipe) -> dict[str, int]:
    """Return the parameters of the network (``primary``) and of all auxiliary nets (``auxiliary``)."""
    return dict(_counts(plain(recipe)))


def plain(recipe: Recipe) -> Recipe:
    """Return a recipe without what decides neither parameters nor operations per image, the schedule above all.

    Cells that differ in it alone are counted once then.
    """
    return msgspec.structs.replace(recipe, method="", epochs=1, batch_size=1, lr=1.0, seed=0, memory="plain")


@lru_cache(maxsize=1024)
def _counts(recipe: Recipe) -> tuple[tuple[str, int], ...]:
    return tuple(meta_learner(recipe).parameter_counts().items())
