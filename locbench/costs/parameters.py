"""Parameters of a recipe, counted on the meta device: nothing is allocated and nothing is drawn."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import torch

from locbench.data.catalogue import info
from locbench.learning.learner import Learner, build_learner
from locbench.recipe import Recipe


def meta_learner(recipe: Recipe) -> Learner:
    """Return the learner of a recipe without storage, for counting."""
    data = info(recipe.dataset)
    with torch.device("meta"):
        return build_learner(recipe, data.classes, data.side)


def parameter_counts(recipe: Recipe) -> dict[str, int]:
    """Return the parameters of the network (``primary``) and of all auxiliary nets (``auxiliary``)."""
    # The schedule decides no parameter, so that cells which differ in it alone are counted once.
    plain = msgspec.structs.replace(recipe, method="", epochs=1, batch_size=1, lr=1.0, seed=0)
    return dict(_counts(plain))


@lru_cache(maxsize=1024)
def _counts(recipe: Recipe) -> tuple[tuple[str, int], ...]:
    return tuple(meta_learner(recipe).parameter_counts().items())
