"""ResNets and ResNeXts for ImageNet (He et al. 2016; Xie et al. 2017).

The blocks are torchvision's. The stem with its max-pooling is one local layer, every block another.
"""

from __future__ import annotations

from functools import cache, partial

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from locbench.networks.chain import Chain, ChainBuilder, Clone
from locbench.networks.layers import conv_bn_relu, pooled_classifier, projection

STEM = 64
WIDTHS = (64, 128, 256, 512)


def block(
    inputs: int,
    outputs: int,
    stride: int = 1,
    *,
    bottleneck: bool,
    groups: int = 1,
    group_width: int = 64,
) -> nn.Module:
    """Return a residual block, its shortcut projected where the shape changes.

    Args:
        inputs: input channels.
        outputs: output channels, four times the base width for a bottleneck.
        stride: of the first 3x3 convolution and the shortcut.
        bottleneck: 1x1, 3x3 and 1x1 convolutions rather than two of 3x3.
        groups: of a bottleneck's 3x3 convolution.
        group_width: channels per group where the base width is 64.
    """
    kind = Bottleneck if bottleneck else BasicBlock
    shortcut: nn.Module | None = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(projection(inputs, outputs, stride), nn.BatchNorm2d(outputs))
    layer: nn.Module = kind(
        inputs, outputs // kind.expansion, stride, shortcut, groups, group_width
    )
    return layer


@cache
def cloner(bottleneck: bool, groups: int = 1, group_width: int = 64) -> Clone:
    """Return what builds blocks of one kind; equal layers share it."""
    return partial(block, bottleneck=bottleneck, groups=groups, group_width=group_width)


def build(
    clone: Clone, expansion: int, depths: tuple[int, ...], classes: int, side: int, narrow: int = 1
) -> Chain:
    """Return a ResNet with one local layer for the stem and one for each block.

    Args:
        clone: builds a block.
        expansion: output channels of a block for each channel of its base width.
        depths: blocks per stage.
        classes: number of classes.
        side: side of the input images in pixels, 224 as published.
        narrow: divides every width; 1 as published.
    """
    layers, channels = ChainBuilder(side), STEM // narrow
    stem = nn.Sequential(*conv_bn_relu(3, channels, 7, 2), nn.MaxPool2d(3, 2, 1))
    layers.add(stem, 4, channels, 0, clone)
    for stage, (published, depth) in enumerate(zip(WIDTHS, depths, strict=True), 1):
        width = published // narrow
        for index in range(depth):
            stride = 2 if stage > 1 and index == 0 else 1
            layers.add_clone(clone, width * expansion, stride, stage, width=width)
    return layers.chain(pooled_classifier(layers.channels, classes), classes)


resnet34 = partial(build, cloner(bottleneck=False), 1, (3, 4, 6, 3))
resnet101 = partial(build, cloner(bottleneck=True), 4, (3, 4, 23, 3))
resnet152 = partial(build, cloner(bottleneck=True), 4, (3, 8, 36, 3))
resnext101_32x8d = partial(
    build, cloner(bottleneck=True, groups=32, group_width=8), 4, (3, 4, 23, 3)
)

resnet34_narrow = partial(resnet34, narrow=8)
resnet101_narrow = partial(resnet101, narrow=8)
resnet152_narrow = partial(resnet152, narrow=8)
resnext101_32x8d_narrow = partial(resnext101_32x8d, narrow=8)
