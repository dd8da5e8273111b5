"""Class folders, ``<part>/<class>/<image>``: what lies in them, without opening an image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from locbench.data.description import CIFAR10_CLASSES
from locbench.errors import FailureError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})

LAYOUT = "train/<class>/<image> and test/<class>/<image> (or val/<class>/<image>)"


class ImageFile(NamedTuple):
    """One image file: its path below the part, its class by number, its size in bytes, its time of change in ns."""

    path: str
    label: int
    size: int
    changed: int


class Part(NamedTuple):
    """The training or test folder of a set: where it is, its classes in alphabetical order, its files in order."""

    folder: Path
    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]

    def counts(self) -> dict[str, int]:
        """Return the number of images of each class."""
        totals = [0] * len(self.classes)
        for file in self.files:
            totals[file.label] += 1
        return dict(zip(self.classes, totals, strict=True))


def class_names(folder: Path) -> tuple[str, ...]:
    """Return the class folders of a part in alphabetical order; empty where the part is not there."""
    if not folder.is_dir():
        return ()
    return tuple(sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")))


def list_part(folder: Path) -> Part:
    """List the images of a part, by class and then by file name; FailureError where a folder cannot be read."""
    try:
        classes = class_names(folder)
        files = tuple(file for label, name in enumerate(classes) for file in _class_files(folder, name, label))
    except OSError as error:
        raise FailureError(f"{folder} cannot be listed: {error}", "Check that you may read it.") from error
    return Part(folder, classes, files)


def _class_files(folder: Path, name: str, label: int) -> Iterator[ImageFile]:
    with os.scandir(folder / name) as entries:
        # Order by name: what a file system lists first differs between machines.
        for entry in sorted(entries, key=lambda each: each.name):
            if _is_image(entry):
                seen = entry.stat()
                yield ImageFile(f"{name}/{entry.name}", label, seen.st_size, seen.st_mtime_ns)


def _is_image(entry: os.DirEntry[str]) -> bool:
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a Path per file doubles the time of a listing
    return suffix in IMAGE_SUFFIXES and not entry.name.startswith(".") and entry.is_file()


def part_folders(folder: Path) -> tuple[Path, Path]:
    """Return the training and test folder of a set; the test folder is ``test`` or else ``val``."""
    test = folder / "test"
    return folder / "train", test if test.is_dir() or not (folder / "val").is_dir() else folder / "val"


def list_parts(folder: Path) -> tuple[Part, Part]:
    """List both parts of a set and check that they fit together.

    Raises:
        FailureError: a part is not there or empty, a class has no image, or the parts differ in their classes.
    """
    if not folder.is_dir():
        raise FailureError(f"there is no folder {folder}", f"Expected layout: {LAYOUT} in {folder}.")
    train, test = (list_part(each) for each in part_folders(folder))
    for part in (train, test):
        _check_filled(part)
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise FailureError(
            f"{train.folder} and {test.folder} do not hold the same classes; only one has: {', '.join(odd[:5])}",
            "Give both folders one sub-folder per class, with the same names.",
        )
    return train, test


def _check_filled(part: Part) -> None:
    if not part.classes:
        raise FailureError(f"there are no class folders in {part.folder}", f"Expected layout: {LAYOUT}.")
    empty = [name for name, count in part.counts().items() if not count]
    if empty:
        raise FailureError(
            f"{part.folder / empty[0]} holds no image",
            f"Put images in it ({', '.join(sorted(IMAGE_SUFFIXES))}) or remove the folder from both parts.",
        )


def cifar10_jpeg_folder(root: Path) -> Path:
    """Return the folder of the JPEG copy of CIFAR-10: ``<root>/cifar10-jpeg``, or ``root`` if it was unpacked there."""
    documented = root / "cifar10-jpeg"
    if not (documented / "train").is_dir() and class_names(root / "train") == CIFAR10_CLASSES:
        return root
    return documented
