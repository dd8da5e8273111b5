"""Whole files: read if they are regular and of sane size, written at once or not at all. Imports no torch."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
import time
from pathlib import Path

from locbench.errors import FailureError

MEGABYTE = 1 << 20

SMALL_FILE_BYTES = 64 * MEGABYTE
"""Largest record, prediction or table file that is read; the largest of ours has a few hundred kilobytes."""


def read_regular(path: Path, most: int = SMALL_FILE_BYTES) -> bytes:
    """Read a whole file, if it is a regular file (or a link to one) of at most ``most`` bytes.

    A pipe, a device or a folder is refused without waiting for it, and a file that is too large before it is read.

    Raises:
        OSError: the file is missing, unreadable, no regular file, or too large; ``strerror`` says which.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a name with a null character
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if status.st_size > most:
            size = f"it has {status.st_size / MEGABYTE:.0f} MB, at most {most // MEGABYTE} are read"
            raise OSError(errno.EFBIG, size, str(path))
        return file.read(most)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a machine that stops, sees the old content or the new one, never a part.

    The file gets the permissions that the user's umask gives to new files.

    Raises:
        FailureError: no space, or the folder cannot be written to.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=PART, delete=False) as file:
            temporary = file.name
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise FailureError(
            f"cannot write {path}: {error.strerror or error}",
            "Free some space or choose another folder; what was recorded before is safe.",
        ) from None
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


PART = ".part"
"""Ending of a file that is being written; its name begins with a dot."""


def remove_old_parts(folder: Path, hours: float = 24) -> None:
    """Remove what a process left that was killed as it wrote; a younger part may be another one's at work."""
    for part in folder.glob(f".*{PART}"):
        with contextlib.suppress(OSError):
            if part.stat().st_mtime < time.time() - 3600 * hours:
                part.unlink()


def _umask() -> int:
    """Return the process's umask, which Python can only read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    # Not every platform lets a folder be opened; the rename itself is atomic without it.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
