"""A network as a chain: local layers in order, then a classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Copy = Callable[[int, int, int], nn.Module]
"""(input channels, output channels, stride) -> a fresh layer of the same kind."""


@dataclass(frozen=True)
class LayerSpec:
    """What an auxiliary net may know of a local layer.

    Attributes:
        channels: output channels.
        side: side of the output map in pixels.
        stage: residual stage, 0 for the stem.
        copy: builds a layer of the same architecture with fresh weights; for the stem, a residual block.
    """

    channels: int
    side: int
    stage: int
    copy: Copy


class Chain(nn.Module):
    """Local layers f^1 ... f^L and a classifier.

    Args:
        units: the local layers; running them in order and then ``head`` is the network.
        head: from the last layer's output, B x C x H x W, to class scores, B x classes.
        specs: one `LayerSpec` per unit.
        classes: number of classes.
        side: side of the input image in pixels.
    """

    def __init__(
        self, units: list[nn.Module], head: nn.Module, specs: list[LayerSpec], classes: int, side: int
    ) -> None:
        super().__init__()
        if len(units) != len(specs):
            raise ValueError(f"{len(units)} units but {len(specs)} specs")
        self.units = nn.ModuleList(units)
        self.head = head
        self.specs = tuple(specs)
        self.classes = classes
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """Map images, B x 3 x H x W, to class scores, B x classes."""
        x = images
        for unit in self.units:
            x = unit(x)
        return self.head(x)  # type: ignore[no-any-return]


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """Draw convolution weights from N(0, 2 / (k * k * output channels)), set BatchNorm2d to 1 and 0 (He fan-out).

    Linear layers, BatchNorm1d and convolution biases keep PyTorch's defaults, as in InfoPro-Pytorch.
    """
    for each in module.modules():
        if isinstance(each, nn.Conv2d):
            fan_out = each.kernel_size[0] * each.kernel_size[1] * each.out_channels
            each.weight.normal_(0, (2 / fan_out) ** 0.5)
        elif isinstance(each, nn.BatchNorm2d):
            nn.init.ones_(each.weight)
            nn.init.zeros_(each.bias)
