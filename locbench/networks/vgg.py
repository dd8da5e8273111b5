"""VGG networks with BatchNorm (Simonyan & Zisserman 2014).

Every convolution is a local layer. Max-pooling belongs to the beginning of the layer after it (DGL
and AugLocal), so an auxiliary net sees the map before; the last pooling belongs to the classifier.
Odd sides are rounded up, so that images of any size pass.

AugLocal's nets pool before a copied convolution wherever the width changes: once, however large the
change.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from locbench.networks.chain import Chain, ChainBuilder, ClassifierBuilder
from locbench.networks.layers import pooled_classifier

WIDTHS = (64, 128, 256, 512, 512)
HIDDEN = 4096
"""Units of the two hidden layers of VGG13's classifier."""


def layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return convolution, BatchNorm and ReLU; with stride 2, max-pooling before them.

    Args:
        inputs: input channels.
        outputs: output channels.
        stride: 1 or 2.
    """
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    return nn.Sequential(*_pooling(stride), conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _pooling(stride: int) -> list[nn.Module]:
    return [nn.MaxPool2d(2, ceil_mode=True)] if stride == 2 else []


def _layers(
    depths: tuple[int, ...], side: int, narrow: int, classifier: ClassifierBuilder | None = None
) -> ChainBuilder:
    layers = ChainBuilder(side)
    for stage, (published, depth) in enumerate(zip(WIDTHS, depths, strict=True), 1):
        for index in range(depth):
            stride = 2 if stage > 1 and index == 0 else 1
            rules = {"carry_stride": False, "classifier": classifier}
            layers.add_clone(layer, published // narrow, stride, stage, **rules)
    return layers


def vgg19(classes: int, side: int, narrow: int = 1) -> Chain:
    """Return VGG19 for small images, 16 local layers, with one linear layer as its classifier.

    The source of AugLocal's VGG19 is not released; the classifier is that of the common CIFAR-10
    variant, average pooling being of no effect on 32 x 32 images.

    Args:
        classes: number of classes.
        side: side of the input images in pixels.
        narrow: divides every width; 1 as published.
    """
    head = nn.Sequential(*_pooling(2), *pooled_classifier(WIDTHS[-1] // narrow, classes))
    return _layers((2, 2, 4, 4, 4), side, narrow).chain(head, classes)


def vgg13(classes: int, side: int, narrow: int = 1) -> Chain:
    """Return VGG13 for ImageNet, 10 local layers, laid out and initialised as torchvision's.

    Args:
        classes: number of classes.
        side: side of the input images in pixels, 224 as published.
        narrow: divides every width; 1 as published.
    """
    layers = _layers((2,) * 5, side, narrow, reduced_classifier)
    chain = layers.chain(
        _large_classifier(classes, WIDTHS[-1] // narrow, HIDDEN // narrow), classes
    )
    for module in chain.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
    return chain


def _large_classifier(classes: int, channels: int, hidden: int) -> nn.Sequential:
    layers: list[nn.Module] = [*_pooling(2), nn.AdaptiveAvgPool2d(7), nn.Flatten()]
    for width in (7 * 7 * channels, hidden):
        layers += [nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(hidden, classes))


def reduced_classifier(classes: int) -> nn.Sequential:
    """Return the classifier of AugLocal's nets on VGG13.

    The flattened map is averaged to 512 values, and three linear layers follow. The paper names the
    reduction of the hidden layers from 4096 to 512 units, the official code has the rest.
    """
    layers: list[nn.Module] = [nn.Flatten(), nn.AdaptiveAvgPool1d(512)]
    for _ in range(2):
        layers += [nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(512, classes))


vgg19_narrow = partial(vgg19, narrow=8)
vgg13_narrow = partial(vgg13, narrow=8)
