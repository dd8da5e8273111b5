"""MobileNetV2 for small images (Sandler et al. 2018).

The layout is the one common for CIFAR-10; AugLocal's 19 layers fit it. It differs from the paper's
in strides (the stem and the second row of Table 2 have none), in plain ReLU, and in a projected
shortcut where a block of stride 1 changes the width.
"""

from __future__ import annotations

from functools import cache, partial

from torch import Tensor, nn

from locbench.networks.chain import Chain, ChainBuilder, Clone
from locbench.networks.layers import conv_bn_relu, pooled_classifier, projection

ROWS = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, output channels, number of blocks and stride of the first block (Sandler et al. 2018,
Table 2).
"""

STEM, TAIL = 32, 1280


class InvertedResidual(nn.Module):
    """Inverted bottleneck with a linear end and, where the stride is 1, a shortcut.

    1x1 convolution that widens, depthwise 3x3 convolution, 1x1 convolution.

    Args:
        inputs: input channels.
        outputs: output channels.
        stride: of the depthwise convolution.
        expansion: channels of the depthwise convolution for each input channel.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = expansion * inputs
        self.body = nn.Sequential(
            *conv_bn_relu(inputs, wide, 1),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module | None = nn.Identity() if stride == 1 else None
        if stride == 1 and inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map B x inputs x H x W to B x outputs x H/stride x W/stride."""
        out: Tensor = self.body(x)
        if self.shortcut is not None:
            out += self.shortcut(x)
        return out


def pointwise(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a 1x1 convolution with BatchNorm and ReLU, the last local layer."""
    return nn.Sequential(
        projection(inputs, outputs, stride), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


@cache
def cloner(expansion: int) -> Clone:
    """Return what builds blocks of one expansion; equal layers share it."""
    return partial(InvertedResidual, expansion=expansion)


def build(classes: int, side: int, narrow: int = 1) -> Chain:
    """Return MobileNetV2 as 19 local layers: stem, 17 blocks and a last 1x1 convolution.

    Args:
        classes: number of classes.
        side: side of the input images in pixels.
        narrow: divides every width; 1 as published.
    """
    layers, channels, tail = ChainBuilder(side), STEM // narrow, TAIL // narrow
    layers.add(conv_bn_relu(3, channels), 1, channels, 0, cloner(ROWS[0][0]))
    for stage, (expansion, published, depth, first) in enumerate(ROWS, 1):
        for stride in (first, *(1,) * (depth - 1)):
            layers.add_clone(cloner(expansion), published // narrow, stride, stage)
    layers.add_clone(pointwise, tail, 1, len(ROWS) + 1)
    return layers.chain(pooled_classifier(tail, classes), classes)


narrow = partial(build, narrow=4)
