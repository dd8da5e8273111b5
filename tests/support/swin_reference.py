"""What the tests of the batched Swin pipeline are held against: timm's and torchvision's functions,
image by image.
"""

import functools
import random
from unittest import mock

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from timm.data import auto_augment
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from locbench.data.swin.draws import Draws
from locbench.data.swin.randaugment import NONE, OPERATIONS

BICUBIC = InterpolationMode.BICUBIC
RANDAUGMENT = "rand-m9-mstd0.5-inc1"

# The rounded ImageNet mean in grey levels, 255 * (0.485, 0.456, 0.406), which timm fills with.
FILL = (124, 116, 104)

_WHOLE = {"PosterizeIncreasing", "SolarizeIncreasing", "SolarizeAdd"}


_photos = functools.cache(lambda: load_sample_images().images)


def photographs(count: int, height: int, width: int | None = None) -> Tensor:
    """Return (count, height, width, 3) uint8: pieces of scikit-learn's two photographs."""
    width, draws = width or height, np.random.default_rng(0)
    pieces = []
    for index in range(count):
        photo = _photos()[index % 2]
        top, left = draws.integers(photo.shape[0] - height), draws.integers(photo.shape[1] - width)
        pieces.append(photo[top : top + height, left : left + width])
    return torch.from_numpy(np.stack(pieces))


def picture(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.numpy())


def levels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image))


def posterized(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """Posterize as timm does.

    To no bits by hand, which left black until Pillow came to refuse it.
    """
    return auto_augment.posterize(image, bits) if bits else Image.new("RGB", image.size)


def operated(name: str, image: Image.Image, argument: float) -> Image.Image:
    """Do one of timm's operations with what its RandAugment would pass."""
    operation = posterized if name == "PosterizeIncreasing" else auto_augment.NAME_TO_OP[name]
    arguments = (
        ()
        if auto_augment.LEVEL_TO_ARG[name] is None
        else (int(argument) if name in _WHOLE else argument,)
    )
    return operation(image, *arguments, fillcolor=FILL, resample=Image.Resampling.BICUBIC)


def timm_argument(name: str, magnitude: float, negative: bool) -> float | None:
    """Return what timm makes of a magnitude, with its coin of the sign fixed."""
    level_to_arg = auto_augment.LEVEL_TO_ARG[name]
    if level_to_arg is None:
        return None
    with mock.patch.object(random, "random", return_value=0.9 if negative else 0.1):
        return level_to_arg(magnitude, {})[0]


def per_image(stored: Tensor, draws: Draws, side: int) -> Tensor:
    """Crop, flip and augment image by image as drawn.

    (N, side, side, 3) uint8 in the order of the draws.
    """
    done = []
    steps = zip(draws.steps.operations.tolist(), draws.steps.arguments.tolist(), strict=True)
    for index, crop, flip, step in zip(
        draws.order, draws.crops.tolist(), draws.flips, steps, strict=True
    ):
        image = tv.resized_crop(picture(stored[index]), *crop, [side, side], BICUBIC)
        image = tv.hflip(image) if flip else image
        for operation, argument in zip(*step, strict=True):
            image = (
                image
                if operation == NONE
                else operated(OPERATIONS[operation].name, image, argument)
            )
        done.append(levels(image))
    return torch.stack(done)
