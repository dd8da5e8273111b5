"""Swin feature reconstruction's auxiliary block (Pathak et al. 2023, section 3.2).

It has a stem, a task branch and a decoder. The paper gives LayerNorm, a convolutional block that
reduces dimensions, one linear layer for the contrastive branch and three kinds of decoder; widths,
kernels and pooling are ours and are options of `SharedStem`.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from locbench.errors import UsageError
from locbench.learning.autograd import backward_releasing
from locbench.learning.auxiliary.branch import AttachPoint, AuxiliaryNet, Classifier, Targets, ramp
from locbench.learning.auxiliary.infopro import Contrast
from locbench.learning.losses import reconstruction, supervised_contrast
from locbench.networks.layers import pooled_classifier
from locbench.spec.components import SharedStem


def build(options: SharedStem, point: AttachPoint) -> AuxiliaryNet:
    """Return the block of a module; without a decoder, a plain classifier or contrastive head.

    Raises:
        UsageError: a decoder cannot scale the map to what it is to restore.
    """
    channels = max(1, round(point.spec.channels * options.stem_width))
    stem = Stem(point.spec.channels, channels)
    softmax = options.task == "softmax"
    task = pooled_classifier(channels, point.classes if softmax else options.feature_dim)
    if options.decoder == "none":
        net = nn.Sequential(stem, task)
        return Classifier(net) if softmax else Contrast(net, options.temperature)
    return SharedStemBlock(options, point, stem, task)


class Stem(nn.Module):
    """LayerNorm over channels, 3x3 convolution, BatchNorm, ReLU.

    Args:
        channels: of the module's output.
        outputs: of the convolution.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map B x channels x H x W to B x outputs x H x W."""
        normalised = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.relu(self.bn(self.conv(normalised)))  # type: ignore[no-any-return]


class SharedStemBlock(AuxiliaryNet):
    """The whole block, trained by alpha L_XX + beta L_XY (eq. 1).

    L_XX is the reconstruction loss, L_XY the task's.

    Args:
        options: decoder, target and weights.
        point: where it hangs.
        stem: of the module's output.
        task: of the stem's output, B x classes or B x feature_dim.
    """

    def __init__(
        self, options: SharedStem, point: AttachPoint, stem: Stem, task: nn.Module
    ) -> None:
        super().__init__()
        self.options = options
        self.alpha = ramp(options.reconstruction_weight, point.position)
        self.beta = ramp(options.task_weight, point.position)
        self.restores_features = options.target == "features"
        self.restores_image = not self.restores_features
        goal = point.input_features if self.restores_features else point.image
        scale = goal.side // point.spec.side
        if scale * point.spec.side != goal.side:
            raise UsageError(
                f"a map of {point.spec.side} pixels does not scale to the {goal.side} that a "
                "decoder is to restore",
                "Use images whose side every stage halves.",
            )
        self.stem, self.task = stem, task
        self.decoder = decoder_of(options, stem.conv.out_channels, goal.channels, scale)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the task branch's output and the restored features or image, B x C' x H' x W'."""
        h = self.stem(features)
        return self.task(h), self.decoder(h)

    def backward(self, features: Tensor, targets: Targets, weight: float) -> Tensor:
        """Train the task branch and the decoder; what one keeps is freed before the other runs."""
        h = self.stem(features)
        leaf = h.detach().requires_grad_()
        loss = features.new_zeros(())
        if self.alpha:
            loss = loss + _trained(
                self.alpha * self.reconstruction(self.decoder(leaf), targets), weight
            )
        if self.beta:
            loss = loss + _trained(
                self.beta * self.task_loss(self.task(leaf), targets.labels), weight
            )
        gradient = [leaf.grad]
        del leaf
        if gradient[0] is not None:
            backward_releasing(h, gradient)
        return loss

    def criterion(self, output: tuple[Tensor, Tensor], targets: Targets) -> Tensor:  # type: ignore[override]
        """Return alpha * L_XX + beta * L_XY (Pathak et al. 2023, eq. 1)."""
        task, restored = output
        return self.alpha * self.reconstruction(restored, targets) + self.beta * self.task_loss(
            task, targets.labels
        )

    def reconstruction(self, restored: Tensor, targets: Targets) -> Tensor:
        """Return L_XX: the mean binary cross-entropy, or the squared error of raw features."""
        if not self.restores_features:
            assert targets.pixels is not None
            return reconstruction(restored, targets.pixels)
        assert targets.features is not None
        goal = feature_target(targets.features, self.options.feature_target)
        if self.options.feature_target == "raw-mse":
            return F.mse_loss(restored.to(goal.dtype), goal)
        return reconstruction(restored, goal)

    def task_loss(self, output: Tensor, labels: Tensor) -> Tensor:
        """Return L_XY."""
        if self.options.task == "softmax":
            return F.cross_entropy(output, labels)
        return supervised_contrast(output, labels, self.options.temperature)


