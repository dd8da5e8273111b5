"""Forward FLOPs of a module, counted on the meta device.

No memory is taken and nothing is computed. The convention is the one that reproduces AugLocal's
cost tables: one image, evaluation mode, one per multiply-accumulate of convolutions and linear
layers without biases and of products of activations, as in attention, two per BatchNorm element,
one per input element of adaptive pooling, nothing for activations, additions and fixed pooling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@dataclass
class Flops:
    """Forward operations of one image.

    Attributes:
        macs: multiply-accumulates of convolutions, linear layers and products of activations.
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
    products = _Products()
    with torch.no_grad(), products:
        module(image)
    return counted + Flops(products.macs, products.macs)


class _Products(TorchFunctionMode):
    """Counts products of activations, which no layer stands for.

    Attributes:
        macs: their multiply-accumulates.
    """

    macs = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _MATMUL:
            self.macs += result.numel() * args[0].shape[-1]
        elif func is F.scaled_dot_product_attention:
            query, key = args[:2]
            self.macs += (
                (query.shape[-1] + result.shape[-1]) * query[..., 0].numel() * key.shape[-2]
            )
        return result


_MATMUL = (torch.matmul, torch.bmm, Tensor.matmul, Tensor.__matmul__, Tensor.bmm)


def _operations(layer: nn.Module, x: Tensor, y: Tensor) -> tuple[int, int]:
    """Return a layer's multiply-accumulates and its other operations."""
    if isinstance(layer, nn.Conv2d):
        return y.numel() * layer.in_channels // layer.groups * prod(layer.kernel_size), 0
    if isinstance(layer, nn.ConvTranspose2d):
        return x.numel() * layer.out_channels // layer.groups * prod(layer.kernel_size), 0
    if isinstance(layer, nn.Linear):
        return y.numel() * layer.in_features, 0
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        return 0, 2 * y.numel()
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return 0, x.numel()
    return 0, 0
