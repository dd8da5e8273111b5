"""RegNetX-400MF for small images (Radosavovic et al. 2020).

The layout is the one common for CIFAR-10; AugLocal's 23 layers fit it. It differs from the paper's
in its stem (64 channels, no stride) and in the strides of the first two stages.
"""

from __future__ import annotations

from functools import cache, partial

from torch import Tensor, nn

from locbench.networks.chain import Chain, ChainBuilder, Clone
from locbench.networks.layers import conv_bn_relu, pooled_classifier, projection

STAGES = ((32, 1, 1), (64, 2, 1), (160, 7, 2), (384, 12, 2))
"""Channels, number of blocks and stride of the first block."""

STEM, GROUP_WIDTH = 64, 16


class XBlock(nn.Module):
    """1x1 convolution, 3x3 convolution in groups, 1x1 convolution, plus shortcut, then ReLU.

    Args:
        inputs: input channels.
        outputs: output channels, a multiple of a group's; also those between the convolutions.
        stride: of the 3x3 convolution and the shortcut.
        group_width: channels per group, 16 as published.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int = 1, group_width: int = GROUP_WIDTH
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_bn_relu(inputs, outputs, 1),
            nn.Conv2d(outputs, outputs, 3, stride, 1, groups=outputs // group_width, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                projection(inputs, outputs, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map B x inputs x H x W to B x outputs x H/stride x W/stride."""
        out = self.body(x)
        out += self.shortcut(x)
        return self.relu(out)  # type: ignore[no-any-return]


@cache
def cloner(group_width: int) -> Clone:
    """Return what builds blocks of one kind; equal layers share it."""
    return partial(XBlock, group_width=group_width)


def build(classes: int, side: int, narrow: int = 1) -> Chain:
    """Return RegNetX-400MF as 23 local layers: stem and 22 blocks.

    Args:
        classes: number of classes.
        side: side of the input images in pixels.
        narrow: divides every width, a group's included; 1 as published.
    """
    layers, channels, clone = ChainBuilder(side), STEM // narrow, cloner(GROUP_WIDTH // narrow)
    layers.add(conv_bn_relu(3, channels), 1, channels, 0, clone)
    for stage, (published, depth, first) in enumerate(STAGES, 1):
        for stride in (first, *(1,) * (depth - 1)):
            layers.add_clone(clone, published // narrow, stride, stage)
    return layers.chain(pooled_classifier(layers.channels, classes), classes)


narrow = partial(build, narrow=4)
