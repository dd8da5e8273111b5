"""Images that stay in their files and are opened one by one."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from locbench.datasets import image_files as decoding
from locbench.datasets.class_folders import FolderPart

__all__ = ["ImagePaths", "Stream", "file_fingerprint"]


@dataclass(frozen=True)
class ImagePaths:
    """Where the images of a stream are: all that a worker process needs to know of them.

    Attributes:
        folder: the part of the data set that they lie in.
        paths: (N,) their paths below it, as bytes: one block, which processes share, not a million
            objects.
    """

    folder: Path
    paths: NDArray[np.bytes_]

    def path(self, index: int) -> Path:
        """Return the file of an image."""
        return self.folder / os.fsdecode(bytes(self.paths[index]))

    def opened(self, index: int) -> Image.Image:
        """Open an image, undecoded; whatever Pillow raises is for the caller."""
        return decoding.opened(self.path(index))

    def part(self, numbers: NDArray[np.int64]) -> ImagePaths:
        """Return some of the images by themselves, numbered anew."""
        return ImagePaths(self.folder, self.paths[numbers])


@dataclass(frozen=True)
class Stream:
    """Images that are read when they are wanted.

    Attributes:
        files: where they are.
        labels: (N,) int64, on the device that the batches are for.
    """

    files: ImagePaths
    labels: Tensor

    @classmethod
    def of(cls, part: FolderPart) -> Stream:
        """Return the images of a part in its order, on the CPU."""
        paths = np.array([os.fsencode(file.path) for file in part.files])
        return cls(
            ImagePaths(part.folder, paths),
            torch.tensor([file.label for file in part.files], dtype=torch.int64),
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def pixels(self) -> Tensor:
        """The images in memory, of which there are none: (0, 0, 0, 3) uint8, on the device."""
        return torch.empty(0, 0, 0, 3, dtype=torch.uint8, device=self.labels.device)

    def kept(self, order: NDArray[np.int64]) -> Stream:
        """Return some of the images, in the order of their positions."""
        return Stream(
            ImagePaths(self.files.folder, self.files.paths[order]),
            self.labels[torch.from_numpy(order)],
        )

    def to(self, device: torch.device | str) -> Stream:
        """Return the same images with batches on ``device``."""
        return replace(self, labels=self.labels.to(device))


def file_fingerprint(*parts: FolderPart) -> str:
    """Return 16 hexadecimal digits over the names, classes and sizes of all files.

    Their content is not read.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part.files)}\n".encode())
        for file in part.files:
            digest.update(
                f"{file.path}\0{file.label}\0{file.size}\n".encode(errors="surrogateescape")
            )
    return digest.hexdigest()[:16]
