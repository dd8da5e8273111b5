"""``imagefolder:PATH?side=64``: a data set described by a folder of images."""

from __future__ import annotations

from itertools import groupby, islice
from pathlib import Path

from locbench.data.description import DatasetInfo
from locbench.data.layout import Part, list_parts
from locbench.data.naming import IMAGEFOLDER, folder_title, parse_name

PREFIX = IMAGEFOLDER
PATTERN = f"{PREFIX}PATH"

_FALLBACK_SIDE = 64
_SMALLEST_SIDE, _LARGEST_SIDE = 8, 1024
_JUDGED_PER_CLASS = 16


def folder_info(name: str) -> DatasetInfo:
    """Describe a folder: classes and sizes by counting, the side from the name or from the images.

    Without ``side`` it is the side of the images where they all have one square size (judged on the first 16 of each
    class: opening every file of a large folder takes minutes), else 64. Normalisation, batch and learning rate are
    those of AugLocal's ImageNet recipe (VGG13); padding by an eighth of the side is CIFAR-10's 4 of 32.

    Raises:
        UsageError: the name cannot be parsed.
        FailureError: the folder is not there or not laid out as expected.
    """
    folder, side = parse_name(name)
    train, test = list_parts(folder)
    side = side or _common_side((train, test)) or _FALLBACK_SIDE
    return DatasetInfo(
        name=name,
        label=f"{folder_title(folder)} ({side} px)",
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