def _trained(loss: Tensor, weight: float) -> Tensor:
    (loss * weight).backward()  # type: ignore[no-untyped-call]
    return loss.detach()


_NARROWING = (128, 32, 12)
"""Channels after InfoPro's first 1x1 convolution and after each 3x3 one that follows a doubling."""


def decoder_of(options: SharedStem, channels: int, outputs: int, scale: int) -> nn.Sequential:
    """Return a decoder: B x channels x H x W to B x outputs x scale H x scale W.

    A sigmoid ends it, except where raw features are the target.

    Args:
        options: which decoder.
        channels: of the stem's output.
        outputs: channels of the target.
        scale: side of the target over side of the map, a power of two.
    """
    if scale < 1 or scale & (scale - 1):
        raise ValueError(f"a decoder scales by a power of two, not by {scale}")
    layers = {
        "linear": lambda: _linear(channels, outputs, scale),
        "deconv": lambda: _deconvolutions(channels, outputs, scale, options.decoder_width),
        "interp": lambda: _interpolations(channels, outputs, scale),
    }[options.decoder]()
    raw = options.target == "features" and options.feature_target == "raw-mse"
    return nn.Sequential(*layers) if raw else nn.Sequential(*layers, nn.Sigmoid())


def deconvolution_factors(scale: int) -> tuple[int, ...]:
    """Return the factors of a stack of deconvolutions: a 2 where needed, then 4s."""
    doublings = scale.bit_length() - 1
    return (2,) * (doublings % 2) + (4,) * (doublings // 2)


def _linear(channels: int, outputs: int, scale: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, scale * scale * outputs, 1)
    return [conv] if scale == 1 else [conv, nn.PixelShuffle(scale)]


def _deconvolutions(channels: int, outputs: int, scale: int, width: int) -> list[nn.Module]:
    factors = deconvolution_factors(scale)
    if not factors:
        return [nn.Conv2d(channels, outputs, 1)]
    widths = [channels, *[width] * (len(factors) - 1), outputs]
    layers: list[nn.Module] = []
    for (inputs, filters), factor in zip(pairwise(widths), factors, strict=True):
        if layers:
            layers += [nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)]
        layers.append(nn.ConvTranspose2d(inputs, filters, factor, factor))
    return layers


def _interpolations(channels: int, outputs: int, scale: int) -> list[nn.Module]:
    width = _NARROWING[0]
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    doublings = scale.bit_length() - 1
    for index in range(doublings - 1):
        narrower = _NARROWING[min(index + 1, len(_NARROWING) - 1)]
        layers += [_doubling(), nn.Conv2d(width, narrower, 3, padding=1), nn.BatchNorm2d(narrower)]
        layers.append(nn.ReLU(inplace=True))
        width = narrower
    return [*layers, *([_doubling()] if doublings else []), nn.Conv2d(width, outputs, 3, padding=1)]


def _doubling() -> nn.Upsample:
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)


@torch.no_grad()
def feature_target(features: Tensor, kind: str) -> Tensor:
    """Return what features are restored as; it carries no gradient.

    ``sigmoid-ln`` is the sigmoid of LayerNorm over channels without affine parameters: bounded, not
    saturated, and independent of the features' scale; ``minmax`` stretches each image's features
    over [0, 1].

    Args:
        features: B x C x H x W.
        kind: as `SharedStem.feature_target`.
    """
    features = features.detach().to(torch.promote_types(features.dtype, torch.float32))
    if kind == "sigmoid":
        return features.sigmoid()
    if kind == "minmax":
        low, high = features.amin((1, 2, 3), keepdim=True), features.amax((1, 2, 3), keepdim=True)
        return (features - low) / (high - low).clamp(min=1e-12)
    if kind == "raw-mse":
        return features
    tokens = features.permute(0, 2, 3, 1)
    return F.layer_norm(tokens, tokens.shape[-1:], eps=1e-5).sigmoid_().permute(0, 3, 1, 2)
