"""Worker processes that decode: pieces of batches, uint8, in the order they are wanted."""

from __future__ import annotations

import multiprocessing.util
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from locbench.data.loading import Crew, fitted
from locbench.datasets.image_files import UNDECODABLE, damage_of, undecodable
from locbench.errors import FailureError, UsageError
from locbench.torchrun import processes_here

__all__ = ["Source", "decoded", "dismiss", "worker_count"]

MOST_WORKERS = 16
"""Of one process: more than this only take memory."""

Take = Callable[[Image.Image, int], NDArray[np.uint8]]
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

_kept: Crew[_Request, Tensor] | None = None


def decoded(
    source: Source,
    take: Take,
    pieces: list[Tensor],
    workers: int,
    device: torch.device,
    largest: int,
) -> Iterator[Tensor]:
    """Yield the pixels of pieces in order, (B, S, S, 3) uint8 on the CPU, pinned if the device is a
    GPU.

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
    workers, packed = fitted(workers, largest)
    requests = ((source.part(piece.numpy()), take, piece.tolist()) for piece in pieces)
    try:
        yield from _crew(workers, len(pieces), packed, device.type == "cuda").results(requests)
    except FailureError:
        dismiss()
        raise


def dismiss() -> None:
    """End the processes that decode; the next images start others."""
    global _kept
    _kept = None


def _crew(workers: int, pieces: int, packed: bool, pinned: bool) -> Crew[_Request, Tensor]:
    """Return the processes that decoded the last time, if they are as many as wanted and idle, or
    new ones.
    """
    global _kept
    needed = min(workers, pieces)
    if not needed:
        return Crew(_decode, 0, pinned=pinned)
    if (
        _kept is not None
        and needed <= _kept.workers <= workers
        and _kept.packed >= packed
        and _kept.pinned == pinned
    ):
        return Crew(_decode, needed, packed=packed, pinned=pinned) if _kept.busy else _kept
    dismiss()  # before others start
    _dismiss_at_the_end()
    _kept = Crew(_decode, needed, packed=packed, pinned=pinned)
    return _kept


@cache
def _dismiss_at_the_end() -> None:
    """Let the processes end in peace before this one does: ended as it leaves, PyTorch would take
    them for killed.
    """
    multiprocessing.util.Finalize(None, dismiss, exitpriority=1)


def _decode(request: _Request) -> Tensor:
    source, take, numbers = request
    return torch.from_numpy(np.stack([_pixels(source, take, *each) for each in enumerate(numbers)]))


def _pixels(source: Source, take: Take, place: int, number: int) -> NDArray[np.uint8]:
    try:
        with source.opened(place) as image:
            return take(image, number)
    except UNDECODABLE as error:
        raise undecodable({source.path(place): damage_of(error)}) from error


def worker_count() -> int:
    """Return how many processes decode for one that trains: ``$LOCBENCH_WORKERS``, or its share of
    the cores.

    Raises:
        UsageError: the variable is no whole number from 0.
    """
    wanted = os.environ.get("LOCBENCH_WORKERS")
    if wanted is not None:
        if not (wanted.isascii() and wanted.isdigit()):
            raise UsageError(
                f"LOCBENCH_WORKERS is {wanted!r}",
                "Set it to a number of processes from 0, or unset it.",
            )
        return int(wanted)
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return min(MOST_WORKERS, max(1, cores // processes_here()))
