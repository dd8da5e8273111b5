"""Class folders decoded once into one array and kept in ``<root>/.cache``."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from locbench.data.content import CACHE, fingerprint_of
from locbench.data.free_memory import free_memory
from locbench.data.readers import Arrays
from locbench.datasets.class_folders import FolderPart, cifar10_jpeg_folder, list_part, list_parts
from locbench.datasets.image_files import (
    UNDECODABLE,
    Damage,
    as_rgb,
    damage_of,
    opened,
    undecodable,
)
from locbench.datasets.known import DatasetInfo
from locbench.datasets.naming import folder_title, parse_name
from locbench.datasets.status import check
from locbench.errors import FailureError
from locbench.files import remove_old_parts

_LOG = logging.getLogger(__name__)

_CHUNK = 256
# Raise the number when the decoding changes, so that arrays decoded otherwise are not taken for
# these.
_DECODING = 1

_BAD_CACHE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


def read_cifar10_jpeg(info: DatasetInfo, root: Path, download: bool) -> tuple[Arrays, Arrays]:  # noqa: ARG001
    """Read the JPEG copy of CIFAR-10.

    FailureError unless all 60,000 images are there and can be decoded.
    """
    seen = check(info, root)
    if seen.state != "ready":
        raise FailureError(f"{info.label} is {seen.state}: {seen.detail}", seen.remedy)
    return _read(cifar10_jpeg_folder(root), info, root, "cifar10-jpeg")


def read_imagefolder(info: DatasetInfo, root: Path, download: bool) -> tuple[Arrays, Arrays]:  # noqa: ARG001
    """Read an ``imagefolder:PATH``.

    FailureError where its layout does not fit or an image cannot be decoded.
    """
    folder = parse_name(info.name).folder
    return _read(folder, info, root, folder_title(folder)[:60])


def _read(folder: Path, info: DatasetInfo, root: Path, title: str) -> tuple[Arrays, Arrays]:
    parts, cache = list_parts(folder), root / CACHE
    _refuse_too_large(parts, info.side, folder)
    try:
        train, test = (
            read_part(part, info.side, cache, f"{title}-{part.folder.name}") for part in parts
        )
    except MemoryError:
        raise _too_large(parts, info.side, folder, None) from None
    return train, test


def _refuse_too_large(parts: Sequence[FolderPart], side: int, folder: Path) -> None:
    """Refuse images that do not fit the memory, before minutes of decoding."""
    free = free_memory()
    if free is not None and _bytes(parts, side) > free:
        raise _too_large(parts, side, folder, free)


def _bytes(parts: Sequence[FolderPart], side: int) -> int:
    return sum(len(part.files) for part in parts) * side * side * 3


def _too_large(
    parts: Sequence[FolderPart], side: int, folder: Path, free: int | None
) -> FailureError:
    images = sum(len(part.files) for part in parts)
    left = "" if free is None else f", and {free / 1e9:.1f} GB are free"
    return FailureError(
        f"the {images:,} images of {folder} do not fit the memory: at {side} x {side} pixels they "
        f"take {_bytes(parts, side) / 1e9:.1f} GB{left}",
        f"Name it imagenet:{folder}, which is read from its files while a network trains, or "
        "choose smaller images: "
        f"imagefolder:{folder}?side=64.",
    )


def read_part(part: FolderPart, side: int, cache: Path, title: str) -> Arrays:
    """Return the images of a part, from the cache if it holds them as they are, else decoded.

    Args:
        part: the files, in the order of the result.
        side: height and width of the result in pixels; other images are resized (bilinear) and
            centre-cropped.
        cache: the folder of decoded arrays.
        title: begins the name of the cached file, for a person who looks into the folder.

    Raises:
        FailureError: an image cannot be decoded (named in the message).
    """
    path = cache / f"{title}-{_digest(part, side, cache)}.npz"
    # As large as the data set; one that is being written changes all the time.
    remove_old_parts(cache, hours=1)
    labels = np.array([file.label for file in part.files], dtype=np.int64)
    kept = _cached(path, labels, side)
    if kept is not None:
        return kept
    _LOG.info("decoding %s images of %s, once", f"{len(part.files):,}", part.folder)
    arrays = Arrays(_decode_all(part, side), labels)
    # A data folder that cannot be written costs the decoding each time, not the run.
    with contextlib.suppress(OSError):
        # Else an image that came while they were decoded would be taken for another.
        if list_part(part.folder) == part:
            _store(path, arrays)
    return arrays


def _digest(part: FolderPart, side: int, cache: Path) -> str:
    return hashlib.sha256(
        f"{_DECODING}\0{side}\n{fingerprint_of([part], cache)}".encode()
    ).hexdigest()[:16]


def _cached(path: Path, labels: NDArray[np.int64], side: int) -> Arrays | None:
    try:
        # A zip carries a checksum of each member, so that a damaged cache shows itself in reading.
        with np.load(path, allow_pickle=False) as kept:
            arrays = Arrays(kept["pixels"], kept["labels"])
    except _BAD_CACHE:
        return None
    expected = (len(labels), side, side, 3)
    if (
        arrays.pixels.shape != expected
        or arrays.pixels.dtype != np.uint8
        or not np.array_equal(arrays.labels, labels)
    ):
        return None
    return arrays


def _store(path: Path, arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written beside its place and renamed: another process sees the whole file or none.
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, pixels=arrays.pixels, labels=arrays.labels)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _decode_all(part: FolderPart, side: int) -> NDArray[np.uint8]:
    pixels = np.empty((len(part.files), side, side, 3), dtype=np.uint8)
    damages: dict[int, Damage] = {}

    def fill(start: int) -> None:
        for position in range(start, min(start + _CHUNK, len(pixels))):
            try:
                pixels[position] = _decode(part.folder / part.files[position].path, side)
            except UNDECODABLE as error:
                damages[position] = damage_of(error)

    # Threads: Pillow lets go of the interpreter while it decodes, and the array need not be sent
    # anywhere.
    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        for _ in pool.map(fill, range(0, len(pixels), _CHUNK)):
            pass
    if damages:
        damaged = {
            part.folder / part.files[position].path: damages[position]
            for position in sorted(damages)
        }
        raise undecodable(damaged, len(pixels), part.folder)
    return pixels


def _decode(path: Path, side: int) -> NDArray[np.uint8]:
    with opened(path) as file:
        image = as_rgb(file)
    if image.size != (side, side):
        image = ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)
