"""Batches of the Swin pipeline (Liu et al. 2021), made by timm's transforms.

Training: a random crop scaled bicubically, a flip, RandAugment, normalisation, random erasing.
Testing: the shorter side scaled to 256/224 of the result's, the middle, normalisation. Worker
processes do this image by image, as the Swin repository does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data.auto_augment import RandAugment, posterize
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.transforms_factory import transforms_imagenet_eval, transforms_imagenet_train
from torch import Tensor

from locbench.data.batches import Batch, epoch_order, image_seed
from locbench.data.decoding import decoded_batches
from locbench.data.images import Images

__all__ = ["augmented_image", "middle_image", "swin_eval_batches", "swin_train_batches"]

_Transform = Callable[[Image.Image], Tensor]


def swin_train_batches(
    images: Images,
    batch_size: int,
    *,
    side: int,
    seed: int,
    epoch: int,
    pixels: bool = False,
    color_jitter: float = 0.0,
    drop_last: bool = False,
    shard: Callable[[int], slice] | None = None,
    workers: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Batch]:
    """Yield one epoch of shuffled and augmented training batches.

    The order is drawn from ``(seed, epoch)``, and what is done to an image from these and its
    number: not from the device, the batch size, the number of workers or processes, or what was
    trained before.

    Args:
        images: the training images, on the device of the batches.
        batch_size: images per batch.
        side: height and width of the batches' images in pixels.
        seed: the run's seed.
        epoch: which epoch; any whole number.
        pixels: whether the batches hold the un-normalised images too. Erased pixels are Gaussian in
            normalised space, so that these are clamped to 0..1.
        color_jitter: strength of the colour jitter after RandAugment. Swin's configuration says
            0.4, but timm leaves the jitter out beside RandAugment unless it is forced, so that the
            published pipeline has none.
        drop_last: leave out an incomplete last batch, as the Swin repository does, unless it is the
            only one.
        shard: which of a batch's so many images are made and yielded; None for all.
        workers: processes that augment; None for as many as there are.
        dtype: of ``images`` and ``pixels``.
    """
    batches = epoch_order(
        len(images), batch_size, seed=seed, epoch=epoch, drop_last=drop_last, shard=shard
    )
    take = partial(augmented_image, side=side, seed=seed, epoch=epoch, color_jitter=color_jitter)
    statistics = torch.tensor([IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD], dtype=dtype)
    mean, std = statistics.to(images.labels.device)
    for stored, labels in decoded_batches(images, batches, take, side, workers, torch.float32):
        normalised = stored.to(dtype)
        restored = (normalised * std).add_(mean).clamp_(0, 1) if pixels else None
        yield Batch(
            normalised.permute(0, 3, 1, 2),
            labels,
            None if restored is None else restored.permute(0, 3, 1, 2),
        )


def swin_eval_batches(
    images: Images,
    batch_size: int,
    *,
    side: int,
    chosen: slice = slice(None),
    workers: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Batch]:
    """Yield the images in order, scaled and cropped, the incomplete last batch included.

    Args:
        images: the test images, on the device of the batches.
        batch_size: images per batch.
        side: height and width of the batches' images in pixels.
        chosen: which of the batches are made and yielded.
        workers: processes that scale; None for as many as there are.
        dtype: of the images.
    """
    batches = list(torch.split(torch.arange(len(images)), batch_size))[chosen]
    take = partial(middle_image, side=side)
    for stored, labels in decoded_batches(images, batches, take, side, workers, torch.float32):
        yield Batch(stored.to(dtype).permute(0, 3, 1, 2), labels, None)


def augmented_image(
    image: Image.Image, index: int, *, side: int, seed: int, epoch: int, color_jitter: float = 0.0
) -> NDArray[np.float32]:
    """Return an RGB image augmented and normalised, (side, side, 3).

    timm draws from the global generators of Python, numpy and torch. They are seeded here, from
    seed, epoch and the image's number alone; `decoded_batches` restores their state.

    Args:
        image: the image.
        index: its number.
        side: height and width of the result in pixels.
        seed: the run's seed.
        epoch: which epoch.
        color_jitter: strength of the colour jitter.
    """
    number = image_seed(seed, epoch, index)
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.default_generator.manual_seed(number)  # the CPU's alone, unlike torch.manual_seed
    return _channels_last(_training_transform(side, color_jitter)(image))


def middle_image(image: Image.Image, index: int, *, side: int) -> NDArray[np.float32]:  # noqa: ARG001 - any is alike
    """Return the normalised middle, (side, side, 3), of an RGB image scaled to 256/224 of that."""
    return _channels_last(_eval_transform(side)(image))


def _channels_last(image: Tensor) -> NDArray[np.float32]:
    # Contiguous: batches are copied to a GPU as they lie, without waiting for it.
    return image.permute(1, 2, 0).contiguous().numpy()


@cache
def _training_transform(side: int, color_jitter: float) -> _Transform:
    transform = transforms_imagenet_train(
        side,
        interpolation="bicubic",
        auto_augment="rand-m9-mstd0.5-inc1",
        color_jitter=color_jitter,
        force_color_jitter=color_jitter > 0,
        re_prob=0.25,
        re_mode="pixel",
    )
    (randaugment,) = (step for step in transform.transforms if isinstance(step, RandAugment))
    for operation in randaugment.ops:
        if operation.name == "PosterizeIncreasing":
            operation.aug_fn = _posterized
    return cast(_Transform, transform)


@cache
def _eval_transform(side: int) -> _Transform:
    transform = transforms_imagenet_eval(side, crop_pct=224 / 256, interpolation="bicubic")
    return cast(_Transform, transform)


def _posterized(image: Image.Image, bits: int, **options: Any) -> Image.Image:
    """Posterize as timm does, and to no bits as Pillow did before version 12.

    Of one image in 660 timm's RandAugment asks to keep no bits (a magnitude of 10). Pillow made it
    black, and refuses it with a ValueError since version 12.
    """
    if not bits:
        return Image.new("RGB", image.size)
    return cast(Image.Image, posterize(image, bits, **options))
