"""Batches of the ImageNet recipe: workers decode and crop, the device normalises.

Training: a random crop of 8 to 100 % of the area scaled bilinearly, and a flip. Testing: the
shorter side scaled to 256/224 of the result's, the middle. That is torchvision's pipeline and the
official scripts' of AugLocal and HPFF. Pixels stay uint8 on their way to the device, a quarter of
the bytes of normalised images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from locbench.data.batches import Batch, epoch_order, image_seed
from locbench.data.decoding import decoded_batches
from locbench.data.images import Images
from locbench.data.streams import Stream
from locbench.datasets.image_files import as_rgb
from locbench.datasets.known import DatasetInfo

__all__ = [
    "View",
    "draw_view",
    "imagenet_eval_batches",
    "imagenet_train_batches",
    "middle_pixels",
    "random_pixels",
    "view_pixels",
]

_SCALED, _CROPPED = 256, 224

_TRIES = 10
_AREA = (0.08, 1.0)
_RATIO = (3 / 4, 4 / 3)


class View(NamedTuple):
    """A rectangle of an image in pixels, and whether it is mirrored left to right."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


def draw_view(seed: int, epoch: int, index: int, height: int, width: int) -> View:
    """Draw RandomResizedCrop's rectangle (Szegedy et al. 2015) and a flip.

    The area is uniform, the ratio of the sides uniform in its logarithm, the place uniform among
    those that fit; of ten tries the first that is small enough counts, else as much of the middle
    as the ratio lets. torchvision's own draws from the global generator, and other numbers, which
    would change runs that are recorded.

    Args:
        seed: the run's seed.
        epoch: which epoch.
        index: which image; the draws follow from these three alone.
        height: of the image in pixels.
        width: likewise.
    """
    generator = Generator().manual_seed(image_seed(seed, epoch, index))
    uniform = torch.rand(_TRIES, 2, generator=generator, dtype=torch.float64)
    areas = (_AREA[0] + (_AREA[1] - _AREA[0]) * uniform[:, 0]) * (height * width)
    lowest, highest = math.log(_RATIO[0]), math.log(_RATIO[1])
    ratios = (lowest + (highest - lowest) * uniform[:, 1]).exp()
    sizes = torch.stack([(areas / ratios).sqrt(), (areas * ratios).sqrt()], -1).round()
    fits = (sizes <= torch.tensor([height, width])).all(-1)
    chosen = sizes[int(fits.to(torch.uint8).argmax())]  # argmax returns the first of equals
    room = torch.tensor([height, width]) - chosen + 1
    corner = (torch.rand(2, generator=generator, dtype=torch.float64) * room).floor()
    flip = bool(torch.rand((), generator=generator) < 0.5)
    if fits.any():
        top, left, tall, wide = (int(number) for number in (*corner, *chosen))
    else:
        tall, wide = min(height, round(width / _RATIO[0])), min(width, round(height * _RATIO[1]))
        top, left = (height - tall) // 2, (width - wide) // 2
    return View(top, left, max(tall, 1), max(wide, 1), flip)


def random_pixels(
    image: Image.Image, index: int, *, side: int, seed: int, epoch: int
) -> NDArray[np.uint8]:
    """Return the drawn view of an image: (side, side, 3) uint8.

    Arguments as for :func:`draw_view`.
    """
    return view_pixels(image, draw_view(seed, epoch, index, image.height, image.width), side)


def view_pixels(image: Image.Image, view: View, side: int) -> NDArray[np.uint8]:
    """Return a view scaled bilinearly: (side, side, 3) uint8, to the grey level torchvision's.

    JPEG files are decoded at their full size, as torchvision does. JPEG's own scaling to a half
    would be cheaper from 1,600 pixels of width on, which few images of ImageNet have, but moves
    levels by about a half on average.
    """
    box = (view.left, view.top, view.left + view.width, view.top + view.height)
    crop = tv.resize(as_rgb(image, box), [side, side], InterpolationMode.BILINEAR)
    return np.asarray(tv.horizontal_flip(crop) if view.flip else crop, dtype=np.uint8)


def middle_pixels(image: Image.Image, index: int, *, side: int) -> NDArray[np.uint8]:  # noqa: ARG001 - any is alike
    """Return the middle, (side, side, 3) uint8, of an image scaled to 256/224 of that."""
    shorter = max(side, round(side * _SCALED / _CROPPED))
    scaled = tv.resize(as_rgb(image), [shorter], InterpolationMode.BILINEAR)
    return np.asarray(tv.center_crop(scaled, [side, side]), dtype=np.uint8)


def imagenet_train_batches(
    images: Images | Stream,
    info: DatasetInfo,
    batch_size: int,
    *,
    side: int,
    seed: int,
    epoch: int,
    pixels: bool = False,
    drop_last: bool = False,
    shard: Callable[[int], slice] | None = None,
    workers: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Batch]:
    """Yield one epoch of shuffled and augmented training batches.

    The order is drawn from ``(seed, epoch)`` and each crop from these and the image's number: not
    from global generators, the device, the batch size, the number of workers or processes, or what
    was trained before.

    Args:
        images: the training images, in files or in memory.
        info: normalisation.
        batch_size: images per batch.
        side: height and width of the batches' images in pixels.
        seed: the run's seed.
        epoch: which epoch; any whole number.
        pixels: whether the batches hold the un-normalised images too.
        drop_last: leave out an incomplete last batch, unless it is the only one.
        shard: which of a batch's so many images are decoded and yielded; None for all.
        workers: processes that decode; see :func:`decoded_batches`.
        dtype: of ``images`` and ``pixels``.

    Raises:
        FailureError: an image cannot be decoded; the message names its file.
    """
    batches = epoch_order(
        len(images), batch_size, seed=seed, epoch=epoch, drop_last=drop_last, shard=shard
    )
    take = partial(random_pixels, side=side, seed=seed, epoch=epoch)
    statistics = torch.tensor([info.mean, info.std], dtype=dtype).to(images.labels.device)
    for stored, labels in decoded_batches(images, batches, take, side, workers):
        yield _normalised(stored, labels, statistics, pixels)


def imagenet_eval_batches(
    images: Images | Stream,
    info: DatasetInfo,
    batch_size: int,
    *,
    side: int,
    chosen: slice = slice(None),
    workers: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Batch]:
    """Yield the middles of images in order, the incomplete last batch included.

    Args:
        images: the test images, in files or in memory.
        info: normalisation.
        batch_size: images per batch.
        side: height and width of the batches' images in pixels.
        chosen: which of the batches are decoded and yielded.
        workers: processes that decode; see :func:`decoded_batches`.
        dtype: of the images.

    Raises:
        FailureError: an image cannot be decoded; the message names its file.
    """
    batches = list(torch.split(torch.arange(len(images)), batch_size))[chosen]
    take = partial(middle_pixels, side=side)
    statistics = torch.tensor([info.mean, info.std], dtype=dtype).to(images.labels.device)
    for stored, labels in decoded_batches(images, batches, take, side, workers):
        yield _normalised(stored, labels, statistics, False)


def _normalised(stored: Tensor, labels: Tensor, statistics: Tensor, pixels: bool) -> Batch:
    mean, std = statistics
    levels = stored.to(statistics.dtype).div_(255)
    images = (levels - mean if pixels else levels.sub_(mean)).div_(std)  # in place where it can be
    return Batch(images.permute(0, 3, 1, 2), labels, levels.permute(0, 3, 1, 2) if pixels else None)
