"""Data sets by name, and whether they are there."""

from __future__ import annotations

import os
from pathlib import Path

from locbench.datasets import coco
from locbench.datasets import imagenet as layout
from locbench.datasets.class_folders import PATTERN, PREFIX, folder_info
from locbench.datasets.coco import coco_info
from locbench.datasets.known import DATASETS, DatasetInfo
from locbench.datasets.status import DatasetStatus, check, check_coco, check_folder, check_streamed
from locbench.errors import UsageError
from locbench.files import user_path
from locbench.registry import suggestion

__all__ = [
    "DatasetInfo",
    "DatasetStatus",
    "all_statuses",
    "default_root",
    "info",
    "names",
    "resolve",
    "status",
]


def default_root() -> Path:
    """Return the folder of the data sets: ``$LOCBENCH_DATA``, or ``.data`` in the current one."""
    return user_path(os.environ.get("LOCBENCH_DATA") or ".data")


def names() -> list[str]:
    """Return the names of the known data sets.

    ``imagefolder:``, ``imagenet:`` and ``coco:PATH`` come on top.
    """
    return list(DATASETS)


def info(name: str) -> DatasetInfo:
    """Describe a data set; only one that is named by its PATH is looked at on the disk.

    Args:
        name: a known name, ``imagefolder:PATH`` or ``imagefolder:PATH?side=64`` (PATH relative to
            the current folder); ``imagenet:PATH`` and ``imagenet:PATH?side=64`` are read from files
            while a network trains, and so is ``coco:PATH``, a set for detectors.

    Raises:
        UsageError: there is no such data set (with the closest names).
        FailureError: the folder that is named is missing or laid out otherwise.
    """
    if name.startswith(layout.PREFIX):
        return layout.layout_info(name)
    if name.startswith(PREFIX):
        return folder_info(name)
    if name.startswith(coco.PREFIX):
        return coco_info(name)
    if name not in DATASETS:
        raise UsageError(
            f"unknown data set {name!r}",
            suggestion(name, [*DATASETS, PATTERN, layout.PATTERN, coco.PATTERN]),
        )
    return DATASETS[name]


def kind_of(name: str) -> str:
    """Return a known name, or the prefix of one with a PATH; the disk is not looked at.

    Raises:
        UsageError: there is no such data set.
    """
    prefixes = (PREFIX, layout.PREFIX, coco.PREFIX)
    return next((each for each in prefixes if name.startswith(each)), None) or info(name).name


def resolve(name: str, root: Path) -> str:
    """Return the variant that is there: ``cifar10-jpeg`` for ``cifar10`` where only that one is.

    A partly downloaded official set stays ``cifar10``, so that its fault is shown and not worked
    around.
    """
    if name != "cifar10" or status(name, root).state != "missing":
        return name
    return name if status("cifar10-jpeg", root).state == "missing" else "cifar10-jpeg"


def status(name: str, root: Path) -> DatasetStatus:
    """Look whether a data set is below ``root`` and whole (file sizes, images per class).

    UsageError if unknown.
    """
    if name.startswith(PREFIX):
        return check_folder(name)
    if layout.streams(name):
        return check_streamed(name, root)
    if coco.holds_boxes(name) and name != coco.SHAPES:
        return check_coco(name, root)
    return check(info(name), root)


def all_statuses(root: Path) -> list[DatasetStatus]:
    """Look at every known data set, in alphabetical order."""
    return [status(name, root) for name in names()]
