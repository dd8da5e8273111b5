"""Class folders, ``<part>/<class>/<image>``, listed without opening an image.

They are listed in the order of torchvision's ``ImageFolder``, which itself does not do: it imports
torch, where lists and descriptions are shown without it; it gives no sizes and times, by which
changed files are noticed; and it follows a link to a folder above again and again, takes hidden
files for images, and lists a link that leads nowhere as an image.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

from locbench.datasets.known import CIFAR10_CLASSES, DatasetInfo
from locbench.datasets.naming import (
    IMAGEFOLDER,
    LARGEST_SIDE,
    SMALLEST_SIDE,
    folder_title,
    parse_name,
)
from locbench.errors import FailureError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
)

_NAMED = 5

LAYOUT = "train/<class>/<image> and test/<class>/<image> (or val/<class>/<image>)"


class ImageFile(NamedTuple):
    """One image file.

    Attributes:
        path: below the part.
        label: its class by number.
        size: in bytes.
        state: inode, time of the content's change and time of any change in ns. The last one cannot
            be set, so that a file that was replaced with its old time (``cp -p``) shows itself.
    """

    path: str
    label: int
    size: int
    state: tuple[int, int, int]


class FolderPart(NamedTuple):
    """The training or test folder of a set, its classes in alphabetical order, and its files."""

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
    """Return the class folders of a part in alphabetical order.

    Empty where the part is not there.
    """
    if not folder.is_dir():
        return ()
    found = [each for each in folder.iterdir() if not each.name.startswith(".")]
    _refuse_unusable(folder, [each.name for each in found if _leads_nowhere(each)])
    return tuple(sorted(each.name for each in found if each.is_dir()))


def list_part(folder: Path) -> FolderPart:
    """List the images of a part by class, sub-folders included, in torchvision's order.

    Raises:
        FailureError: a folder cannot be read, or a link leads nowhere.
    """
    files: list[ImageFile] = []
    unusable: list[str] = []
    try:
        classes = class_names(folder)
        for label, name in enumerate(classes):
            for path, entry in _class_entries(folder, name):
                if entry.is_file():
                    seen = entry.stat()
                    state = (seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns)
                    files.append(ImageFile(path, label, seen.st_size, state))
                else:
                    unusable.append(path)
    except OSError as error:
        raise FailureError(
            f"{folder} cannot be listed: {error}", "Check that you may read it."
        ) from error
    _refuse_unusable(folder, unusable)
    return FolderPart(folder, classes, tuple(files))


def holds_image(folder: Path) -> bool:
    """Return whether a class folder or one below it holds an image, without listing all.

    OSError if unreadable.
    """
    return next(_class_entries(folder.parent, folder.name), None) is not None


def _class_entries(folder: Path, name: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield what is named as an image in a class folder and below, in torchvision's order.

    Folders are ordered by their paths and images by their names: what a file system lists first
    differs between machines. Hidden ones are left out, and so is a link to a folder that it lies
    in.
    """
    waiting = [(name, frozenset[tuple[int, int]]())]
    while waiting:
        own, above = heapq.heappop(waiting)  # the first of all paths: "a/b c" comes before "a/b/d"
        seen = (folder / own).stat()
        if (seen.st_dev, seen.st_ino) in above:
            continue
        above |= {(seen.st_dev, seen.st_ino)}
        with os.scandir(folder / own) as listed:
            entries = sorted(
                (each for each in listed if not each.name.startswith(".")),
                key=lambda each: each.name,
            )
        below = [each for each in entries if each.is_dir()]
        yield from ((f"{own}/{each.name}", each) for each in entries if _looks_like_image(each))
        for each in below:
            heapq.heappush(waiting, (f"{own}/{each.name}", above))


def _looks_like_image(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is named as an image, or is a dead link that might have led to some."""
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a Path per file doubles the time of a listing
    if suffix in IMAGE_SUFFIXES:
        return not entry.is_dir()
    return not suffix and entry.is_symlink() and not Path(entry.path).exists()


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _refuse_unusable(folder: Path, names: Sequence[str]) -> None:
    if names:
        more = f", and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        raise FailureError(
            f"{len(names):,} of the names in {folder} are links that lead nowhere, or no files: "
            f"{', '.join(names[:_NAMED])}{more}",
            "Mend these links, or take them away; no image is left out silently.",
        )


def part_folders(folder: Path) -> tuple[Path, Path]:
    """Return the training and test folder of a set; the test folder is ``test`` or else ``val``."""
    test = folder / "test"
    return folder / "train", test if test.is_dir() or not (
        folder / "val"
    ).is_dir() else folder / "val"


def list_parts(folder: Path) -> tuple[FolderPart, FolderPart]:
    """List both parts of a set and check that they fit together.

    Raises:
        FailureError: a part is not there or empty, a class has no image, or the parts differ in
            their classes.
    """
    if not folder.is_dir():
        raise FailureError(
            f"there is no folder {folder}", f"Expected layout: {LAYOUT} in {folder}."
        )
    train, test = (list_part(each) for each in part_folders(folder))
    for part in (train, test):
        _check_filled(part)
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise FailureError(
            f"{train.folder} and {test.folder} do not hold the same classes; only one has: "
            f"{', '.join(odd[:5])}",
            "Give both folders one sub-folder per class, with the same names.",
        )
    return train, test


def _check_filled(part: FolderPart) -> None:
    if not part.classes:
        raise FailureError(
            f"there are no class folders in {part.folder}", f"Expected layout: {LAYOUT}."
        )
    if len(part.classes) == 1:
        raise FailureError(
            f"{part.folder} holds one class folder, {part.classes[0]}, which leaves nothing to "
            "tell apart",
            f"Put the images of every class in a folder of their own: {LAYOUT}.",
        )
    empty = [name for name, count in part.counts().items() if not count]
    if empty:
        raise FailureError(
            f"{part.folder / empty[0]} holds no image",
            f"Put images in it ({', '.join(sorted(IMAGE_SUFFIXES))}) or remove the folder from "
            "both parts.",
        )


def cifar10_jpeg_folder(root: Path) -> Path:
    """Return the folder of CIFAR-10's JPEG copy: ``<root>/cifar10-jpeg``, or ``root`` itself."""
    documented = root / "cifar10-jpeg"
    if not (documented / "train").is_dir() and class_names(root / "train") == CIFAR10_CLASSES:
        return root
    return documented


PREFIX = IMAGEFOLDER

PATTERN = f"{PREFIX}PATH"

_FALLBACK_SIDE = 64


_JUDGED_PER_CLASS = 16


def folder_info(name: str) -> DatasetInfo:
    """Describe a folder: classes and sizes by counting, the side from the name or from the images.

    Without ``side`` it is the side of the images where they all have one square size (judged on the
    first 16 of each class: opening every file of a large folder takes minutes), else 64.
    Normalisation, batch and learning rate are those of AugLocal's ImageNet recipe (VGG13); padding
    by an eighth of the side is CIFAR-10's 4 of 32.

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
        reader="locbench.data.decoded_folders:read_imagefolder",
    )


def _common_side(parts: tuple[FolderPart, FolderPart]) -> int | None:
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
    return width if width == height and SMALLEST_SIDE <= width <= LARGEST_SIDE else None


def _image_size(path: Path) -> tuple[int, int] | None:
    """Return an image's size, or None if it cannot be opened, which is told elsewhere.

    Pillow is imported here: a set is described in commands that open no image.
    """
    from locbench.datasets.image_files import UNDECODABLE, opened

    try:
        with opened(path) as image:
            return image.size
    except UNDECODABLE:
        return None
