"""Worker processes that decode and augment images: pieces of batches, in order."""

from __future__ import annotations

import atexit
import multiprocessing.util
import os
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from locbench.data.images import Images
from locbench.data.loading import LoadingPool, fit_workers
from locbench.data.streams import Stream
from locbench.datasets.image_files import UNDECODABLE, damage_of, undecodable
from locbench.errors import FailureError, UsageError
from locbench.torchrun import processes_here

__all__ = ["Source", "decoded_batches", "stop_workers", "worker_count"]

MOST_WORKERS = 16
"""Of one process: more than this only take memory."""

PIECE = 64
"""Images of eight bits that a worker hands over at once; of a wider type as many bytes."""

Take = Callable[[Image.Image, int], NDArray[Any]]
"""Makes pixels (S, S, 3) of an opened image and its number."""


class Source(Protocol):
    """Images by number; it is sent to worker processes and so holds nothing on a GPU."""

    def opened(self, index: int) -> Image.Image:
        """Open an image, which need not be decoded yet."""

    def path(self, index: int) -> Path:
        """Return its file."""

    def part(self, numbers: NDArray[np.int64]) -> Source:
        """Return some of the images by themselves, numbered anew."""


_Request = tuple[Source, Take, list[int]]
"""Images by themselves, what is made of each, and their numbers in the set."""

_kept: LoadingPool[_Request, Tensor] | None = None


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


def decoded_batches(
    images: Images | Stream,
    batches: Sequence[Tensor],
    take: Take,
    side: int,
    workers: int | None = None,
    dtype: torch.dtype = torch.uint8,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what is made of the images of each batch, (B, side, side, 3), and their labels, (B,).

    Both are on the device of the images. What ``take`` draws from the global generators of Python,
    numpy and torch leaves no trace in them.

    Args:
        images: in files or in memory.
        batches: (B,) int64 numbers of images each.
        take: what is made of each image.
        side: height and width of what it makes in pixels.
        workers: processes that decode; None for `worker_count`, and for none if all is one piece.
        dtype: of what it makes.

    Raises:
        FailureError: an image cannot be decoded, which the message names, or a process has failed.
    """
    if not any(map(len, batches)):
        return
    device = images.labels.device
    size = max(1, PIECE // dtype.itemsize)
    pieces = [piece for batch in batches for piece in _pieces(batch, size)]
    if workers is None:
        workers = worker_count() if len(pieces) > 1 else 0
    source = images.files if isinstance(images, Stream) else _InMemory(images.pixels.cpu().numpy())
    largest = max(map(len, pieces)) * side**2 * 3 * dtype.itemsize
    arriving = decoded(source, take, pieces, workers, device, largest)
    labels = images.labels[torch.cat(list(batches)).to(device)]
    for batch, batch_labels in zip(
        batches, torch.split(labels, [len(batch) for batch in batches]), strict=True
    ):
        stored = torch.empty(len(batch), side, side, 3, dtype=dtype, device=device)
        for place in _pieces(stored, size):
            place.copy_(next(arriving), non_blocking=True)
        yield stored, batch_labels


def _pieces(batch: Tensor, size: int) -> list[Tensor]:
    return [piece for piece in torch.split(batch, size) if len(piece)]


def decoded(
    source: Source,
    take: Take,
    pieces: list[Tensor],
    workers: int,
    device: torch.device,
    largest: int,
) -> Iterator[Tensor]:
    """Yield the pixels of pieces in order, (B, S, S, 3) on the CPU, pinned if the device is a GPU.

    Args:
        source: the images.
        take: what is made of each.
        pieces: (B,) int64 numbers of images each.
        workers: processes that decode; 0 for this one.
        device: where the pixels will go.
        largest: bytes of the largest piece.

    Raises:
        FailureError: an image cannot be decoded, which the message names, or a process has failed.
    """
    workers, packed = fit_workers(workers, largest)
    requests = ((source.part(piece.numpy()), take, piece.tolist()) for piece in pieces)
    try:
        yield from _pool(workers, len(pieces), packed, device.type == "cuda").results(requests)
    except FailureError:
        stop_workers()
        raise


def stop_workers() -> None:
    """End the processes that decode; the next images start others."""
    global _kept
    _kept = None


def _pool(workers: int, pieces: int, packed: bool, pinned: bool) -> LoadingPool[_Request, Tensor]:
    """Return the processes of the last time, if they are as many as wanted and idle, or others."""
    global _kept
    needed = min(workers, pieces)
    if not needed:
        return LoadingPool(_decode, 0, pinned=pinned)
    if (
        _kept is not None
        and needed <= _kept.workers <= workers
        and _kept.packed >= packed
        and _kept.pinned == pinned
    ):
        return LoadingPool(_decode, needed, packed=packed, pinned=pinned) if _kept.busy else _kept
    stop_workers()  # before others start
    _stop_workers_at_exit()
    _kept = LoadingPool(_decode, needed, packed=packed, pinned=pinned)
    return _kept


@cache
def _stop_workers_at_exit() -> None:
    """End the processes before this one ends, when PyTorch would take them for killed."""
    # What is registered last runs first: before PyTorch notes the exit and ends no process more.
    atexit.register(stop_workers)
    # Processes of multiprocessing end without what is registered there.
    multiprocessing.util.Finalize(None, stop_workers, exitpriority=1)


def _decode(request: _Request) -> Tensor:
    source, take, numbers = request
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        pixels = [_pixels(source, take, *image) for image in enumerate(numbers)]
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
    return torch.from_numpy(np.stack(pixels))


def _pixels(source: Source, take: Take, place: int, number: int) -> NDArray[Any]:
    try:
        with source.opened(place) as image:
            return take(image, number)
    except UNDECODABLE as error:
        raise undecodable({source.path(place): damage_of(error)}) from error


def worker_count() -> int:
    """Return how many processes decode for this one: ``$LOCBENCH_WORKERS``, or its share of cores.

    Raises:
        UsageError: the variable is no whole number from 0.
    """
    text = os.environ.get("LOCBENCH_WORKERS")
    if text is not None:
        if not (text.isascii() and text.isdigit()):
            raise UsageError(
                f"LOCBENCH_WORKERS is {text!r}",
                "Set it to a number of processes from 0, or unset it.",
            )
        return int(text)
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return min(MOST_WORKERS, max(1, cores // processes_here()))
