"""Worker processes that decode: pieces of batches, uint8, in the order they are wanted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from locbench.data.decoding import UNDECODABLE, damage_of, undecodable
from locbench.errors import FailureError, UsageError

__all__ = ["Source", "decoded", "worker_count"]

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


@dataclass(frozen=True)
class _Pieces(Dataset[Tensor | FailureError]):
    """Pieces of batches by their images' numbers, each decoded where it is asked for."""

    source: Source
    take: Take
    pieces: list[Tensor]

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, number: int) -> Tensor | FailureError:
        # A fault is handed over as a value: raised in a worker it would reach the user as that process's traceback.
        try:
            return torch.from_numpy(np.stack([self._pixels(index) for index in self.pieces[number].tolist()]))
        except FailureError as error:
            return error

    def _pixels(self, index: int) -> NDArray[np.uint8]:
        try:
            with self.source.opened(index) as image:
                return self.take(image, index)
        except UNDECODABLE as error:
            raise undecodable({self.source.path(index): damage_of(error)}) from error


def decoded(source: Source, take: Take, pieces: list[Tensor], workers: int, device: torch.device) -> Iterator[Tensor]:
    """Yield the pixels of pieces in order, (B, S, S, 3) uint8 on the CPU, pinned if the device is a GPU.

    Args:
        source: the images.
        take: what is made of each.
        pieces: (B,) int64 numbers of images each.
        workers: processes that decode; 0 for this one.
        device: where the pixels will go.

    Raises:
        FailureError: an image cannot be decoded; the message names its file.
    """
    loader = DataLoader(
        _Pieces(source, take, pieces),
        batch_size=None,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # else it draws from the global one, though nothing here is random
    )
    for piece in loader:
        if isinstance(piece, FailureError):
            raise piece
        yield piece


def worker_count() -> int:
    """Return how many processes decode for one that trains: ``$LOCBENCH_WORKERS``, or its share of the cores.

    Raises:
        UsageError: the variable is no whole number from 0.
    """
    wanted = os.environ.get("LOCBENCH_WORKERS")
    if wanted is not None:
        if not (wanted.isascii() and wanted.isdigit()):
            raise UsageError(f"LOCBENCH_WORKERS is {wanted!r}", "Set it to a number of processes from 0, or unset it.")
        return int(wanted)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_WORKERS, max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
