"""Batches of the Swin pipeline (Liu et al. 2021): images of any size, augmented and scaled up, on
their own device.

Training: a random crop scaled bicubically, a flip, RandAugment, normalisation, random erasing.
Testing: the shorter side scaled to 256/224 of the wanted one, the middle, normalisation. Each step
is that of timm and torchvision on Pillow images, to the grey level, but on whole batches of images
that stay in memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from locbench.data.batches import Batch
from locbench.data.images import Images
from locbench.data.swin.draws import Draws, draw_epoch, erase
from locbench.data.swin.randaugment import augmented
from locbench.data.swin.resample import Taps, bicubic_taps, resampled
from locbench.datasets.known import Triple
from locbench.spec.recipe import images_per_epoch

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "swin_test_batches", "swin_train_batches"]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)

_AT_ONCE = 8


def swin_train_batches(
    images: Images,
    batch_size: int,
    *,
    side: int,
    seed: int,
    epoch: int,
    pixels: bool = False,
    color_jitter: float = 0.0,
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
    drop_last: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Batch]:
    """Yield one epoch of shuffled and augmented training batches.

    All draws come from ``(seed, epoch)`` alone: not from global generators, the device, the batch
    size or what was trained before.

    Args:
        images: the training images, on the device of the batches.
        batch_size: images per batch.
        side: height and width of the batches' images in pixels.
        seed: the run's seed.
        epoch: which epoch; any whole number.
        pixels: whether the batches hold the un-normalised images too. Erased pixels are Gaussian in
            normalised space, so that these are clamped to 0..1.
        color_jitter: strength of the colour jitter after RandAugment. Swin's configuration says
            0.4, but timm leaves the jitter out where it is given an automatic augmentation, so that
            the published pipeline has none.
        mean: per channel, of pixels in 0..1.
        std: per channel, of pixels in 0..1.
        drop_last: leave out an incomplete last batch, as the Swin repository does, unless it is the
            only one.
        dtype: of ``images`` and ``pixels``.
    """
    _keep_freed_memory()
    stored = images.pixels.shape[1], images.pixels.shape[2]
    draws, noise = draw_epoch(
        len(images), stored, side, seed=seed, epoch=epoch, color_jitter=color_jitter
    )
    for start in range(0, images_per_epoch(len(images), batch_size, drop_last), batch_size):
        drawn = draws.of(slice(start, start + batch_size))
        order = drawn.order.to(images.labels.device)
        result = _empty(len(order), images.pixels, side, dtype)
        rows, columns = _crop_taps(drawn, side, images.pixels.device)
        for part in _parts(result):
            crops = resampled(
                images.pixels.index_select(0, order[part]), rows.of(part), columns.of(part)
            )
            _normalise(augmented(crops, drawn.steps.of(part)), result[part], mean, std)
            erase(result[part], drawn.erasures[part], noise)
        found = _restored(result, mean, std) if pixels else None
        yield _batch(result, images.labels[order], found)


def swin_test_batches(
    images: Images, batch_size: int, *, side: int, dtype: torch.dtype = torch.float32
) -> Iterator[Batch]:
    """Yield the images in order, scaled, cropped and normalised, the incomplete last batch
    included.

    Args:
        images: the test images, on the device of the batches.
        batch_size: images per batch.
        side: height and width of the batches' images in pixels.
        dtype: of the images.
    """
    rows, columns = _middle_taps(images.pixels, side)
    for start in range(0, len(images), batch_size):
        chosen = slice(start, start + batch_size)
        stored, labels = images.pixels[chosen], images.labels[chosen]
        result = _empty(len(labels), stored, side, dtype)
        for part in _parts(result):
            _normalise(
                resampled(stored[part], rows, columns), result[part], IMAGENET_MEAN, IMAGENET_STD
            )
        yield _batch(result, labels, None)


# The name is what it does; pytest must not take it for a test where it is imported.
swin_test_batches.__test__ = False  # type: ignore[attr-defined]


def _keep_freed_memory() -> None:
    """Free a block just below 32 MiB, untouched: glibc's malloc then hands no smaller one back to
    the kernel.

    Else every part's arrays are mapped anew and their pages cleared one by one, a third of the time
    on a CPU.
    """
    torch.empty(32_000_000, dtype=torch.uint8)


def _empty(count: int, like: Tensor, side: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(count, side, side, 3, dtype=dtype, device=like.device)


def _parts(result: Tensor) -> list[slice]:
    """Return which images to work on together: on a CPU few, so that what is in hand stays in its
    cache.
    """
    count = len(result)
    size = _AT_ONCE if result.device.type == "cpu" else count
    return [slice(start, start + size) for start in range(0, count, size)]


def _crop_taps(drawn: Draws, side: int, device: torch.device) -> tuple[Taps, Taps]:
    top, left, height, width = drawn.crops.to(device).unbind(1)
    tallest, widest = drawn.crops[:, 2:].amax(0).tolist()
    columns = bicubic_taps(left, width, side, widest).mirrored(drawn.flips.to(device))
    return bicubic_taps(top, height, side, tallest), columns


def _middle_taps(pixels: Tensor, side: int) -> tuple[Taps, Taps]:
    stored = pixels.shape[1:3]
    taps = []
    for length in stored:
        scaled = int(int(256 / 224 * side) * length / min(stored))
        whole = torch.zeros(1, dtype=torch.int64, device=pixels.device)
        every = bicubic_taps(whole, whole + length, scaled, length)
        taps.append(every.window(round((scaled - side) / 2), side))
    return taps[0], taps[1]


def _normalise(pixels: Tensor, result: Tensor, mean: Triple, std: Triple) -> None:
    """Normalise (B, S, S, 3) uint8 per channel into ``result``, in whole rows for the vector units'
    sake.
    """
    scale, offset = _rows(mean, std, result)
    result.flatten(2).copy_(pixels.flatten(2)).mul_(scale).add_(offset)


def _restored(normalised: Tensor, mean: Triple, std: Triple) -> Tensor:
    scale, offset = _rows(mean, std, normalised)
    flat = normalised.flatten(2)
    return (flat - offset).div_(255 * scale).clamp_(0, 1).view(normalised.shape)


def _rows(mean: Triple, std: Triple, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return factor and offset from grey levels to normalised values, (3 W,) each."""
    middle, spread = torch.tensor([mean, std], dtype=torch.float64)
    both = torch.stack([1 / (255 * spread), -middle / spread]).repeat(1, like.shape[2])
    scale, offset = both.to(like)
    return scale, offset


def _batch(normalised: Tensor, labels: Tensor, pixels: Tensor | None) -> Batch:
    found = None if pixels is None else pixels.permute(0, 3, 1, 2)
    return Batch(images=normalised.permute(0, 3, 1, 2), labels=labels, pixels=found)
