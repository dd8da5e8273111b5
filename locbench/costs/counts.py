"""Parameters and forward FLOPs of recipes, counted on the meta device.

No memory is taken and nothing is computed. The convention is the one that reproduces AugLocal's
cost tables: one image, evaluation mode, one per multiply-accumulate of convolutions and linear
layers without biases, two per BatchNorm element, one per input element of adaptive pooling, nothing
for activations, additions and fixed pooling.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

import msgspec
import torch
from torch import nn

from locbench.datasets.catalogue import info
from locbench.learning.auxiliary.branch import Classifier
from locbench.learning.learner import Learner
from locbench.learning.modules import Auxiliary
from locbench.networks.chain import build_chain
from locbench.networks.flops import Flops, forward_flops
from locbench.spec.components import Always
from locbench.spec.partition import partition_of
from locbench.spec.recipe import Recipe, without_schedule


@dataclass
class RecipeFlops:
    """Forward operations of one image, by what runs.

    Attributes:
        network: the network with its classifier.
        heads: auxiliary nets that classify.
        extra: other auxiliary branches, such as InfoPro's decoder and PredSim's similarity
            convolution; they run in training alone, and the published FLOPs leave them out
            (AugLocal, Table 7).
    """

    network: Flops = field(default_factory=Flops)
    heads: Flops = field(default_factory=Flops)
    extra: Flops = field(default_factory=Flops)


def recipe_flops(recipe: Recipe) -> Flops:
    """Return the FLOPs that AugLocal's Tables 7 and 11 print.

    They are those of the network and of the classifying auxiliary nets.
    """
    parts = flops_by_part(recipe)
    return parts.network + parts.heads


def flops_by_part(recipe: Recipe, side: int | None = None) -> RecipeFlops:
    """Return the forward operations of one image by part; the schedule decides none.

    Args:
        recipe: network and method.
        side: of the image in pixels; None takes the data set's.
    """
    return _by_part(countable(recipe), side or recipe.side)


@lru_cache(maxsize=1024)
def _by_part(recipe: Recipe, side: int) -> RecipeFlops:
    learner = meta_learner(recipe, side)
    parts = RecipeFlops(forward_flops(lambda: learner.chain, (3, side, side)))
    seen: dict[tuple[str, tuple[int, ...]], Flops] = {}  # most auxiliary nets are alike
    for net, shape, times, classifies in _auxiliary_nets(learner):
        once = seen.get((repr(net), shape)) or forward_flops(lambda net=net: net, shape)  # type: ignore[misc]
        seen[repr(net), shape] = once
        total = Flops(once.macs * times, once.flops * times)
        if classifies:
            parts.heads += total
        else:
            parts.extra += total
    return parts


def _auxiliary_nets(
    learner: Learner,
) -> Iterator[tuple[nn.Module, tuple[int, int, int], int, bool]]:
    """Yield each auxiliary net, the shape and the number of its inputs, and if it classifies."""
    n = learner.composition.patches.n if learner.composition.patches else 1
    for index, auxiliary in [*learner.independents.items(), *learner.cascades.items()]:
        spec = learner.chain.specs[learner.partition.ends[int(index)]]
        for branch in cast(Auxiliary, auxiliary).branches:
            net = cast(nn.Module, getattr(branch, "branch", branch))  # what patch fusion wraps
            decoders = getattr(net, "decoders", None)  # one per quadrant
            for part in cast(nn.ModuleList, decoders or [net]):
                side = spec.side // (2 if decoders else n)
                yield part, (spec.channels, side, side), n * n, isinstance(net, Classifier)


def meta_learner(recipe: Recipe, side: int | None = None) -> Learner:
    """Return the learner of a recipe without storage, for counting.

    Nothing is drawn, and its layers are plain.

    Args:
        recipe: network and method.
        side: of the images in pixels; None takes the data set's.
    """
    data = info(recipe.dataset)
    with torch.device("meta"):
        chain = build_chain(recipe.network, data.classes, side or recipe.side)
        return Learner(chain, partition_of(recipe), recipe.composition)


def parameter_counts(recipe: Recipe) -> dict[str, int]:
    """Return the parameters of the network (primary) and of all auxiliary nets."""
    return dict(_counts(countable(recipe)))


def countable(recipe: Recipe) -> Recipe:
    """Return a recipe without what decides no count, so that alike cells are counted once."""
    composition = msgspec.structs.replace(recipe.composition, phases=Always())
    return without_schedule(recipe, batch_size=1, memory="plain", composition=composition)


@lru_cache(maxsize=1024)
def _counts(recipe: Recipe) -> tuple[tuple[str, int], ...]:
    return tuple(meta_learner(recipe).parameter_counts().items())
