"""``imagefolder:PATH?side=64``: a data set described by a folder of images."""

from __future__ import annotations

from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

from locbench.data.description import DatasetInfo
from locbench.data.layout import Part, list_parts
from locbench.errors import UsageError
from locbench.files import user_path

PREFIX = "imagefolder:"
PATTERN = "imagefolder:PATH"

_FALLBACK_SIDE = 64
_SMALLEST_SIDE, _LARGEST_SIDE = 8, 1024
_JUDGED_PER_CLASS = 16


class FolderName(NamedTuple):
    """A parsed name: the folder, relative to the current one, and the side in pixels where one was given."""

    folder: Path
    side: int | None


def parse(name: str) -> FolderName:
    """Take ``imagefolder:PATH`` or ``imagefolder:PATH?side=64`` apart; UsageError where it is neither."""
    path, mark, query = name.removeprefix(PREFIX).partition("?")
    if not path:
        raise UsageError(f"{name!r} names no folder", f"Write {PATTERN} or {PATTERN}?side=64.")
    return FolderName(user_path(path), _side(name, query) if mark else None)


def _side(name: str, query: str) -> int:
    key, _, value = query.partition("=")
    if key != "side" or not (value.isascii() and value.isdigit()):
        raise UsageError(f"{query!r} in {name!r} is not understood", f"Write {PATTERN}?side=64.")
    if not _SMALLEST_SIDE <= int(value) <= _LARGEST_SIDE:
        raise UsageError(
            f"side={value} in {name!r} is out of range", f"Choose {_SMALLEST_SIDE} to {_LARGEST_SIDE} pixels."
        )
    return int(value)


def folder_info(name: str) -> DatasetInfo:
    """Describe a folder: classes and sizes by counting, the side from the name or from the images.

    Without ``side`` it is the side of the images where they all have one square size (judged on the first 16 of each
    class: opening every file of a large folder takes minutes), else 64. Normalisation, batch and learning rate are
    those of AugLocal's ImageNet recipe (VGG13); padding by an eighth of the side is CIFAR-10's 4 of 32.

    Raises:
        UsageError: the name cannot be parsed.
        FailureError: the folder is not there or not laid out as expected.
    """
    folder, side = parse(name)
    train, test = list_parts(folder)
    side = side or _common_side((train, test)) or _FALLBACK_SIDE
    return DatasetInfo(
        name=name,
        label=f"{folder.resolve().name} ({side} px)",
        classes=len(train.classes),
        side=side,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        pad=side // 8,
        padding="reflect",
        flip=True,
        train_size=len(train.files),
        test_size=len(test.files),
        batch=256,
        lr=0.1,
        seed_key="imagefolder",  # not the name: the subset must not change when the folder is moved
    )


def _common_side(parts: tuple[Part, Part]) -> int | None:
    sizes: set[tuple[int, int]] = set()
    for part in parts:
        for _, files in groupby(part.files, key=lambda file: file.label):
            for file in islice(files, _JUDGED_PER_CLASS):
                size = _image_size(part.folder / file.path)
                if size is not None:
                    sizes.add(size)
                if len(sizes) > 1:
                    return None
    width, height = sizes.pop() if sizes else (0, 0)
    return width if width == height and _SMALLEST_SIDE <= width <= _LARGEST_SIDE else None


def _image_size(path: Path) -> tuple[int, int] | None:
    """Return an image's size, or None if it cannot be opened: those that cannot be decoded are told with their number.

    Pillow is imported here: a set is described in commands that open no image.
    """
    from locbench.data.decoding import UNDECODABLE, opened

    try:
        with opened(path) as image:
            return image.size
    except UNDECODABLE:
        return None
