"""InfoPro's heads and decoders (Wang et al. 2021).

PGL's Aux-Adapt picks among InfoPro's heads, and HPFF's code has four of its decoders, one for each
quadrant.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from locbench.errors import UsageError
from locbench.learning.auxiliary.branch import (
    AttachPoint,
    AuxiliaryNet,
    Classifier,
    Targets,
    patch_leaves,
    refuse_empty_patches,
    split,
)
from locbench.learning.losses import reconstruction, supervised_contrast
from locbench.networks.layers import GlobalAveragePool, conv_bn_relu, pooled_classifier
from locbench.spec.components import Decoder, Head

_WIDER = {16: (32, 2), 32: (64, 2), 64: (64, 1)}
"""Input channels -> width and stride of the first convolution."""

_ADAPT = {0: "1C2F", 1: "2C2F", 2: "1C3F", 3: "1C2F"}
"""Residual stage of the cut (0: stem) -> head of PGL's Aux-Adapt.

Fixed by the parameter totals of PGL's Table 2.
"""


_WIDTHS = {3: (128, 32, 12)}
"""Doublings of a `DoublingDecoder` -> channels of its maps, as InfoPro publishes them.

Others halve from 128 on.
"""


def build_head(options: Head, point: AttachPoint) -> Classifier:
    """Return a head, trained by cross-entropy or by the contrastive loss on its feature.

    Raises:
        UsageError: Aux-Adapt at a stage that PGL's networks do not have.
    """
    name: str = options.net
    if name == "adapt":
        stage = 1 if options.literal_stem and point.spec.stage == 0 else point.spec.stage
        if stage not in _ADAPT:
            raise UsageError(
                f"Aux-Adapt has no head for a cut in stage {stage}",
                "Choose another net, or fewer modules.",
            )
        name = _ADAPT[stage]
    outputs = point.classes if options.loss == "softmax" else options.feature_dim
    if name == "imagenet":
        net = imagenet_head(point.spec.channels, outputs)
    else:
        net = head(point.spec.channels, int(name[0]), int(name[2]), options.feature_dim, outputs)
    return Classifier(net) if options.loss == "softmax" else Contrast(net, options.temperature)


def head(channels: int, convolutions: int, linears: int, width: int, outputs: int) -> nn.Sequential:
    """Return a head ``xCyF``: x 3x3 conv-BN-ReLU, global average pooling, y linear layers.

    There is a ReLU between linear layers.

    Args:
        channels: of the input map.
        convolutions: x of ``xCyF``; the first one widens 16 and 32 channels twofold with stride 2.
        linears: y of ``xCyF``.
        width: of the hidden linear layers.
        outputs: of the last one.
    """
    layers: list[nn.Module] = []
    wide, stride = _WIDER.get(channels, (channels, 1))
    for index in range(convolutions):
        layers += conv_bn_relu(channels, wide, 3, stride if index == 0 else 1)
        channels = wide
    layers += [GlobalAveragePool(), nn.Flatten()]
    for _ in range(linears - 1):
        layers += [nn.Linear(channels, width), nn.ReLU(inplace=True)]
        channels = width
    return nn.Sequential(*layers, nn.Linear(channels, outputs))


def imagenet_head(channels: int, outputs: int) -> nn.Sequential:
    """Return InfoPro's head for ImageNet: four convolutions, average pooling, one linear layer.

    The convolutions are of 1, 3, 3 and 1 pixels, those of 3 with stride 2; BatchNorm and ReLU
    follow each. InfoPro publishes it for 512 channels, HPFF's code for 1024; in both the first
    convolution leaves a quarter.

    Args:
        channels: of the input map.
        outputs: of the linear layer.
    """
    layers: list[nn.Module] = []
    for width, kernel, stride in (
        (max(1, channels // 4), 1, 1),
        (256, 3, 2),
        (512, 3, 2),
        (2048, 1, 1),
    ):
        layers += conv_bn_relu(channels, width, kernel, stride)
        channels = width
    return nn.Sequential(*layers, *pooled_classifier(channels, outputs))


class Contrast(Classifier):
    """A head whose output is a feature, trained with the supervised contrastive loss."""

    def __init__(self, net: nn.Module, temperature: float) -> None:
        super().__init__(net)
        self.temperature = temperature

    def criterion(self, output: Tensor, targets: Targets) -> Tensor:
        """Return the supervised contrastive loss over the batch."""
        return supervised_contrast(output, targets.labels, self.temperature)


def build_decoder(options: Decoder, point: AttachPoint) -> AuxiliaryNet:
    """Return the decoder, or four decoders of one quadrant each.

    Raises:
        UsageError: the map is too small to be cut into patches.
    """
    parts = 2 if options.quadrants else point.patches
    refuse_empty_patches(point.spec.side, parts)
    make: Callable[[int, int], Restorer] = ImageDecoder
    if options.variant == "doubling":
        make = partial(DoublingDecoder, start=point.spec.side // parts)
    if options.quadrants:
        return QuadrantDecoders(point.spec.channels, point.image_side, make)
    return make(point.spec.channels, point.image_side // parts)


class Restorer(AuxiliaryNet):
    """A net whose output is an image, trained with binary cross-entropy."""

    fuse = "losses"
    restores_image = True

    def criterion(self, output: Tensor, targets: Targets) -> Tensor:
        """Return the mean binary cross-entropy with the un-normalised image as target."""
        assert targets.pixels is not None
        return reconstruction(output, targets.pixels)


class ImageDecoder(Restorer):
    """Bilinear resizing to the image's size, two 3x3 convolutions, sigmoid.

    Resizing comes before the convolutions and makes wide maps at full resolution: that is part of
    the measured cost.

    Args:
        channels: of the input map.
        side: of the image, or of the part of the image that a patch stands for, in pixels.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.net = nn.Sequential(
            nn.Conv2d(channels, 12, 3, padding=1),
            nn.BatchNorm2d(12),
            nn.ReLU(inplace=True),
            nn.Conv2d(12, 3, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map B x C x H x W to an image, B x 3 x side x side, in [0, 1]."""
        if features.shape[-1] != self.side:
            features = F.interpolate(
                features, size=(self.side, self.side), mode="bilinear", align_corners=True
            )
        return self.net(features)  # type: ignore[no-any-return]


class DoublingDecoder(Restorer):
    """A 1x1 convolution, then bilinear doubling and a 3x3 convolution in turn, sigmoid.

    InfoPro publishes it for maps of 28 pixels, HPFF's code for 14. There the first doubling goes to
    112 pixels and back to 56, which looks like a slip; here 14 become 28, 56, 112 and 224.

    Args:
        channels: of the input map.
        side: of the image, or of the part of the image that a patch stands for, in pixels.
        start: side of the map or patch in pixels.
    """

    def __init__(self, channels: int, side: int, start: int) -> None:
        super().__init__()
        sides = doublings(start, side)
        widths = _WIDTHS.get(len(sides), tuple(max(3, 128 >> step) for step in range(len(sides))))
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 1)]
        for width, after, to in zip(widths, (*widths[1:], 3), sides, strict=True):
            resized = nn.Upsample((to, to), mode="bilinear", align_corners=True)
            layers += [
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                resized,
                nn.Conv2d(width, after, 3, padding=1),
            ]
        self.net = nn.Sequential(*layers, nn.Sigmoid())

    def forward(self, features: Tensor) -> Tensor:
        """Map B x C x start x start to an image, B x 3 x side x side, in [0, 1]."""
        return self.net(features)  # type: ignore[no-any-return]


def doublings(start: int, side: int) -> list[int]:
    """Return the sides after ``start`` up to ``side``, each half the next, rounded up.

    There is at least one, ``side`` itself.
    """
    sides = [side]
    while (sides[0] + 1) // 2 > start:
        sides.insert(0, (sides[0] + 1) // 2)
    return sides


class QuadrantDecoders(AuxiliaryNet):
    """HPFF's released code: one decoder per quadrant; the four losses are summed.

    Args:
        channels: of the input map.
        side: of the image in pixels.
        make: builds a decoder for so many channels and a quadrant's side.
    """

    fuse = "losses"
    restores_image = True

    def __init__(
        self, channels: int, side: int, make: Callable[[int, int], Restorer] = ImageDecoder
    ) -> None:
        super().__init__()
        self.decoders = nn.ModuleList(make(channels, side // 2) for _ in range(4))

    def backward(self, features: Tensor, targets: Targets, weight: float) -> Tensor:
        """Train one quadrant after the other, each graph freed before the next."""
        total = features.new_zeros(())
        assert targets.pixels is not None
        maps, images = patch_leaves(features, 2), split(targets.pixels, 2)
        for decoder, part, pixels in zip(self.decoders, maps, images, strict=True):
            assert isinstance(decoder, Restorer)
            total = total + decoder.backward(part, Targets(targets.labels, pixels), weight)
        return total
