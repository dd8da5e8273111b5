"""Everything that one epoch of the Swin pipeline draws, for all images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from locbench.data.batches import epoch_seed
from locbench.data.random_crops import draw_crops, draw_rectangles
from locbench.data.swin.randaugment import Steps, draw_jitter, draw_randaugment

__all__ = ["Draws", "draw_epoch", "draw_erasures", "erase"]

_PROBABILITY = 0.25

_AREA = (0.02, 1 / 3)

_RATIO = (0.3, 1 / 0.3)


def draw_erasures(count: int, side: int, generator: Generator) -> Tensor:
    """Draw what is erased of ``count`` square images: (N, 4) int64 of top, left, height, width; 0
    and 0 for nothing.

    A quarter of the images lose a rectangle of 2 to 33 % of their area, smaller than the image on
    both sides.
    """
    chosen = torch.rand(count, generator=generator, dtype=torch.float64) < _PROBABILITY
    largest = (side - 1, side - 1)
    found, fits = draw_rectangles(
        count, (side, side), largest, area=_AREA, ratio=_RATIO, generator=generator
    )
    return torch.where((chosen & fits)[:, None], found, 0)


def erase(images: Tensor, erasures: Tensor, generator: Generator) -> None:
    """Fill the rectangles of (B, H, W, 3) images in place with standard normal noise.

    Args:
        images: contiguous.
        erasures: (B, 4), on the CPU.
        generator: on the CPU; takes three numbers per erased pixel in the order of the pixels, so
            that how the images are divided into batches changes nothing.
    """
    which = (erasures[:, 2] > 0).nonzero().squeeze(1)
    top, left, height, width = erasures[which].unbind(1)
    rows, columns = (torch.arange(side) for side in images.shape[1:3])
    inside_rows = (rows >= top[:, None]) & (rows < (top + height)[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < (left + width)[:, None])
    places = (inside_rows[:, :, None] & inside_columns[:, None, :]).flatten(1).nonzero()
    pixels = which[places[:, 0]] * (len(rows) * len(columns)) + places[:, 1]
    uniform = torch.rand(len(pixels), 3, generator=generator, dtype=torch.float32).to(images.device)
    # Multiples of 2^-24 moved to the middles of their intervals, so that none is infinitely far
    # out.
    normal = (2 * uniform - (1 - 2**-24)).erfinv_() * math.sqrt(2)
    images.view(-1, 3).index_copy_(0, pixels.to(images.device), normal.to(images.dtype))


@dataclass(frozen=True)
class Draws:
    """An epoch's draws by position in its order, all on the CPU.

    Attributes:
        order: (N,) int64, which image.
        crops: (N, 4) int64: top, left, height and width in the stored image.
        flips: (N,) bool, whether it is mirrored left to right.
        steps: what is done to the crop's grey levels and geometry.
        erasures: (N, 4) int64: top, left, height and width in the crop; 0 and 0 where nothing is
            erased.
    """

    order: Tensor
    crops: Tensor
    flips: Tensor
    steps: Steps
    erasures: Tensor

    def of(self, images: slice) -> Draws:
        """Return the draws of some positions."""
        order, crops, flips, erasures = (
            each[images] for each in (self.order, self.crops, self.flips, self.erasures)
        )
        return Draws(order, crops, flips, self.steps.of(images), erasures)


def draw_epoch(
    count: int, image: tuple[int, int], side: int, *, seed: int, epoch: int, color_jitter: float
) -> tuple[Draws, Generator]:
    """Draw an epoch from ``(seed, epoch)`` alone.

    Args:
        count: N, images.
        image: height and width of the stored images.
        side: of the crops once scaled.
        seed: the run's seed.
        epoch: which epoch; any whole number.
        color_jitter: strength of the colour jitter, 0 for none; changes no other draw.

    Returns:
        The draws, and the generator that the erased pixels' noise is taken from, image by image.
    """
    generator = Generator().manual_seed(epoch_seed(seed, epoch))
    order = torch.randperm(count, generator=generator)
    crops = draw_crops(count, image, generator)
    flips = torch.rand(count, generator=generator, dtype=torch.float64) < 0.5
    steps = draw_randaugment(count, generator)
    erasures = draw_erasures(count, side, generator)
    noise = Generator().manual_seed(int(torch.randint(2**63 - 1, (), generator=generator)))
    if color_jitter:
        steps = steps.then(draw_jitter(count, color_jitter, generator))
    return Draws(order, crops, flips, steps, erasures), noise
