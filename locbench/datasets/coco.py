"""Where the files of COCO lie, and whether they are there.

The layout is the one that COCO's archives unpack to: ``train2017/*.jpg``, ``val2017/*.jpg`` and
``annotations/instances_{train,val}2017.json``. Without the year the same names are found too.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from locbench.datasets.coco_annotations import Annotations, read_annotations
from locbench.datasets.known import DATASETS, DatasetInfo
from locbench.datasets.naming import COCO, folder_title, parse_name
from locbench.errors import FailureError

__all__ = [
    "NAME",
    "PATTERN",
    "PREFIX",
    "SHAPES",
    "CocoPart",
    "CocoParts",
    "check_files",
    "find_files",
    "holds_boxes",
]

NAME = "coco"

PREFIX = COCO

PATTERN = f"{PREFIX}PATH"

SHAPES = "shapes"
"""The embedded set of drawn shapes, in the same format."""

SOURCE = "https://cocodataset.org/#download"

_YEARS = ("2017", "")


class CocoPart(NamedTuple):
    """One part of a set: the folder of its images, and the file that says what is on them."""

    images: Path
    annotations: Path


class CocoParts(NamedTuple):
    """The training and the validation part."""

    train: CocoPart
    val: CocoPart


def holds_boxes(name: str) -> bool:
    """Return whether a data set is one of objects on images, for detectors."""
    return name in (NAME, SHAPES) or name.startswith(PREFIX)


def how_to_get(folder: Path) -> str:
    """Return in words how COCO comes to be in a folder."""
    return (
        f"Unpack train2017.zip, val2017.zip and annotations_trainval2017.zip of {SOURCE} (no "
        "--download) to "
        f"train2017/, val2017/ and annotations/ in {folder}; {PATTERN} names any other folder of "
        "that layout."
    )


def find_files(name: str, root: Path) -> CocoParts:
    """Return where the files of ``coco`` or ``coco:PATH`` are, or should be.

    Raises:
        UsageError: ``coco:`` names no folder.
    """
    folder = root / NAME
    if name.startswith(PREFIX):
        folder = parse_name(name).folder
    return CocoParts(_files(folder, "train"), _files(folder, "val"))


def _files(folder: Path, part: str) -> CocoPart:
    for year in _YEARS:
        files = CocoPart(
            folder / f"{part}{year}", folder / "annotations" / f"instances_{part}{year}.json"
        )
        if files.images.is_dir() or files.annotations.is_file():
            return files
    return CocoPart(folder / f"{part}2017", folder / "annotations" / f"instances_{part}2017.json")


def check_files(parts: CocoParts) -> None:
    """Look whether the folders and files of a set are there, without reading them.

    Raises:
        FailureError: something is not there; the message names it.
    """
    remedy = how_to_get(parts.train.images.parent)
    for files in parts:
        if not files.images.is_dir():
            raise FailureError(f"there is no folder {files.images}", remedy)
        if not files.annotations.is_file():
            raise FailureError(f"there is no file {files.annotations}", remedy)


@lru_cache(maxsize=8)
def coco_info(name: str) -> DatasetInfo:
    """Describe ``coco:PATH``: its own categories and sizes, the rest as COCO.

    Raises:
        UsageError: the name names no folder.
        FailureError: the folder is not laid out as COCO, or an annotation file is no such file.
    """
    parts = find_files(name, Path())
    check_files(parts)
    train, val = (read_annotations(each.annotations) for each in parts)
    refuse_other_categories(train, val, parts.val.annotations)
    folder = parts.train.images.parent
    return msgspec.structs.replace(
        DATASETS[NAME],
        name=name,
        seed_key=NAME,  # not the name: the subset must not change when the folder is moved
        label=f"{folder_title(folder)} (as COCO)",
        classes=len(train.categories),
        train_size=len(train.images),
        test_size=len(val.images),
    )


def refuse_other_categories(train: Annotations, val: Annotations, path: Path) -> None:
    """Refuse a validation part with other categories than the training part.

    Raises:
        FailureError: they differ.
    """
    if {each.id for each in train.categories} != {each.id for each in val.categories}:
        raise FailureError(
            f"{path} has other categories than the training part",
            "Give both annotation files the same categories.",
        )
