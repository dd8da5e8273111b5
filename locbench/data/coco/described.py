"""``coco:PATH``: a data set described by its annotation files; imports neither torch nor numpy."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import msgspec

from locbench.data.coco.annotations import Annotations, read_annotations
from locbench.data.coco.layout import NAME, check_files, find_files
from locbench.data.description import KNOWN, DatasetInfo
from locbench.data.naming import folder_title
from locbench.errors import FailureError


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
        KNOWN[NAME],
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
            f"{path} has other categories than the training part", "Give both annotation files the same categories."
        )
