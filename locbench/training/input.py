"""Batches of a run: small images, the Swin pipeline, or the ImageNet recipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor

from locbench.console import remark
from locbench.data.batches import Batch, eval_batches, laid_out, train_batches
from locbench.data.imagenet_batches import imagenet_eval_batches, imagenet_train_batches
from locbench.data.images import Images, Split
from locbench.data.streams import Stream
from locbench.errors import UsageError
from locbench.spec.networks import NETWORKS, TimmNetwork
from locbench.spec.recipe import Recipe
from locbench.training.device import memory_layout
from locbench.training.distributed import SINGLE_PROCESS, ProcessGroup

SMALL, LARGE = 250, 50
"""Test images per batch below and from 128 pixels.

On a CUDA device as many as hold `CUDA_PIXELS`, if that is more.
"""

CUDA_PIXELS = 2000 * 32 * 32
"""Pixels of one channel in a batch of test images on a CUDA device, which small batches leave idle.
"""

TIMED: set[str] = set()
"""Data sets whose speed this process has told already."""


def train_loader(
    recipe: Recipe,
    split: Split,
    epoch: int,
    *,
    pixels: bool,
    dtype: torch.dtype = torch.float32,
    world: ProcessGroup = SINGLE_PROCESS,
) -> Iterator[Batch]:
    """Return one epoch of augmented batches at the recipe's image size, in its memory layout.

    Args:
        recipe: pipeline, image size, batch size and seed.
        split: the images, on the device of the batches.
        epoch: which epoch.
        pixels: whether the un-normalised images are wanted.
        dtype: of the images.
        world: processes that share every batch; each gets its own share.

    Raises:
        UsageError: the images are not in memory, and the pipeline is for such.
    """
    layout = memory_layout(recipe.precision, split.train.labels.device)
    split = normalised_for(recipe.network, split)
    return laid_out(_train_batches(recipe, split, epoch, pixels, dtype, world), layout)


def normalised_for(network: str, split: Split) -> Split:
    """Return a data set that is normalised as a model of timm wants it, others as they are."""
    info = NETWORKS[network]
    if not isinstance(info, TimmNetwork):
        return split
    mean, std = info.facts.mean, info.facts.std
    return replace(split, info=msgspec.structs.replace(split.info, mean=mean, std=std))


def _train_batches(
    recipe: Recipe,
    split: Split,
    epoch: int,
    pixels: bool,
    dtype: torch.dtype,
    world: ProcessGroup,
) -> Iterator[Batch]:
    if recipe.augmentation == "imagenet":
        batches = imagenet_train_batches(
            split.train,
            split.info,
            recipe.batch_size,
            side=recipe.image_size or split.info.side,
            seed=recipe.seed,
            epoch=epoch,
            pixels=pixels,
            drop_last=recipe.drop_last,
            shard=world.shard,
            dtype=dtype,
        )
        return _told(batches, split, world)
    images = _in_memory(split.train, recipe)
    if recipe.augmentation == "swin":
        from locbench.data.swin_batches import swin_train_batches

        return swin_train_batches(
            images,
            recipe.batch_size,
            side=recipe.side,
            seed=recipe.seed,
            epoch=epoch,
            pixels=pixels,
            color_jitter=recipe.color_jitter,
            drop_last=recipe.drop_last,
            shard=world.shard,
            dtype=dtype,
        )
    whole = train_batches(
        images,
        split.info,
        recipe.batch_size,
        seed=recipe.seed,
        epoch=epoch,
        drop_last=recipe.drop_last,
        pixels=pixels,
        dtype=dtype,
    )
    # Not a generator, which would hold the whole batch through its step.
    prepare = partial(_prepared, side=recipe.image_size, world=world)
    return map(prepare, whole)


def _told(batches: Iterator[Batch], split: Split, world: ProcessGroup) -> Iterator[Batch]:
    """Pass batches on.

    The first time that a process reads a data set from files it tells how fast that goes.
    """
    if not isinstance(split.train, Stream) or not world.is_main or split.info.name in TIMED:
        return batches
    TIMED.add(split.info.name)
    each = f" in each of {world.size} processes" if world.size > 1 else ""
    return timed(batches, lambda speed: remark(f"{split.info.label}: {speed}{each}"))


def eval_loader(
    recipe: Recipe,
    split: Split,
    dtype: torch.dtype,
    world: ProcessGroup = SINGLE_PROCESS,
) -> Iterator[Batch]:
    """Return the test images in order, at the recipe's image size, in its memory layout.

    Normalised ones alone.

    Args:
        recipe: pipeline and image size.
        split: the images, on the device of the batches.
        dtype: of the images.
        world: processes that share the work; each gets every so many-th batch.

    Raises:
        UsageError: the images are not in memory, and the pipeline is for such.
    """
    layout = memory_layout(recipe.precision, split.test.labels.device)
    split = normalised_for(recipe.network, split)
    return laid_out(_eval_batches(recipe, split, dtype, world), layout)


def _eval_batches(
    recipe: Recipe, split: Split, dtype: torch.dtype, world: ProcessGroup
) -> Iterator[Batch]:
    side, chosen = recipe.image_size or split.info.side, slice(world.rank, None, world.size)
    size = eval_batch_size(side, split.test.labels.device)
    if recipe.augmentation == "imagenet":
        return imagenet_eval_batches(
            split.test, split.info, size, side=side, chosen=chosen, dtype=dtype
        )
    images = _in_memory(split.test, recipe)
    if recipe.augmentation == "swin":
        from locbench.data.swin_batches import swin_eval_batches

        return swin_eval_batches(images, size, side=recipe.side, chosen=chosen, dtype=dtype)
    batches = eval_batches(images, split.info, size, pixels=False, dtype=dtype)
    mine = islice(batches, world.rank, None, world.size)
    return map(partial(resized, side=recipe.image_size), mine)


def eval_batch_size(side: int, device: torch.device) -> int:
    """Return how many test images of a side in pixels make a batch on a device."""
    size = SMALL if side < 128 else LARGE
    return max(size, CUDA_PIXELS // side**2) if device.type == "cuda" else size


def _in_memory(images: Images | Stream, recipe: Recipe) -> Images:
    if isinstance(images, Stream):
        raise UsageError(
            f"the augmentation {recipe.augmentation!r} is for images in memory, {recipe.dataset!r} "
            "is read from files",
            "Choose a table with the augmentation 'imagenet', or another data set.",
        )
    return images


def _prepared(batch: Batch, side: int | None, world: ProcessGroup) -> Batch:
    return _shared(resized(batch, side), world)


def _shared(batch: Batch, world: ProcessGroup) -> Batch:
    if world.size == 1:
        return batch
    share = world.shard(len(batch.labels))
    pixels = None if batch.pixels is None else batch.pixels[share].clone()
    return Batch(images=batch.images[share].clone(), labels=batch.labels[share], pixels=pixels)


def resized(batch: Batch, side: int | None) -> Batch:
    """Return a batch scaled bicubically to a side; itself where that is its own."""
    if side is None or side == batch.images.shape[-1]:
        return batch
    pixels = None if batch.pixels is None else _scaled(batch.pixels, side).clamp_(0, 1)
    return replace(batch, images=_scaled(batch.images, side), pixels=pixels)


def _scaled(images: Tensor, side: int) -> Tensor:
    return F.interpolate(
        images, size=(side, side), mode="bicubic", align_corners=False, antialias=True
    )


LONG_ENOUGH = 30.0
"""Seconds after which a speed is told, if the epoch has not ended before."""


def speed(images: int, seconds: float, waited: float) -> str:
    """Return in words how fast images arrived.

    Args:
        images: that arrived.
        seconds: in which they did.
        waited: seconds of these that were spent waiting for them.
    """
    return (
        f"{images / seconds:,.0f} images/s read from files, "
        f"{100 * waited / seconds:.0f} % of the time spent waiting"
    )


def timed(
    batches: Iterator[Batch],
    tell: Callable[[str], None],
    after: float = LONG_ENOUGH,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Batch]:
    """Pass batches on and tell their speed once; the first, for which workers start, is left out.

    Args:
        batches: of images read from files.
        tell: gets the sentence.
        after: seconds after which it does, or at the end of the batches if that is sooner.
        clock: tells seconds.
    """
    first = next(batches, None)
    if first is None:
        return
    yield first
    images, waited, begun = 0, 0.0, clock()
    told = False
    asked = begun
    for batch in batches:
        now = clock()
        images, waited = images + len(batch.labels), waited + now - asked
        if not told and now - begun >= after:
            tell(speed(images, now - begun, waited))
            told = True
        yield batch
        asked = clock()
    if images and not told:
        tell(speed(images, asked - begun, waited))
