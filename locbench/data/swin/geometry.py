"""Shears, shifts and rotations of whole batches, as Pillow's bicubic transform: a = -1, levels cut
off, grey outside.

A pixel of the result whose source lies outside the image takes the ImageNet mean (timm's fill); at
the border the outermost pixels are repeated under the cubic.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from locbench.data.swin.colour import cut_off

__all__ = ["FILL", "rotate", "shear_x", "shear_y", "translate_x", "translate_y"]

FILL = (124, 116, 104)

# Added before levels are cut off: more than float32 loses in a sum of 16 products, so that an even
# area stays even.
_MARGIN = 2.0**-12


def shear_x(pixels: Tensor, factor: Tensor) -> Tensor:
    """Take row y of (B, H, W, 3) uint8 from ``factor`` (B,) times y to the right."""
    return _slid_x(pixels, factor[:, None] * (_steps(pixels, 1) + 0.5))


def shear_y(pixels: Tensor, factor: Tensor) -> Tensor:
    """Take column x of (B, H, W, 3) uint8 from ``factor`` (B,) times x further down."""
    return _slid_y(pixels, factor[:, None] * (_steps(pixels, 2) + 0.5))


def translate_x(pixels: Tensor, part: Tensor) -> Tensor:
    """Take (B, H, W, 3) uint8 from ``part`` (B,) of the width to the right."""
    return _slid_x(pixels, (part * pixels.shape[2])[:, None].expand(-1, pixels.shape[1]))


def translate_y(pixels: Tensor, part: Tensor) -> Tensor:
    """Take (B, H, W, 3) uint8 from ``part`` (B,) of the height further down."""
    return _slid_y(pixels, (part * pixels.shape[1])[:, None].expand(-1, pixels.shape[2]))


def rotate(pixels: Tensor, degrees: Tensor) -> Tensor:
    """Turn (B, H, W, 3) uint8 by ``degrees`` (B,) about the middle, counter-clockwise."""
    _, height, width, _ = pixels.shape
    turn = -torch.deg2rad(degrees)[:, None, None]
    right = _steps(pixels, 2) + (0.5 - width / 2)
    down = (_steps(pixels, 1) + (0.5 - height / 2))[:, None]
    columns = turn.cos() * right + turn.sin() * down + width / 2
    rows = turn.cos() * down - turn.sin() * right + height / 2
    beyond = _beyond(rows.floor().int(), height) | _beyond(columns.floor().int(), width)
    levels = cut_off(_between(pixels, rows - 0.5, columns - 0.5).add_(_MARGIN))
    return torch.stack(_filled(levels, beyond, _fill(pixels).view(3, 1, 1, 1)).unbind(0), -1)


def _steps(pixels: Tensor, axis: int) -> Tensor:
    return torch.arange(pixels.shape[axis], device=pixels.device, dtype=torch.float64)


def _range(pixels: Tensor, length: int) -> Tensor:
    return torch.arange(length, device=pixels.device, dtype=torch.int32)


def _slid_x(pixels: Tensor, shifts: Tensor) -> Tensor:
    """Take each row of (B, H, W, 3) uint8 from ``shifts`` (B, H) pixels to the right."""
    count, height, width, _ = pixels.shape
    lanes = _range(pixels, 3 * width + 9)
    rows = _range(pixels, count * height).view(count, height, 1) * (3 * width)
    positions = (lanes // 3 - 1).view(1, 1, -1)
    return _slid(pixels, shifts[..., None], positions, rows + lanes % 3, 2)


def _slid_y(pixels: Tensor, shifts: Tensor) -> Tensor:
    """Take each column of (B, H, W, 3) uint8 from ``shifts`` (B, W) pixels further down."""
    count, height, width, _ = pixels.shape
    images = _range(pixels, count).view(count, 1, 1) * (3 * height * width)
    positions = (_range(pixels, height + 3) - 1).view(1, -1, 1)
    lanes = _range(pixels, 3 * width)
    return _slid(pixels, shifts.repeat_interleave(3, 1)[:, None], positions, images + lanes, 1)


def _slid(pixels: Tensor, shifts: Tensor, positions: Tensor, bases: Tensor, axis: int) -> Tensor:
    """Shift along one axis of the rows of lanes, (B, H, 3 W).

    All lanes that share a shift move by the same whole number of pixels, so that one look-up with a
    margin of three pixels serves all four taps.

    Args:
        pixels: (B, H, W, 3) uint8.
        shifts: in pixels, broadcast over the axis.
        positions: -1 .. length + 1, the pixel of each lane of the axis, margin included; 1 along
            the other axes.
        bases: where in memory position 0 of each lane is.
        axis: 1 or 2.
    """
    length = pixels.shape[axis]
    lanes, stride = (1, 3 * pixels.shape[2]) if axis == 1 else (3, 3)
    whole = shifts.floor()
    found = (positions + whole.int()).clamp_(0, length - 1).mul_(stride) + bases
    taps = pixels.flatten().index_select(0, found.flatten()).view(found.shape).float()
    weights = _cubic((shifts - whole).float())
    levels = _sum([taps.narrow(axis, lanes * tap, lanes * length) for tap in range(4)], weights)
    inside = positions.narrow(axis, lanes, lanes * length)
    beyond = _beyond(inside + (shifts + 0.5).floor().int(), length)
    filled = _filled(cut_off(levels.add_(_MARGIN)), beyond, _fill(pixels).repeat(pixels.shape[2]))
    return filled.view(pixels.shape)


def _between(pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Interpolate (B, H, W, 3) uint8 at places (B, H', W') float64: (3, B, H', W') float32, by 4 x
    4 taps.
    """
    planes = _planes(pixels)
    height, width = planes.shape[2:]
    top, left = rows.floor(), columns.floor()
    # With a margin of two pixels every tap is a fixed step from the first.
    firsts = (top.int() + 1).clamp_(0, height - 4) * width + (left.int() + 1).clamp_(0, width - 4)
    firsts += _range(pixels, len(pixels)).view(-1, 1, 1) * (height * width)
    weights = _cubic((rows - top).float()), _cubic((columns - left).float())
    return torch.stack([_sixteen(plane.flatten(), firsts, width, *weights) for plane in planes])


