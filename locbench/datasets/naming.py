"""Names of data sets that hold a folder, and one spelling for each.

A name holds any folder: one with a colon or a question mark in it, and one whose name is no UTF-8,
of which the bytes are written as ``\\udc..`` so that records in JSON can hold it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from locbench.errors import UsageError
from locbench.files import user_path
from locbench.printable import escaped

__all__ = [
    "COCO",
    "IMAGEFOLDER",
    "IMAGENET",
    "PREFIXES",
    "FolderName",
    "canonical",
    "folder_title",
    "named_by_folder",
    "parse_name",
    "short",
    "without_folder",
]

IMAGEFOLDER, IMAGENET, COCO = PREFIXES = ("imagefolder:", "imagenet:", "coco:")

SMALLEST_SIDE, LARGEST_SIDE = 8, 1024

_ESCAPED = re.compile(r"\\u(dc[89a-f][0-9a-f])")

_LONGEST_SHORT = 60


class FolderName(NamedTuple):
    """A parsed name: the folder, relative to the current one, and the side in pixels if given."""

    folder: Path
    side: int | None


def folder_title(folder: Path) -> str:
    """Return the name of a folder, resolved, as reports show it."""
    # Path.resolve raises on a link that leads to itself.
    return escaped(Path(os.path.realpath(folder)).name)


def named_by_folder(name: str) -> bool:
    """Return whether a data set is named by its folder."""
    return name.startswith(PREFIXES)


def parse_name(name: str) -> FolderName:
    """Take a name such as ``imagefolder:PATH`` or ``imagefolder:PATH?side=64`` apart.

    A question mark belongs to the folder unless ``side=`` and a number follow it, if there is such
    a folder.

    Raises:
        UsageError: it names no folder, or what follows the question mark is not understood.
    """
    prefix = next(each for each in PREFIXES if name.startswith(each))
    text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), name.removeprefix(prefix))
    pattern = f"{prefix}PATH" if prefix == COCO else f"{prefix}PATH or {prefix}PATH?side=64"
    if not text or text.startswith("?"):
        raise UsageError(f"{name!r} names no folder", f"Write {pattern}.")
    path, mark, query = text.rpartition("?")
    if prefix == COCO or not mark or (not _is_side(query) and _folder(name, text).is_dir()):
        return FolderName(_folder(name, text), None)
    if _is_side(query) and not _folder(name, path).is_dir() and _folder(name, text).is_dir():
        return FolderName(_folder(name, text), None)
    return FolderName(_folder(name, path), _side(name, query))


def canonical(name: str) -> str:
    """Return a name with its folder resolved, the same for all spellings.

    Names of known sets stay as they are.
    """
    if not named_by_folder(name):
        return name
    prefix = next(each for each in PREFIXES if name.startswith(each))
    folder, side = parse_name(name)
    return escaped(f"{prefix}{os.path.realpath(folder)}" + (f"?side={side}" if side else ""))


def without_folder(name: str) -> str:
    """Return a canonical name without its folder, to tell sets of the same content apart."""
    if not named_by_folder(name):
        return name
    prefix = next(each for each in PREFIXES if name.startswith(each))
    _, mark, query = name.rpartition("?")
    return prefix + (mark + query if mark and prefix != COCO and _is_side(query) else "")


def short(name: str) -> str:
    """Return a name with the last folder of its path alone, cut to fit file names and tables."""
    if not named_by_folder(name):
        return name
    prefix = next(each for each in PREFIXES if name.startswith(each))
    own = name.removeprefix(prefix).rstrip("/").rpartition("/")[2]
    return prefix + (own if len(own) <= _LONGEST_SHORT else own[: _LONGEST_SHORT - 1] + "…")


def _folder(name: str, path: str) -> Path:
    try:
        folder = user_path(path)
        folder.is_dir()
        os.path.realpath(folder)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"the folder of {escaped(name)!r} cannot be used: {why}", "Name another one."
        ) from None
    return folder


def _is_side(query: str) -> bool:
    return re.fullmatch(r"side=[0-9]{1,9}", query) is not None


def _side(name: str, query: str) -> int:
    if not _is_side(query):
        prefix = next(each for each in PREFIXES if name.startswith(each))
        raise UsageError(
            f"{query!r} in {name!r} is not understood",
            f"Write {prefix}PATH?side=64. A question mark that belongs to the folder's name is "
            "taken as such if the "
            "folder is there.",
        )
    side = int(query.removeprefix("side="))
    if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
        raise UsageError(
            f"side={side} in {name!r} is out of range",
            f"Choose {SMALLEST_SIDE} to {LARGEST_SIDE} pixels.",
        )
    return side
