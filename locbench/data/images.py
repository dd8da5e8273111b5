"""Data sets as blocks of images on a device, or as lists of files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from locbench.data.content import content_of
from locbench.data.readers import Arrays, read
from locbench.data.streams import Stream, file_fingerprint
from locbench.data.subsets import balanced_order
from locbench.datasets.catalogue import default_root, info
from locbench.datasets.class_folders import FolderPart
from locbench.datasets.image_files import damage_at_sight, undecodable
from locbench.datasets.imagenet import list_images, streams
from locbench.datasets.known import DatasetInfo
from locbench.datasets.naming import named_by_folder
from locbench.errors import UsageError

__all__ = ["Images", "Split", "load"]


@dataclass(frozen=True)
class Images:
    """Images as stored: pixels (N, H, W, 3) uint8 and labels (N,) int64, both on one device."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Images:
        """Return the same images on ``device``."""
        return Images(self.pixels.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Split:
    """A loaded data set.

    Attributes:
        info: its description; the sizes in it are those of the whole set, whatever was kept of it.
        train: the training images.
        test: the test images.
        fingerprint: 16 hexadecimal digits over all pixels and labels, before any limit; over the
            files' names, classes and bytes where they are read while a network trains, of ImageNet
            itself over their sizes.
    """

    info: DatasetInfo
    train: Images | Stream
    test: Images | Stream
    fingerprint: str


def load(
    name: str,
    root: Path | None = None,
    *,
    limit: int | None = None,
    test_limit: int | None = None,
    download: bool = False,
    device: torch.device | str = "cpu",
) -> Split:
    """Load a data set.

    Args:
        name: as for :func:`locbench.datasets.catalogue.info`.
        root: the folder that holds the data sets; default
            :func:`locbench.datasets.catalogue.default_root`.
        limit: how many training images to keep: a fixed, class-balanced subset, the same for every
            run and seed, in which smaller limits nest; more than there are means all.
        test_limit: the same for the test images.
        download: whether missing files of a published set may be downloaded.
        device: where the images are kept.

    Raises:
        UsageError: an unknown name or a limit below 1.
        FailureError: the files are missing, cut short or damaged; the message names the file and
            the remedy.
    """
    root = default_root() if root is None else root
    for option, value in (("limit", limit), ("test limit", test_limit)):
        if value is not None and value < 1:
            raise UsageError(
                f"the {option} of {value} images is below 1",
                "Give a number of images, or leave it out.",
            )
    described = info(name)
    if streams(name):
        return _streamed(described, root, limit, test_limit, device)
    train, test = read(described, root, download=download)
    return Split(
        info=described,
        train=_kept(train, limit, f"{described.seed_key or described.name} train").to(device),
        test=_kept(test, test_limit, f"{described.seed_key or described.name} test").to(device),
        fingerprint=_fingerprint(train, test),
    )


def _streamed(
    info: DatasetInfo,
    root: Path,
    limit: int | None,
    test_limit: int | None,
    device: torch.device | str,
) -> Split:
    parts = list_images(info, info.name, root)
    if named_by_folder(info.name):
        for part in parts:
            _refuse_at_sight(part)
    train, test = (Stream.of(part) for part in parts)
    return Split(
        info=info,
        train=_kept_files(train, limit, f"{info.seed_key or info.name} train").to(device),
        test=_kept_files(test, test_limit, f"{info.seed_key or info.name} test").to(device),
        fingerprint=content_of(info.name, root).now or file_fingerprint(*parts),
    )


def _refuse_at_sight(part: FolderPart) -> None:
    """Refuse images that no epoch would come through, by the first one of each class."""
    first = {file.label: part.folder / file.path for file in reversed(part.files)}
    damages = {path: damage for path in sorted(first.values()) if (damage := damage_at_sight(path))}
    if damages:
        raise undecodable(damages, len(first), part.folder)


def _kept_files(stream: Stream, limit: int | None, key: str) -> Stream:
    if limit is None or limit >= len(stream):
        return stream
    return stream.kept(balanced_order(stream.labels.numpy(), key)[:limit])


def _kept(arrays: Arrays, limit: int | None, key: str) -> Images:
    if limit is not None and limit < len(arrays.labels):
        order = balanced_order(arrays.labels, key)[:limit]
        arrays = Arrays(arrays.pixels[order], arrays.labels[order])
    return Images(torch.from_numpy(arrays.pixels), torch.from_numpy(arrays.labels))


def _fingerprint(*parts: Arrays) -> str:
    digest = hashlib.sha256()
    for pixels, labels in parts:
        # The shape too: the same bytes cut otherwise are other images.
        digest.update(repr(pixels.shape).encode())
        digest.update(np.ascontiguousarray(pixels).data)
        digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()[:16]
