"""Operations that change every grey level on its own, as tables of 256 levels.

The same as Pillow's.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "autocontrast",
    "blended",
    "brightness",
    "color",
    "contrast",
    "cut_off",
    "equalize",
    "grey",
    "invert",
    "posterize",
    "sharpness",
    "solarize",
    "solarize_add",
]


def blended(other: Tensor, image: Tensor, factor: Tensor) -> Tensor:
    """Return other + factor (image - other) as uint8, cut off to whole levels in 0..255, all in
    float32.

    A factor of 1 is the image, 0 the other; beyond 1 leads away from it.
    """
    return cut_off(other + factor.float() * (image - other))


def cut_off(levels: Tensor) -> Tensor:
    """Return float levels as uint8: whole, rounded down, in 0..255; overwrites them."""
    return (
        levels.clamp_(0, 255).int().to(torch.uint8)
    )  # by way of int32: several times faster on a CPU


def grey(pixels: Tensor) -> Tensor:
    """Return the luma (ITU-R BT.601) of (B, H, W, 3) uint8 as whole levels, (B, H, W) int32, as
    Pillow rounds it.
    """
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
    """Average 3 x 3 pixels, the middle one 5 times, the others once.

    The border stays as it is. Float32, whole.
    """
    result = pixels.float()
    wide = pixels.short()
    across = wide[:, :, :-2] + wide[:, :, 1:-1] + wide[:, :, 2:]
    total = across[:, :-2] + across[:, 1:-1] + across[:, 2:] + 4 * wide[:, 1:-1, 1:-1]
    result[:, 1:-1, 1:-1] = (total.float() / 13 + 0.5).floor_()
    return result


def invert(pixels: Tensor, _: Tensor) -> Tensor:
    """Return 255 - level."""
    return 255 - pixels


def posterize(pixels: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest ``bits`` (B,) binary digits of each level; none leaves black."""
    cleared = (1 << (8 - bits.long())) - 1
    return _looked_up(pixels, (_levels(pixels) & ~cleared[:, None])[:, None])


def solarize(pixels: Tensor, threshold: Tensor) -> Tensor:
    """Invert the levels from ``threshold`` (B,) on."""
    levels = _levels(pixels)
    return _looked_up(
        pixels, torch.where(levels < threshold[:, None], levels, 255 - levels)[:, None]
    )


def solarize_add(pixels: Tensor, added: Tensor) -> Tensor:
    """Raise the levels below 128 by ``added`` (B,), to 255 at most."""
    levels = _levels(pixels)
    raised = (levels + added.long()[:, None]).clamp_(max=255)
    return _looked_up(pixels, torch.where(levels < 128, raised, levels)[:, None])


def brightness(pixels: Tensor, factor: Tensor) -> Tensor:
    """Blend the image with black by ``factor`` (B,)."""
    levels = _levels(pixels).float()
    return _looked_up(pixels, blended(torch.zeros_like(levels), levels, factor[:, None])[:, None])


def contrast(pixels: Tensor, factor: Tensor) -> Tensor:
    """Blend the image with its rounded mean grey by ``factor`` (B,)."""
    mean = (grey(pixels).double().mean((1, 2)) + 0.5).floor()
    return _looked_up(
        pixels, blended(mean.float()[:, None], _levels(pixels).float(), factor[:, None])[:, None]
    )


def autocontrast(pixels: Tensor, _: Tensor) -> Tensor:
    """Stretch each channel's range to 0..255; a channel of one level stays."""
    darkest, lightest = _extremes(pixels)
    levels = _levels(pixels)
    scale = torch.div(
        torch.full_like(darkest, 255), lightest - darkest
    )  # 255 / x would multiply by 1 / x
    stretched = (levels * scale - darkest * scale).trunc_().clamp_(0, 255)
    return _looked_up(pixels, torch.where(lightest > darkest, stretched, levels))


def equalize(pixels: Tensor, _: Tensor) -> Tensor:
    """Flatten each channel's histogram.

    A channel whose lightest level holds nearly all pixels stays.
    """
    counts = torch.bincount(_indices(pixels, 3).flatten(), minlength=len(pixels) * 768).view(
        -1, 3, 256
    )
    levels = _levels(pixels)
    lightest = torch.where(counts > 0, levels, 0).amax(2, keepdim=True)
    step = (counts.sum(2, keepdim=True) - counts.gather(2, lightest)) // 255
    below = counts.cumsum(2) - counts
    spread = (step // 2 + below) // step.clamp(min=1)
    return _looked_up(pixels, torch.where(step > 0, spread.clamp_(max=255), levels))


def _extremes(pixels: Tensor) -> tuple[Tensor, Tensor]:
    rows = pixels.flatten(2)  # over the rows first: contiguous, unlike over the pixels of a channel
    shape = (len(rows), -1, 3)
    darkest, lightest = rows.amin(1).view(shape), rows.amax(1).view(shape)
    return darkest.amin(1).double()[..., None], lightest.amax(1).double()[..., None]


def _levels(pixels: Tensor) -> Tensor:
    return torch.arange(256, device=pixels.device)


def _looked_up(pixels: Tensor, tables: Tensor) -> Tensor:
    """Replace each level of (B, H, W, 3) uint8 by its entry in (B, 3, 256) or, for all channels,
    (B, 1, 256).
    """
    entries = tables.to(torch.uint8).flatten()
    return entries.index_select(0, _indices(pixels, tables.shape[1]).flatten()).view(pixels.shape)


def _indices(pixels: Tensor, channels: int) -> Tensor:
    """Return each pixel's place, (B, H, 3 W) int32, in the flattened (B, channels, 256)."""
    count, _, width, _ = pixels.shape
    bases = torch.arange(0, count * channels * 256, 256, device=pixels.device, dtype=torch.int32)
    # Whole rows at once: an innermost dimension of three would leave the vector units idle.
    return (
        pixels.flatten(2)
        .int()
        .add_(bases.view(count, 1, channels).repeat(1, 1, width * 3 // channels))
    )