def _planes(pixels: Tensor) -> Tensor:
    """Return (3, B, H + 4, W + 4) float32, the outermost pixels repeated."""
    return F.pad(pixels.permute(3, 0, 1, 2).contiguous().float(), (2, 2, 2, 2), mode="replicate")


def _sixteen(
    plane: Tensor, firsts: Tensor, width: int, down: list[Tensor], across: list[Tensor]
) -> Tensor:
    """Combine 4 x 4 neighbours in a flat plane with rows of ``width``, from ``firsts`` (...) on."""
    places = firsts.flatten()
    # One after the other and not kept, so that everything stays in a processor's cache.
    taps = (
        (
            plane[width * row + column :].index_select(0, places).view(firsts.shape)
            for column in range(4)
        )
        for row in range(4)
    )
    return _sum((_sum(line, across) for line in taps), down)


def _beyond(places: Tensor, length: int) -> Tensor:
    """Return a number that is negative where ``places`` int32 are not in 0 .. length - 1."""
    return places | (length - 1 - places)


def _fill(pixels: Tensor) -> Tensor:
    return torch.tensor(FILL, dtype=torch.uint8, device=pixels.device)


def _filled(levels: Tensor, beyond: Tensor, fill: Tensor) -> Tensor:
    """Put ``fill`` where ``beyond`` is negative.

    By bits, which a CPU does far faster than `torch.where` on bytes.
    """
    mask = (beyond >> 31).to(torch.uint8)
    return (levels & ~mask) | (fill & mask)


def _cubic(part: Tensor) -> list[Tensor]:
    """Return the weights of four equidistant values for a place between the middle two, a = -1
    (Keys 1981).
    """
    square, cube = part * part, part * part * part
    return [2 * square - cube - part, cube - 2 * square + 1, part + square - cube, cube - square]


def _sum(taps: Iterable[Tensor], weights: list[Tensor]) -> Tensor:
    pairs = zip(taps, weights, strict=True)
    tap, weight = next(pairs)
    result = tap * weight
    for tap, weight in pairs:
        result.addcmul_(tap, weight)
    return result
