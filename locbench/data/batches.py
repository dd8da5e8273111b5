"""Batches of small images on a device, cropped by index arithmetic."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from locbench.data.images import Images
from locbench.datasets.known import DatasetInfo
from locbench.spec.recipe import images_per_epoch

__all__ = ["Batch", "eval_batches", "laid_out", "steps_per_epoch", "train_batches"]


@dataclass(frozen=True)
class Batch:
    """One batch on the images' device.

    Attributes:
        images: (B, 3, H, W), normalised, in channels-last memory unless they are `laid_out`.
        labels: (B,) int64.
        pixels: (B, 3, H, W) in 0..1: the same augmented images before normalisation (InfoPro's
            target); None from a pipeline that makes them on demand alone.
    """

    images: Tensor
    labels: Tensor
    pixels: Tensor | None


def laid_out(batches: Iterable[Batch], layout: torch.memory_format) -> Iterator[Batch]:
    """Return batches whose images lie in memory as a layout says; without a copy where they do."""

    def lay(batch: Batch) -> Batch:
        pixels = None if batch.pixels is None else batch.pixels.contiguous(memory_format=layout)
        return Batch(batch.images.contiguous(memory_format=layout), batch.labels, pixels)

    return map(lay, batches)  # a generator would hold the uncopied batch through its step


@dataclass(frozen=True)
class _Draws:
    """An epoch's draws: the order of the images, and the crops' corners and flips along it."""

    order_N: Tensor  # noqa: N815 - shapes as suffixes
    corners_N2: Tensor  # noqa: N815
    flips_N: Tensor  # noqa: N815


def steps_per_epoch(n: int, batch_size: int, drop_last: bool = False) -> int:
    """Return the number of batches of ``n`` images.

    The incomplete last one counts unless it is dropped.
    """
    return -(-images_per_epoch(n, batch_size, drop_last) // batch_size)


def train_batches(
    images: Images,
    info: DatasetInfo,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    skip: int = 0,
    drop_last: bool = False,
    pixels: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Batch]:
    """Yield one epoch of shuffled training batches.

    Each image is padded by ``info.pad``, cropped back at a uniformly drawn place and, where
    ``info.flip``, mirrored with probability 1/2: in distribution torchvision's RandomCrop(padding)
    then RandomHorizontalFlip. All draws come from ``(seed, epoch)`` alone: not from global
    generators, the device, the batch size or what was trained before.

    Args:
        images: the training images, on the device of the batches.
        info: padding, flips and normalisation.
        batch_size: images per batch.
        seed: the run's seed.
        epoch: which epoch; any whole number.
        skip: batches to leave out at the start, for a run continued within an epoch; the rest stays
            the same.
        drop_last: leave out an incomplete last batch, unless it is the only one.
        pixels: whether the un-normalised images are wanted.
        dtype: of ``images`` and ``pixels``.
    """
    draws = _draw(len(images), info, seed, epoch, images.labels.device)
    mean, std = _statistics(info, images, dtype)
    for start in range(
        skip * batch_size, images_per_epoch(len(images), batch_size, drop_last), batch_size
    ):
        chosen = slice(start, start + batch_size)
        order_B = draws.order_N[chosen]  # noqa: N806 - shapes as suffixes
        cropped = _cropped(
            images.pixels, order_B, draws.corners_N2[chosen], draws.flips_N[chosen], info
        )
        yield _batch(cropped, images.labels[order_B], mean, std, dtype, pixels=pixels)


def eval_batches(
    images: Images,
    info: DatasetInfo,
    batch_size: int,
    *,
    pixels: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Batch]:
    """Yield the images in order and as they are, normalised, the incomplete last batch included.

    See `train_batches`.
    """
    mean, std = _statistics(info, images, dtype)
    for start in range(0, len(images), batch_size):
        chosen = slice(start, start + batch_size)
        found, labels = images.pixels[chosen], images.labels[chosen]
        yield _batch(found, labels, mean, std, dtype, pixels=pixels)


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of an epoch's draws, 63 bits."""
    return _digest(f"locbench epoch {seed} {epoch}")


def image_seed(seed: int, epoch: int, index: int) -> int:
    """Return the seed of what is drawn for one image in an epoch, 63 bits."""
    return _digest(f"locbench image {seed} {epoch} {index}")


def _digest(text: str) -> int:
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # 63 bits: what a torch generator takes


def epoch_order(
    count: int,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    drop_last: bool,
    shard: Callable[[int], slice] | None = None,
) -> list[Tensor]:
    """Return the numbers of the images of each batch of an epoch, (B,) int64, shuffled.

    ``shard`` says which of a batch's so many images are kept; None for all.
    """
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
    order = torch.randperm(count, generator=generator)
    kept = order[: images_per_epoch(count, batch_size, drop_last)]
    batches = torch.split(kept, batch_size)
    return [batch[shard(len(batch))] if shard else batch for batch in batches]


def _draw(count: int, info: DatasetInfo, seed: int, epoch: int, device: torch.device) -> _Draws:
    # On the CPU whatever the device: a GPU's generator gives other numbers.
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
    order = torch.randperm(count, generator=generator)
    corners = torch.randint(0, 2 * info.pad + 1, (count, 2), generator=generator)
    flips = torch.rand(count, generator=generator) < (0.5 if info.flip else 0.0)
    return _Draws(order.to(device), corners.to(device), flips.to(device))


def _cropped(
    pixels_NHWC: Tensor, order_B: Tensor, corners_B2: Tensor, flips_B: Tensor, info: DatasetInfo
) -> Tensor:
    side = pixels_NHWC.shape[1]
    window = torch.arange(side, device=order_B.device)
    rows = corners_B2[:, :1] + window - info.pad
    columns = corners_B2[:, 1:] + torch.where(flips_B[:, None], window.flip(0), window) - info.pad
    found_rows, found_columns = (_inside(each, side, info) for each in (rows, columns))
    # One flat index into rows of three channels: faster than indexing with three tensors.
    flat = (order_B[:, None, None] * side + found_rows[:, :, None]) * side + found_columns[
        :, None, :
    ]
    cropped = pixels_NHWC.reshape(-1, 3).index_select(0, flat.flatten()).view(*flat.shape, 3)
    if info.padding == "zero" and info.pad:
        inside = (rows == found_rows)[:, :, None] & (columns == found_columns)[:, None, :]
        cropped *= inside[..., None]
    return cropped


def _inside(positions: Tensor, side: int, info: DatasetInfo) -> Tensor:
    """Return where each pixel is taken from: mirrored at the edge, or the edge (blanked later)."""
    if info.padding == "zero":
        return positions.clamp(0, side - 1)
    return (side - 1) - ((side - 1) - positions.abs()).abs()


def _statistics(info: DatasetInfo, images: Images, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    both = torch.tensor([info.mean, info.std], dtype=dtype, device=images.pixels.device)
    return both[0], both[1]


def _batch(
    pixels_BHWC: Tensor,
    labels: Tensor,
    mean: Tensor,
    std: Tensor,
    dtype: torch.dtype,
    *,
    pixels: bool,
) -> Batch:
    plain = pixels_BHWC.to(dtype).div_(255)
    normalised = (plain - mean if pixels else plain.sub_(mean)).div_(
        std
    )  # in place where it can be
    kept = plain.permute(0, 3, 1, 2) if pixels else None
    return Batch(normalised.permute(0, 3, 1, 2), labels, kept)
