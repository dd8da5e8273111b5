"""What the ImageNet recipe takes of an image: a random resized crop, or the middle (Szegedy et al. 2015)."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Generator

from locbench.data.decoding import as_rgb
from locbench.data.swin.draws import draw_crops

__all__ = ["View", "draw_view", "middle_pixels", "random_pixels", "view_pixels"]

_SCALED, _CROPPED = 256, 224


class View(NamedTuple):
    """A rectangle of an image in pixels, and whether it is mirrored left to right."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


def draw_view(seed: int, epoch: int, index: int, height: int, width: int) -> View:
    """Draw RandomResizedCrop's rectangle and a flip from the seed, the epoch and the image's number alone.

    Args:
        seed: the run's seed.
        epoch: which epoch.
        index: which image.
        height: of the image in pixels.
        width: likewise.
    """
    digest = hashlib.sha256(f"locbench image {seed} {epoch} {index}".encode()).digest()
    generator = Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)  # 63 bits: what a generator takes
    top, left, tall, wide = draw_crops(1, (height, width), generator)[0].tolist()
    flip = bool(torch.rand((), generator=generator) < 0.5)
    return View(top, left, max(tall, 1), max(wide, 1), flip)


def random_pixels(image: Image.Image, index: int, *, side: int, seed: int, epoch: int) -> NDArray[np.uint8]:
    """Return the drawn view of an image: (side, side, 3) uint8; arguments as for :func:`draw_view`."""
    return view_pixels(image, draw_view(seed, epoch, index, image.height, image.width), side)


def view_pixels(image: Image.Image, view: View, side: int) -> NDArray[np.uint8]:
    """Return a view scaled bilinearly: (side, side, 3) uint8, to the grey level torchvision's of the same rectangle.

    JPEG files are decoded at their full size, as torchvision does. JPEG's own scaling to a half would be cheaper from
    1,600 pixels of width on, which few images of ImageNet have, but moves levels by about a half on average.
    """
    box = (view.left, view.top, view.left + view.width, view.top + view.height)
    found = as_rgb(image, box).resize((side, side), Image.Resampling.BILINEAR)
    return _array(found.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if view.flip else found)


def middle_pixels(image: Image.Image, index: int, *, side: int) -> NDArray[np.uint8]:  # noqa: ARG001 - any is alike
    """Return the middle, (side, side, 3) uint8, of an image whose shorter side is scaled to 256/224 of ``side``."""
    least = max(side, round(side * _SCALED / _CROPPED))
    width, height = image.size
    shorter = min(width, height)
    size = (least * width // shorter, least * height // shorter)
    left, top = (round((each - side) / 2) for each in size)
    whole = as_rgb(image).resize(size, Image.Resampling.BILINEAR)
    return _array(whole.crop((left, top, left + side, top + side)))


def _array(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image, dtype=np.uint8)
