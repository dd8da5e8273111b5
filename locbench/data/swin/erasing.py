"""Random erasing (Zhong et al. 2020) as timm does it: Gaussian noise in one rectangle of a normalised image."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from locbench.data.swin.rectangles import draw_rectangles

__all__ = ["draw_erasures", "erase"]

_PROBABILITY = 0.25
_AREA = (0.02, 1 / 3)
_RATIO = (0.3, 1 / 0.3)


def draw_erasures(count: int, side: int, generator: Generator) -> Tensor:
    """Draw what is erased of ``count`` square images: (N, 4) int64 of top, left, height, width; 0 and 0 for nothing.

    A quarter of the images lose a rectangle of 2 to 33 % of their area, smaller than the image on both sides.
    """
    chosen = torch.rand(count, generator=generator, dtype=torch.float64) < _PROBABILITY
    largest = (side - 1, side - 1)
    found, fits = draw_rectangles(count, (side, side), largest, area=_AREA, ratio=_RATIO, generator=generator)
    return torch.where((chosen & fits)[:, None], found, 0)


def erase(images: Tensor, erasures: Tensor, generator: Generator) -> None:
    """Fill the rectangles of (B, H, W, 3) images in place with standard normal noise.

    Args:
        images: contiguous.
        erasures: (B, 4), on the CPU.
        generator: on the CPU; takes three numbers per erased pixel in the order of the pixels, so that how the images
            are divided into batches changes nothing.
    """
    which = (erasures[:, 2] > 0).nonzero().squeeze(1)
    top, left, height, width = erasures[which].unbind(1)
    rows, columns = (torch.arange(side) for side in images.shape[1:3])
    inside_rows = (rows >= top[:, None]) & (rows < (top + height)[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < (left + width)[:, None])
    places = (inside_rows[:, :, None] & inside_columns[:, None, :]).flatten(1).nonzero()
    pixels = which[places[:, 0]] * (len(rows) * len(columns)) + places[:, 1]
    uniform = torch.rand(len(pixels), 3, generator=generator, dtype=torch.float32).to(images.device)
    # Multiples of 2^-24 moved to the middles of their intervals, so that none is infinitely far out.
    normal = (2 * uniform - (1 - 2**-24)).erfinv_() * math.sqrt(2)
    images.view(-1, 3).index_copy_(0, pixels.to(images.device), normal.to(images.dtype))
