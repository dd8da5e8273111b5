"""Decoders of Swin feature reconstruction, and the targets that they are held against (Pathak et al. 2023)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from locbench.learning.options import SharedStem

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
    """Return the factors of a stack of deconvolutions: as many of 4 as fit, a 2 before them where one is left over."""
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
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
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

    ``sigmoid-ln`` is the sigmoid of LayerNorm over channels without affine parameters: bounded, not saturated, and
    independent of the features' scale; ``minmax`` stretches each image's features over [0, 1].

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
