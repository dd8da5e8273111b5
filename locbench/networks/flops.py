"""Forward FLOPs of a module, counted on the meta device.

No memory is taken and nothing is computed. The convention is the one that reproduces AugLocal's
cost tables: one image, evaluation mode, one per multiply-accumulate of convolutions and linear
layers without biases, two per BatchNorm element, one per input element of adaptive pooling, nothing
for activations, additions and fixed pooling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn


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
    """Return a layer's multiply-accumulates and its other operations."""
    if isinstance(layer, nn.Conv2d):
        return y.numel() * layer.in_channels // layer.groups * prod(layer.kernel_size), 0
    if isinstance(layer, nn.ConvTranspose2d):
        return x.numel() * layer.out_channels // layer.groups * prod(layer.kernel_size), 0
    if isinstance(layer, nn.Linear):
        return y.numel() * layer.in_features, 0
    # Its two products; known by its name, as importing timm takes seconds.
    if type(layer).__name__ == "WindowAttention":
        return 2 * x.numel() * x.shape[-2], 0
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        return 0, 2 * y.numel()
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return 0, x.numel()
    return 0, 0
