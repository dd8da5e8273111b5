"""Bicubic crops and scalings of whole batches, with Pillow's arithmetic: to the last grey level
what it returns.

Pillow resamples one axis after the other, with weights rounded to 22 binary digits and grey levels
rounded after each axis. Integers do the same here, so that neither the device nor the batch can
change a pixel. The columns come first; recent versions of Pillow take the rows first where they
shrink and that is cheaper, which may differ by two levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Taps", "bicubic_taps", "resampled"]

_BITS = 22


@dataclass(frozen=True)
class Taps:
    """Which source positions each position of the result is made of, along one axis.

    Attributes:
        first: (B, S) int64, the first source position.
        weights: (B, S, T) int32, of the T positions from there on, in units of 2^-22.
    """

    first: Tensor
    weights: Tensor

    def of(self, images: slice) -> Taps:
        """Return those of some images."""
        return Taps(self.first[images], self.weights[images])

    def window(self, start: int, length: int) -> Taps:
        """Return those of some positions of the result."""
        inside = slice(start, start + length)
        return Taps(self.first[:, inside], self.weights[:, inside])

    def mirrored(self, which: Tensor) -> Taps:
        """Return the taps with the result reversed where ``which`` (B,) bool."""
        first = torch.where(which[:, None], self.first.flip(1), self.first)
        return Taps(first, torch.where(which[:, None, None], self.weights.flip(1), self.weights))


def bicubic_taps(starts: Tensor, lengths: Tensor, side: int, longest: int) -> Taps:
    """Return the taps that scale a stretch of the source to ``side`` pixels, a cubic with a = -1/2
    (Keys 1981).

    Where the stretch is longer than the result the cubic is widened by their ratio, against
    aliasing.

    Args:
        starts: (B,) int64, where each stretch starts in the source.
        lengths: (B,) int64, source positions in the stretch; nothing outside it is used.
        side: S, positions of the result.
        longest: the largest of ``lengths``; an argument, so that a GPU need not be asked.
    """
    scale = (lengths.double() / side)[:, None]
    widening = scale.clamp(min=1)
    centres = (torch.arange(side, device=scale.device) + 0.5) * scale
    first = (centres - 2 * widening + 0.5).clamp_(min=0).floor()
    positions = first[..., None] + torch.arange(_taps(longest, side), device=scale.device)
    weights = _cubic((positions - centres[..., None] + 0.5).abs_() * (1 / widening)[..., None])
    weights.masked_fill_(positions >= lengths[:, None, None], 0)
    weights /= weights.sum(-1, keepdim=True)
    weights = weights.mul_(1 << _BITS)
    return Taps(first.long() + starts[:, None], (weights + weights.sign() * 0.5).trunc_().int())


def _taps(longest: int, side: int) -> int:
    return 4 if longest <= side else -(-4 * longest // side) + 1


def _cubic(distance: Tensor) -> Tensor:
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * -0.5
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))


def resampled(pixels: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """Resample images.

    Args:
        pixels: (B, H, W, 3) uint8.
        rows: S taps over H, of B images or of 1 for all.
        columns: S' taps over W, likewise.

    Returns:
        (B, S, S', 3) uint8.
    """
    count = len(pixels)
    rows, columns = (
        Taps(each.first.expand(count, -1), each.weights.expand(count, -1, -1))
        for each in (rows, columns)
    )
    # Columns first, as rows of the mirror image in the diagonal: contiguous blocks are gathered.
    turned = pixels.transpose(1, 2).int().flatten(2)
    wide = _weighted(turned, columns).view(count, -1, pixels.shape[1], 3).transpose(1, 2).flatten(2)
    return _weighted(wide, rows).to(torch.uint8).view(count, rows.first.shape[1], -1, 3)


def _weighted(source: Tensor, taps: Taps) -> Tensor:
    """Combine (B, L, D) int32 along L to (B, S, D) int32 in 0..255."""
    count, length, depth = source.shape
    blocks = source.reshape(-1, depth)
    base = torch.arange(0, count * length, length, device=source.device)[:, None]
    result = blocks.new_full((taps.first.numel(), depth), 1 << (_BITS - 1))
    for tap, weights in enumerate(taps.weights.unbind(2)):
        found = (taps.first + tap).clamp_(max=length - 1) + base  # past the end the weight is 0
        result.addcmul_(blocks.index_select(0, found.flatten()), weights.reshape(-1, 1))
    return result.bitwise_right_shift_(_BITS).clamp_(0, 255).view(count, -1, depth)
