"""Forward FLOPs of a module, counted on the meta device: no memory is taken and nothing is computed.

The convention is the one that reproduces AugLocal's cost tables: one image, evaluation mode, one per
multiply-accumulate of convolutions and linear layers without biases, two per BatchNorm element, one per input element
of adaptive pooling, nothing for activations, additions and fixed pooling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn

from locbench.costs.parameters import meta_learner, plain
from locbench.learning.auxiliary.branch import Classifier
from locbench.learning.learner import Auxiliary, Learner
from locbench.recipe import Recipe


@dataclass
class Flops:
    """Forward operations of one image.

    Attributes:
        macs: multiply-accumulates of convolutions and linear layers.
        flops: macs and what BatchNorm and adaptive pooling add.
    """

    macs: int = 0
    flops: int = 0

    def __add__(self, other: Flops) -> Flops:
        """Add operation by operation."""
        return Flops(self.macs + other.macs, self.flops + other.flops)


@dataclass
class RecipeFlops:
    """Forward operations of one image, by what runs.

    Attributes:
        network: the network with its classifier.
        heads: auxiliary nets that classify.
        extra: other auxiliary branches, such as InfoPro's decoder and PredSim's similarity convolution; they run in
            training alone, and the published FLOPs leave them out (AugLocal, Table 7).
    """

    network: Flops = field(default_factory=Flops)
    heads: Flops = field(default_factory=Flops)
    extra: Flops = field(default_factory=Flops)


def recipe_flops(recipe: Recipe) -> Flops:
    """Return the FLOPs that AugLocal's Tables 7 and 11 print: the network and the classifying auxiliary nets."""
    parts = flops_by_part(recipe)
    return parts.network + parts.heads


def flops_by_part(recipe: Recipe, side: int | None = None) -> RecipeFlops:
    """Return the forward operations of one image by part; the schedule decides none.

    Args:
        recipe: network and method.
        side: of the image in pixels; None takes the data set's.
    """
    return _by_part(plain(recipe), side or recipe.side)


@lru_cache(maxsize=1024)
def _by_part(recipe: Recipe, side: int) -> RecipeFlops:
    learner = meta_learner(recipe, side)
    parts = RecipeFlops(forward_flops(lambda: learner.chain, (3, side, side)))
    seen: dict[tuple[str, tuple[int, ...]], Flops] = {}  # most auxiliary nets are alike
    for net, shape, times, classifies in _auxiliary_nets(learner):
        once = seen.get((repr(net), shape)) or forward_flops(lambda net=net: net, shape)  # type: ignore[misc]
        seen[repr(net), shape] = once
        whole = Flops(once.macs * times, once.flops * times)
        if classifies:
            parts.heads += whole
        else:
            parts.extra += whole
    return parts


def _auxiliary_nets(learner: Learner) -> Iterator[tuple[nn.Module, tuple[int, int, int], int, bool]]:
    """Yield each auxiliary net, the shape it sees, how many patches of that shape, and whether it classifies."""
    n = learner.composition.patches.n if learner.composition.patches else 1
    for index, auxiliary in [*learner.independents.items(), *learner.cascades.items()]:
        spec = learner.chain.specs[learner.partition.ends[int(index)]]
        for branch in cast(Auxiliary, auxiliary).branches:
            net = cast(nn.Module, getattr(branch, "branch", branch))  # what patch fusion wraps
            decoders = getattr(net, "decoders", None)  # one per quadrant
            for part in cast(nn.ModuleList, decoders or [net]):
                side = spec.side // (2 if decoders else n)
                yield part, (spec.channels, side, side), n * n, isinstance(net, Classifier)


def forward_flops(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> Flops:
    """Count one forward pass.

    Args:
        build: makes the module; called under the meta device.
        shape: of one input without the batch dimension.
    """
    with torch.device("meta"):
        module = build().eval()
        image = torch.empty(1, *shape)
    counted = Flops()

    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        macs, other = _operations(layer, inputs[0], output)
        counted.macs += macs
        counted.flops += macs + other

    for layer in module.modules():
        layer.register_forward_hook(hook)
    with torch.no_grad():
        module(image)
    return counted


def _operations(layer: nn.Module, x: Tensor, y: Tensor) -> tuple[int, int]:
    if isinstance(layer, nn.Conv2d):
        return y.numel() * layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1], 0
    if isinstance(layer, nn.ConvTranspose2d):
        return x.numel() * layer.out_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1], 0
    if isinstance(layer, nn.Linear):
        return y.numel() * layer.in_features, 0
    if type(layer).__name__ == "WindowAttention":  # its two products; by name, as importing timm takes seconds
        return 2 * x.numel() * x.shape[-2], 0
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        return 0, 2 * y.numel()
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return 0, x.numel()
    return 0, 0
