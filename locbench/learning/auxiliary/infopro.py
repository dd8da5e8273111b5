"""InfoPro's heads and decoder (Wang et al. 2021), and PGL's Aux-Adapt, which picks among the same heads."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from locbench.learning.auxiliary.branch import Branch, Classifier, Cut, Targets
from locbench.learning.auxiliary.patches import split
from locbench.learning.losses import reconstruction, supervised_contrast
from locbench.learning.options import Decoder, Head

_WIDER = {16: (32, 2), 32: (64, 2), 64: (64, 1)}
"""Input channels -> width and stride of the first convolution."""

_ADAPT = {0: "1C2F", 1: "2C2F", 2: "1C3F", 3: "1C2F"}
"""Residual stage of the cut (0: stem) -> head of PGL's Aux-Adapt; fixed by the parameter totals of PGL's Table 2."""


def build_head(options: Head, cut: Cut) -> Classifier:
    """Return an ``xCyF`` head with cross-entropy, or with the contrastive loss on a normalised feature."""
    name: str = options.net
    if name == "adapt":
        stage = 1 if options.literal_stem and cut.spec.stage == 0 else cut.spec.stage
        name = _ADAPT[stage]
    outputs = cut.classes if options.loss == "softmax" else options.feature_dim
    net = head(cut.spec.channels, int(name[0]), int(name[2]), options.feature_dim, outputs)
    return Classifier(net) if options.loss == "softmax" else Contrast(net, options.temperature)


def head(channels: int, convolutions: int, linears: int, width: int, outputs: int) -> nn.Sequential:
    """Return ``convolutions`` 3x3 conv-BN-ReLU, global average pooling, ``linears`` linear layers with ReLU between.

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
        conv = nn.Conv2d(channels, wide, 3, stride if index == 0 else 1, 1, bias=False)
        layers += [conv, nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]
        channels = wide
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    for _ in range(linears - 1):
        layers += [nn.Linear(channels, width), nn.ReLU(inplace=True)]
        channels = width
    return nn.Sequential(*layers, nn.Linear(channels, outputs))


class Contrast(Classifier):
    """A head whose output is a feature, trained with the supervised contrastive loss."""

    def __init__(self, net: nn.Module, temperature: float) -> None:
        super().__init__(net)
        self.temperature = temperature

    def criterion(self, output: Tensor, targets: Targets) -> Tensor:
        """Return the supervised contrastive loss over the batch."""
        return supervised_contrast(output, targets.labels, self.temperature)


def build_decoder(options: Decoder, cut: Cut) -> Branch:
    """Return the decoder, or four decoders of one quadrant each."""
    if options.quadrants:
        return QuadrantDecoders(cut.spec.channels, cut.image_side)
    return ImageDecoder(cut.spec.channels, cut.image_side // cut.patches)


class ImageDecoder(Branch):
    """Bilinear resizing to the image's size, two 3x3 convolutions, sigmoid; trained with binary cross-entropy.

    Resizing comes before the convolutions and makes wide maps at full resolution: that is part of the measured cost.

    Args:
        channels: of the input map.
        side: of the image, or of the part of the image that a patch stands for, in pixels.
    """

    fuse = "losses"

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
            features = F.interpolate(features, size=(self.side, self.side), mode="bilinear", align_corners=True)
        return self.net(features)  # type: ignore[no-any-return]

    def criterion(self, output: Tensor, targets: Targets) -> Tensor:
        """Return the mean binary cross-entropy against the un-normalised image."""
        return reconstruction(output, targets.pixels)


class QuadrantDecoders(Branch):
    """HPFF's released code: one decoder per quadrant; the four losses are summed."""

    fuse = "losses"

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        part = side // 2
        self.decoders = nn.ModuleList(ImageDecoder(channels, part) for _ in range(4))

    def backward(self, features: Tensor, targets: Targets, weight: float) -> Tensor:
        """Train one quadrant after the other, each graph freed before the next; see `Branch.backward`."""
        total = features.new_zeros(())
        maps, images = split(features, 2), split(targets.pixels, 2)
        for decoder, part, pixels in zip(self.decoders, maps, images, strict=True):
            assert isinstance(decoder, ImageDecoder)
            total += decoder.backward(part, Targets(targets.labels, pixels), weight)
        return total
