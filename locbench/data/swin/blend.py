"""Blends of an image with a changed copy of itself (Pillow's ImageEnhance), and grey images."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["blended", "color", "cut_off", "grey", "sharpness"]


def blended(other: Tensor, image: Tensor, factor: Tensor) -> Tensor:
    """Return other + factor (image - other) as uint8, cut off to whole levels in 0..255, all in float32.

    A factor of 1 is the image, 0 the other; beyond 1 leads away from it.
    """
    return cut_off(other + factor.float() * (image - other))


def cut_off(levels: Tensor) -> Tensor:
    """Return float levels as uint8: whole, rounded down, in 0..255; overwrites them."""
    return levels.clamp_(0, 255).int().to(torch.uint8)  # by way of int32: several times faster on a CPU


def grey(pixels: Tensor) -> Tensor:
    """Return the luma (ITU-R BT.601) of (B, H, W, 3) uint8 as whole levels, (B, H, W) int32, as Pillow rounds it."""
    red, green, blue = (pixels[..., channel].int() for channel in range(3))
    return (red * 19595 + green * 38470 + blue * 7471 + 32768).bitwise_right_shift_(16)


def color(pixels: Tensor, factor: Tensor) -> Tensor:
    """Blend (B, H, W, 3) uint8 with their grey images by ``factor`` (B,)."""
    result, luma = torch.empty_like(pixels), grey(pixels).float()
    for channel in range(3):
        result[..., channel] = blended(luma, pixels[..., channel].float(), factor.view(-1, 1, 1))
    return result


def sharpness(pixels: Tensor, factor: Tensor) -> Tensor:
    """Blend (B, H, W, 3) uint8 with their smoothed images by ``factor`` (B,)."""
    return blended(_smoothed(pixels), pixels.float(), factor.view(-1, 1, 1, 1))


def _smoothed(pixels: Tensor) -> Tensor:
    """Average 3 x 3 pixels, the middle one 5 times, the others once; the border stays as it is. Float32, whole."""
    result = pixels.float()
    wide = pixels.short()
    across = wide[:, :, :-2] + wide[:, :, 1:-1] + wide[:, :, 2:]
    total = across[:, :-2] + across[:, 1:-1] + across[:, 2:] + 4 * wide[:, 1:-1, 1:-1]
    result[:, 1:-1, 1:-1] = (total.float() / 13 + 0.5).floor_()
    return result
