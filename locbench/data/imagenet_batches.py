"""Batches of the ImageNet recipe: workers decode and crop, the device normalises.

Training: a random crop of 8 to 100 % of the area scaled bilinearly, and a flip. Testing: the
shorter side scaled to 256/224 of the wanted one, the middle. That is torchvision's pipeline and the
official scripts' of AugLocal and HPFF. Pixels stay uint8 on their way to the device, a quarter of
the bytes of normalised images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor

from locbench.data.batches import Batch, epoch_seed
from locbench.data.decoding import Take, decoded, worker_count
from locbench.data.images import Images
from locbench.data.random_crops import draw_crops
from locbench.data.streams import Stream
from locbench.datasets.image_files import as_rgb
from locbench.datasets.known import DatasetInfo
from locbench.spec.recipe import images_per_epoch

__all__ = [
    "View",
    "draw_view",
    "imagenet_test_batches",
    "imagenet_train_batches",
    "middle_pixels",
    "random_pixels",
    "view_pixels",
]

_SCALED, _CROPPED = 256, 224


class View(NamedTuple):
    """A rectangle of an image in pixels, and whether it is mirrored left to right."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


def draw_view(seed: int, epoch: int, index: int, height: int, width: int) -> View:
    """Draw RandomResizedCrop's rectangle and a flip from the seed, the epoch and the image's number
    alone.

    Args:
        seed: the run's seed.
        epoch: which epoch.
        index: which image.
        height: of the image in pixels.
        width: likewise.
    """
    digest = hashlib.sha256(f"locbench image {seed} {epoch} {index}".encode()).digest()
    generator = Generator().manual_seed(
        int.from_bytes(digest[:8], "big") >> 1
    )  # 63 bits: what a generator takes
    top, left, tall, wide = draw_crops(1, (height, width), generator)[0].tolist()
    flip = bool(torch.rand((), generator=generator) < 0.5)
    return View(top, left, max(tall, 1), max(wide, 1), flip)


def random_pixels(
    image: Image.Image, index: int, *, side: int, seed: int, epoch: int
) -> NDArray[np.uint8]:
    """Return the drawn view of an image: (side, side, 3) uint8.

    Arguments as for :func:`draw_view`.
    """
    return view_pixels(image, draw_view(seed, epoch, index, image.height, image.width), side)


def view_pixels(image: Image.Image, view: View, side: int) -> NDArray[np.uint8]:
    """Return a view scaled bilinearly: (side, side, 3) uint8, to the grey level torchvision's of
    the same rectangle.

    JPEG files are decoded at their full size, as torchvision does. JPEG's own scaling to a half
    would be cheaper from 1,600 pixels of width on, which few images of ImageNet have, but moves
    levels by about a half on average.
    """
    box = (view.left, view.top, view.left + view.width, view.top + view.height)
    found = as_rgb(image, box).resize((side, side), Image.Resampling.BILINEAR)
    return _array(found.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if view.flip else found)


def middle_pixels(image: Image.Image, index: int, *, side: int) -> NDArray[np.uint8]:  # noqa: ARG001 - any is alike
    """Return the middle, (side, side, 3) uint8, of an image whose shorter side is scaled to 256/224
    of ``side``.
    """
    least = max(side, round(side * _SCALED / _CROPPED))
    width, height = image.size
    shorter = min(width, height)
    size = (least * width // shorter, least * height // shorter)
    left, top = (round((each - side) / 2) for each in size)
    whole = as_rgb(image).resize(size, Image.Resampling.BILINEAR)
    return _array(whole.crop((left, top, left + side, top + side)))


def _array(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image, dtype=np.uint8)


PIECE = 64
"""Images that a worker hands over at once."""


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
    share: Callable[[int], slice] | None = None,
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
        share: which of a batch's so many images are decoded and yielded; None for all.
        workers: processes that decode; see :func:`_batches`.
        dtype: of ``images`` and ``pixels``.

    Raises:
        FailureError: an image cannot be decoded; the message names its file.
    """
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
    order = torch.randperm(len(images), generator=generator)[
        : images_per_epoch(len(images), batch_size, drop_last)
    ]
    batches = [each[share(len(each))] if share else each for each in torch.split(order, batch_size)]
    take = partial(random_pixels, side=side, seed=seed, epoch=epoch)
    statistics = torch.tensor([info.mean, info.std], dtype=dtype).to(images.labels.device)
    for stored, labels in _batches(images, batches, take, side, workers):
        yield _normalised(stored, labels, statistics, pixels)


def imagenet_test_batches(
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
        workers: processes that decode; see :func:`_batches`.
        dtype: of the images.

    Raises:
        FailureError: an image cannot be decoded; the message names its file.
    """
    batches = list(torch.split(torch.arange(len(images)), batch_size))[chosen]
    statistics = torch.tensor([info.mean, info.std], dtype=dtype).to(images.labels.device)
    for stored, labels in _batches(
        images, batches, partial(middle_pixels, side=side), side, workers
    ):
        yield _normalised(stored, labels, statistics, False)


# The name is what it does; pytest must not take it for a test where it is imported.
imagenet_test_batches.__test__ = False  # type: ignore[attr-defined]


class _InMemory:
    """Images of a loaded set, as Pillow's."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels

    def opened(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels[index])

    def path(self, index: int) -> Path:
        return Path(f"image {index}")

    def part(self, numbers: NDArray[np.int64]) -> _InMemory:
        return _InMemory(self.pixels[numbers])


def _batches(
    images: Images | Stream, batches: list[Tensor], take: Take, side: int, workers: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pixels (B, S, S, 3) uint8 and labels on the images' device.

    Without a number of ``workers`` it is :func:`worker_count`, and 0 for what lies in memory or in
    one piece.
    """
    device = images.labels.device
    pieces = [piece for batch in batches for piece in torch.split(batch, PIECE)]
    if workers is None:
        workers = worker_count() if isinstance(images, Stream) and len(pieces) > 1 else 0
    source = images.files if isinstance(images, Stream) else _InMemory(images.pixels.cpu().numpy())
    largest = max(map(len, pieces)) * side**2 * 3
    arriving = decoded(source, take, pieces, workers, device, largest)
    chosen = torch.split(
        images.labels[torch.cat(batches).to(device)], [len(each) for each in batches]
    )
    for batch, labels in zip(batches, chosen, strict=True):
        stored = torch.empty(len(batch), side, side, 3, dtype=torch.uint8, device=device)
        for place in torch.split(stored, PIECE):
            place.copy_(next(arriving), non_blocking=True)
        yield stored, labels


def _normalised(stored: Tensor, labels: Tensor, statistics: Tensor, pixels: bool) -> Batch:
    mean, std = statistics
    found = stored.to(statistics.dtype).div_(255)
    images = (found - mean if pixels else found.sub_(mean)).div_(std)  # in place where it can be
    return Batch(images.permute(0, 3, 1, 2), labels, found.permute(0, 3, 1, 2) if pixels else None)
