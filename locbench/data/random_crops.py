"""Random rectangles of a drawn area and shape, for crops and for erasing, all images at once."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

__all__ = ["draw_rectangles"]

_TRIES = 10


def draw_rectangles(
    count: int,
    image: tuple[int, int],
    largest: tuple[int, int],
    *,
    area: tuple[float, float],
    ratio: tuple[float, float],
    generator: Generator,
) -> tuple[Tensor, Tensor]:
    """Draw rectangles as torchvision's RandomResizedCrop and timm's RandomErasing do.

    The area is uniform, the ratio of the sides uniform in its logarithm, the place uniform among
    those that fit; of ten tries the first that is small enough counts.

    Args:
        count: N, how many.
        image: height and width of the image in pixels.
        largest: height and width that a rectangle may have.
        area: smallest and largest area, as a fraction of the image's.
        ratio: smallest and largest ratio of width to height.
        generator: on the CPU; the same numbers are taken from it whatever is found.

    Returns:
        (N, 4) int64 of top, left, height and width, and (N,) bool: whether a try was small enough.
    """
    sizes = _sizes(
        torch.rand(count, _TRIES, 2, generator=generator, dtype=torch.float64), image, area, ratio
    )
    fits = (sizes <= torch.tensor(largest)).all(-1)
    first = fits.to(torch.uint8).argmax(1)  # argmax returns the first of equals
    chosen = sizes[torch.arange(count), first]
    places = torch.tensor(image) - chosen + 1
    corners = (torch.rand(count, 2, generator=generator, dtype=torch.float64) * places).floor()
    return torch.cat([corners, chosen], 1).long(), fits.any(1)


def _sizes(
    uniform: Tensor, image: tuple[int, int], area: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    areas = (area[0] + (area[1] - area[0]) * uniform[..., 0]) * (image[0] * image[1])
    lowest, highest = math.log(ratio[0]), math.log(ratio[1])
    ratios = (lowest + (highest - lowest) * uniform[..., 1]).exp()
    return torch.stack([(areas / ratios).sqrt(), (areas * ratios).sqrt()], -1).round()


_AREA = (0.08, 1.0)

_RATIO = (3 / 4, 4 / 3)


def draw_crops(count: int, image: tuple[int, int], generator: Generator) -> Tensor:
    """Draw RandomResizedCrop's rectangles (Szegedy et al. 2015): (N, 4) int64 of top, left, height,
    width.

    8 to 100 % of the area, sides in a ratio of 3:4 to 4:3; where no try fits, as much of the middle
    as the ratio lets.
    """
    found, fits = draw_rectangles(
        count, image, image, area=_AREA, ratio=_RATIO, generator=generator
    )
    return torch.where(fits[:, None], found, torch.tensor(_middle(*image)))


def _middle(height: int, width: int) -> tuple[int, int, int, int]:
    tall, wide = min(height, round(width / _RATIO[0])), min(width, round(height * _RATIO[1]))
    return (height - tall) // 2, (width - wide) // 2, tall, wide
