"""Fingerprints of all bytes of a data set, fast after the first time.

A file's digest is kept in the cache of the data folder with its inode, size and times. The time of
any change cannot be set, so that a file that was replaced with its old time and size shows itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec

from locbench.datasets import coco as coco
from locbench.datasets.class_folders import FolderPart, ImageFile, list_parts
from locbench.datasets.coco_annotations import read_annotations
from locbench.datasets.imagenet import PREFIX as IMAGENET
from locbench.datasets.imagenet import list_images
from locbench.datasets.known import DATASETS
from locbench.datasets.naming import folder_title, named_by_folder, parse_name
from locbench.errors import FailureError
from locbench.files import read_regular, write_atomically

__all__ = ["CACHE", "Content", "content_of", "file_digests", "fingerprint_of"]

_LOG = logging.getLogger(__name__)

CACHE = ".cache"
"""Below the folder of the data sets."""

_SETTLED = 2_000_000_000
"""Nanoseconds after which another change would show in a file's time, whatever the file system's
clock.
"""

_WORTH_TELLING = 2_000_000_000
"""Bytes whose reading takes so long that a user wants to know of it."""

_LARGEST_BOOK = 2_000_000_000
_REMEMBERED = 20

_Kept = tuple[int, int, int, int, bytes]
"""Inode, both times, size and digest."""


class Content(NamedTuple):
    """What a data set holds now, and what it held when it was looked at before.

    16 hexadecimal digits each.
    """

    now: str
    before: tuple[str, ...]


class _History(msgspec.Struct):
    contents: list[str]


def content_of(name: str, root: Path) -> Content:
    """Return the fingerprint of a data set that is named by its folder; empty for other sets.

    Args:
        name: of the data set.
        root: the folder of the data sets, in whose cache the files' digests are kept.

    Raises:
        FailureError: a folder or a file is missing or cannot be read.
    """
    if not named_by_folder(name):
        return Content("", ())
    parts = _parts(name)
    now = fingerprint_of(parts, root / CACHE)
    return Content(now, _remembered(name, root / CACHE, now))


def fingerprint_of(parts: Sequence[FolderPart], cache: Path) -> str:
    """Return 16 hexadecimal digits over the names, classes and bytes of all files."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part.files)}\n".encode())
        for file, file_digest in zip(
            part.files, file_digests(part.folder, part.files, cache), strict=True
        ):
            digest.update(
                f"{file.path}\0{file.label}\0".encode(errors="surrogateescape") + file_digest
            )
    return digest.hexdigest()[:16]


def file_digests(folder: Path, files: Sequence[ImageFile], cache: Path) -> list[bytes]:
    """Return a digest of the bytes of each file, 16 bytes each.

    Args:
        folder: that the files' paths begin from.
        files: as they are now.
        cache: where digests are kept; one that cannot be written costs the reading each time.

    Raises:
        FailureError: a file cannot be read.
    """
    book = (
        cache / f"digests-{folder_title(folder)[:40]}-{_short_hash(os.path.realpath(folder))}.bin"
    )
    kept = _read_book(book)
    digests = {path: row[4] for path, row in kept.items()}
    unknown = [
        file for file in files if kept.get(file.path, (None,))[:4] != (*file.state, file.size)
    ]
    if not unknown:
        return [digests[file.path] for file in files]
    size = sum(file.size for file in unknown)
    if size > _WORTH_TELLING:
        _LOG.warning(
            "reading %s files (%.1f GB) of %s once, to know them again",
            f"{len(unknown):,}",
            size / 1e9,
            folder,
        )
    begun = time.time_ns()
    digests |= _read_all(folder, unknown)
    settled = [file for file in files if file.state[2] < begun - _SETTLED]
    if settled:
        rows = {file.path: (*file.state, file.size, digests[file.path]) for file in settled}
        with contextlib.suppress(FailureError):
            write_atomically(
                book, msgspec.msgpack.encode({os.fsencode(path): row for path, row in rows.items()})
            )
    return [digests[file.path] for file in files]


def _read_all(folder: Path, files: Sequence[ImageFile]) -> dict[str, bytes]:
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        digests = pool.map(lambda each: _digest(folder / each.path), files)
        return dict(zip((each.path for each in files), digests, strict=True))


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()[:16]
    except OSError as error:
        raise FailureError(
            f"{path} cannot be read: {error.strerror or error}", "Check the file."
        ) from None


def _read_book(path: Path) -> dict[str, _Kept]:
    try:
        content = read_regular(path, _LARGEST_BOOK)
        rows = msgspec.msgpack.decode(content, type=dict[bytes, _Kept])
    except (OSError, msgspec.DecodeError, ValueError):
        return {}
    return {os.fsdecode(each): row for each, row in rows.items()}


def _parts(name: str) -> list[FolderPart]:
    if name.startswith(IMAGENET):
        return list(list_images(DATASETS["imagenet"], name, Path()))
    if name.startswith(coco.PREFIX):
        return [each for files in coco.find_files(name, Path()) for each in _coco_parts(files)]
    return list(list_parts(parse_name(name).folder))


def _coco_parts(files: coco.CocoPart) -> Iterable[FolderPart]:
    """Return the annotation file and the images that it names, those that are there."""
    images = (each.file_name for each in read_annotations(files.annotations).images)
    yield FolderPart(
        files.annotations.parent, (), _there(files.annotations.parent, [files.annotations.name])
    )
    yield FolderPart(files.images, (), _there(files.images, sorted(images)))


def _there(folder: Path, paths: Iterable[str]) -> tuple[ImageFile, ...]:
    files = []
    for path in paths:
        with contextlib.suppress(OSError):
            seen = (folder / path).stat()
            files.append(
                ImageFile(path, 0, seen.st_size, (seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns))
            )
    return tuple(files)


def _remembered(name: str, cache: Path, now: str) -> tuple[str, ...]:
    """Return what a folder held before, and note what it holds now."""
    folder = os.path.realpath(parse_name(name).folder)
    path = cache / f"contents-{_short_hash(name.partition(':')[0] + folder)}.json"
    try:
        seen = msgspec.json.decode(read_regular(path), type=_History).contents
    except (OSError, msgspec.DecodeError, ValueError):
        seen = []
    if now not in seen[-1:]:
        with contextlib.suppress(FailureError):
            latest = [*(each for each in seen if each != now), now][-_REMEMBERED:]
            write_atomically(path, msgspec.json.encode(_History(latest)))
    return tuple(each for each in seen if each != now)


def _short_hash(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]
