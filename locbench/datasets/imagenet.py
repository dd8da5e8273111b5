"""Where ImageNet's files lie, and whether they are whole.

torchvision's layout is expected: ``train/<class>/*.JPEG`` and ``val/<class>/*.JPEG``. The names
that the archives of ILSVRC 2012 unpack to are found too.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from locbench.datasets.class_folders import FolderPart, class_names, holds_image, list_part
from locbench.datasets.known import DATASETS, DatasetInfo
from locbench.datasets.naming import IMAGENET, folder_title, parse_name
from locbench.errors import FailureError

__all__ = [
    "PATTERN",
    "PREFIX",
    "PartFolders",
    "check_parts",
    "find_parts",
    "layout_info",
    "list_images",
]

NAME = "imagenet"

PREFIX = IMAGENET

PATTERN = f"{PREFIX}PATH"

_BASES = (
    NAME,
    "ILSVRC2012",
    "ILSVRC/Data/CLS-LOC",
    f"{NAME}/ILSVRC/Data/CLS-LOC",
    f"{NAME}/Data/CLS-LOC",
)

_TRAIN = ("train", "ILSVRC2012_img_train")

_VAL = ("val", "ILSVRC2012_img_val")

_OWN_VAL = (*_VAL, "test")
"""In a folder of one's own; ILSVRC's test images have no labels."""

SOURCE = "https://image-net.org/download-images"

UNSORTED = (
    "Move every validation image into a folder of its class, as "
    "https://raw.githubusercontent.com/soumith/imagenetloader.torch/master/valprep.sh does for "
    "ILSVRC 2012."
)


class PartFolders(NamedTuple):
    """The folders of the training and the validation images."""

    train: Path
    val: Path


def how_to_get(folder: Path) -> str:
    """Return in words how ImageNet comes to be in a folder."""
    return (
        f"Put ILSVRC 2012 of {SOURCE} (free for research, with an account; no --download) in "
        f"{folder}, unpacked to "
        "train/<class>/*.JPEG and val/<class>/*.JPEG, or a link to such a folder."
    )


def streams(name: str) -> bool:
    """Return whether the images of a data set are read from files while a network trains."""
    return name == NAME or name.startswith(PREFIX)


def find_parts(name: str, root: Path) -> PartFolders:
    """Return where the images of ``imagenet`` or ``imagenet:PATH`` are, or should be."""
    if name.startswith(PREFIX):
        return _parts(parse_name(name).folder, _OWN_VAL)
    found = (_parts(root / base) for base in _BASES)
    return next(
        (parts for parts in found if parts.train.is_dir() or parts.val.is_dir()),
        _parts(root / NAME),
    )


def _parts(folder: Path, vals: tuple[str, ...] = _VAL) -> PartFolders:
    train, val = (
        next((folder / each for each in names if (folder / each).is_dir()), folder / names[0])
        for names in (_TRAIN, vals)
    )
    return PartFolders(train, val)


@lru_cache(maxsize=8)
def layout_info(name: str) -> DatasetInfo:
    """Describe ``imagenet:PATH``: its own classes and sizes, the rest as ImageNet.

    Raises:
        UsageError: the name cannot be parsed.
        FailureError: the folder is not there or not laid out as expected.
    """
    folder, side = parse_name(name)
    train, val = list_images(DATASETS[NAME], name, Path())
    return msgspec.structs.replace(
        DATASETS[NAME],
        name=name,
        seed_key=NAME,  # not the name: the subset must not change when the folder is moved
        label=f"{folder_title(folder)} (as ImageNet)",
        classes=len(train.classes),
        side=side or DATASETS[NAME].side,
        train_size=len(train.files),
        test_size=len(val.files),
    )


def list_images(info: DatasetInfo, name: str, root: Path) -> tuple[FolderPart, FolderPart]:
    """List all training and validation images; classes are numbered in their folders' order.

    Raises:
        FailureError: a part, a class or an image of ``imagenet`` is not there.
    """
    parts = find_parts(name, root)
    own = name.startswith(PREFIX)
    check_parts(parts, None if own else info.classes)
    train, val = list_part(parts.train), list_part(parts.val)
    for part, wanted in ((train, info.train_size), (val, info.test_size)):
        if not own and len(part.files) != wanted:
            raise FailureError(
                f"{part.folder} holds {len(part.files):,} images instead of {wanted:,}",
                f"Unpack its archive again. A selection of ImageNet is called {PATTERN}.",
            )
    return train, val


def check_parts(parts: PartFolders, classes: int | None) -> None:
    """Check that both parts have the same classes with images in them, without listing all.

    Args:
        parts: the folders.
        classes: how many classes there must be; None for any number.

    Raises:
        FailureError: something is not there; the message names it.
    """
    how = how_to_get(parts.train.parent)
    for folder in parts:
        if not folder.is_dir():
            raise FailureError(f"there is no folder {folder}", how)
    train, val = (class_names(folder) for folder in parts)
    if train and not val:
        raise FailureError(f"there are no class folders in {parts.val}", UNSORTED)
    for folder, odd in (
        (parts.val, sorted({*train} - {*val})),
        (parts.train, sorted({*val} - {*train})),
    ):
        if odd:
            more = f" (and {len(odd) - 1:,} more)" if len(odd) > 1 else ""
            raise FailureError(
                f"the class folder {folder / odd[0]} is missing{more}",
                f"{folder}: unpack its archive again.",
            )
    if len(train) != (classes or max(2, len(train))):
        wanted = f"{classes:,}" if classes else "two or more"
        raise FailureError(
            f"{parts.train} holds {len(train):,} class folders instead of {wanted}", how
        )
    _check_filled(parts, train)


def _check_filled(parts: PartFolders, classes: tuple[str, ...]) -> None:
    for folder in (part / name for part in parts for name in classes):
        if not _holds_image(folder):
            raise FailureError(f"{folder} holds no image", "Unpack its archive again.")


def _holds_image(folder: Path) -> bool:
    try:
        return holds_image(folder)
    except OSError as error:
        raise FailureError(
            f"{folder} cannot be listed: {error}", "Check that you may read it."
        ) from error
