"""Whole files: read if regular and of sane size, written at once."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import msgspec

from locbench.errors import FailureError, UsageError

MEGABYTE = 1 << 20

SMALL_FILE_BYTES = 64 * MEGABYTE
"""Largest record, prediction or table file that is read.

The largest of ours has a few hundred kilobytes.
"""


def read_regular(path: Path, most: int = SMALL_FILE_BYTES) -> bytes:
    """Read a whole file, if it is a regular file (or a link to one) of at most ``most`` bytes.

    A pipe, a device or a folder is refused without waiting for it, and a file that is too large
    before it is read.

    Raises:
        OSError: the file is missing, unreadable, no regular file, or too large; ``strerror`` says
            which.
    """
    try:
        descriptor = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
    except ValueError as error:  # a name with a null character
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if status.st_size > most:
            size = f"it has {status.st_size / MEGABYTE:.0f} MB, at most {most // MEGABYTE} are read"
            raise OSError(errno.EFBIG, size, str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(descriptor)


def user_path(text: str) -> Path:
    """Return a path, with ``~`` or ``~name`` at its beginning as the home folder that it means.

    Raises:
        UsageError: there is no such user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{text!r} begins with the home folder of nobody", "Name the folder in full."
        ) from None


def listed(folder: Path) -> list[Path]:
    """Return what is in a folder, in order, without hidden files; nothing if there is no folder.

    Raises:
        FailureError: the folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise FailureError(
            f"cannot read {folder}: {error.strerror or error}",
            "Make the folder readable, or name another one with --results DIR.",
        ) from None


def indented_json(value: object, indent: int = 1) -> bytes:
    """Return JSON as it is written and printed, with a line's end."""
    return msgspec.json.format(msgspec.json.encode(value), indent=indent) + b"\n"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file of which a reader sees the old content or the new one, never a part.

    The file gets the permissions that new files get: the user's umask decides. What killed
    processes left in the folder is removed.

    Raises:
        FailureError: no space, or the folder cannot be written to.
    """
    temporary = path.parent / f"{_TEMPORARY}{secrets.token_hex(8)}{PART}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_old_parts_once(path.parent)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise FailureError(
            f"cannot write {path}: {error.strerror or error}",
            "Free some space or choose another folder; what was recorded before is safe.",
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


PART = ".part"
"""Ending of a file that is being written; its name begins with a dot."""

_TEMPORARY = ".locbench-"

_LEFT_OVER = re.compile(
    r"\.(locbench-[0-9a-f]{16}|[a-z0-9_]{8})\.part|\.probe-[a-z0-9_]{8}x*|\..+\.[0-9a-f]{8}\.partial"
)
"""Names of temporary files, of earlier versions too.

Nobody else's in a folder that the user has named.
"""


def remove_old_parts(folder: Path, hours: float = 24) -> None:
    """Remove what a process left that was killed as it wrote.

    A younger file may be another one's at work.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _LEFT_OVER.fullmatch(entry.name):
                _remove_old(entry, time.time() - 3600 * hours)


_remove_old_parts_once = cache(remove_old_parts)


def _remove_old(entry: os.DirEntry[str], before: float) -> None:
    with contextlib.suppress(OSError):
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) and status.st_mtime < before:
            Path(entry.path).unlink()


def probe(folder: Path, length: int = 0) -> None:
    """Make a folder, and for a moment a file in it, to see that it can be written to.

    Args:
        folder: the folder.
        length: bytes of the file's name.

    Raises:
        OSError: it cannot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".probe-{secrets.token_hex(4)}".ljust(length, "x")
    try:
        with path.open("xb") as file:
            file.write(b"probe")
    finally:
        path.unlink(missing_ok=True)


NAME_BYTES = 200
"""Longest name of a file that we write; most file systems end at 255."""


def file_name(words: Iterable[str], ending: str) -> str:
    """Return a file name of words that are not empty, in letters, digits, dots and hyphens.

    Args:
        words: the last one tells files apart and is kept whole; long ones before it keep their
            ends.
        ending: with its dot.
    """
    plain = [re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-") for word in words if word]
    room = NAME_BYTES - len(ending) - len(plain[-1]) - 1  # letters are bytes: all are ASCII
    longest = room // 2
    before = "-".join(
        word[-longest:].strip("-.") if len(word) > longest else word for word in plain[:-1]
    )
    return (f"{before[:room]}-" if before else "") + plain[-1] + ending


def _sync_folder(folder: Path) -> None:
    # Not every platform lets a folder be opened; the rename itself is atomic without it.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def digest(path: Path) -> str:
    """Return 16 hexadecimal digits of a weight file's SHA-256.

    Raises:
        FailureError: the file cannot be read.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe or a device would be waited for
            raise OSError(errno.EINVAL, "it is not a regular file")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise FailureError(
            f"the weight file {path} cannot be read: {error.strerror}", "Give another --weights."
        ) from None
