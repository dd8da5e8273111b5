"""Everything that one epoch of the Swin pipeline draws, for all images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from locbench.data.batches import epoch_seed
from locbench.data.swin.erasing import draw_erasures
from locbench.data.swin.randaugment import Steps, draw_jitter, draw_randaugment
from locbench.data.swin.rectangles import draw_rectangles

__all__ = ["Draws", "draw_epoch"]

_AREA = (0.08, 1.0)
_RATIO = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class Draws:
    """An epoch's draws by position in its order, all on the CPU.

    Attributes:
        order: (N,) int64, which image.
        crops: (N, 4) int64: top, left, height and width in the stored image.
        flips: (N,) bool, whether it is mirrored left to right.
        steps: what is done to the crop's grey levels and geometry.
        erasures: (N, 4) int64: top, left, height and width in the crop; 0 and 0 where nothing is erased.
    """

    order: Tensor
    crops: Tensor
    flips: Tensor
    steps: Steps
    erasures: Tensor

    def of(self, images: slice) -> Draws:
        """Return the draws of some positions."""
        order, crops, flips, erasures = (each[images] for each in (self.order, self.crops, self.flips, self.erasures))
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


def draw_crops(count: int, image: tuple[int, int], generator: Generator) -> Tensor:
    """Draw RandomResizedCrop's rectangles (Szegedy et al. 2015): (N, 4) int64 of top, left, height, width.

    8 to 100 % of the area, sides in a ratio of 3:4 to 4:3; where no try fits, as much of the middle as the ratio lets.
    """
    found, fits = draw_rectangles(count, image, image, area=_AREA, ratio=_RATIO, generator=generator)
    return torch.where(fits[:, None], found, torch.tensor(_middle(*image)))


def _middle(height: int, width: int) -> tuple[int, int, int, int]:
    tall, wide = min(height, round(width / _RATIO[0])), min(width, round(height * _RATIO[1]))
    return (height - tall) // 2, (width - wide) // 2, tall, wide
