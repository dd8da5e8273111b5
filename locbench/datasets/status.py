"""States of data sets on the disk, and how to get them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from locbench.datasets import coco
from locbench.datasets.class_folders import (
    LAYOUT,
    cifar10_jpeg_folder,
    list_part,
    list_parts,
    part_folders,
)
from locbench.datasets.imagenet import PREFIX, check_parts, find_parts, how_to_get
from locbench.datasets.known import CIFAR10_CLASSES, DATASETS, DatasetInfo
from locbench.datasets.naming import folder_title, parse_name
from locbench.errors import FailureError
from locbench.printable import escaped

State = Literal["ready", "missing", "broken"]


class DatasetStatus(msgspec.Struct, frozen=True):
    """What a look at the disk found.

    Attributes:
        name: the data set.
        label: its name in reports.
        where: the folder that was looked in; empty where none is needed.
        state: ``ready`` (whole), ``missing`` (nothing there) or ``broken`` (there, but not whole).
        detail: what was found or what is wrong, naming the first file at fault.
        remedy: what to do to get it; empty when ready. JSON calls it ``how``.
    """

    name: str
    label: str
    where: str
    state: State
    detail: str
    remedy: str = msgspec.field(name="how")


class OfficialFiles(msgspec.Struct, frozen=True):
    """The files of a published data set: their folder, least bytes and source.

    A file with fewer bytes was cut short. Whether it is the right one is settled by its MD5 when it
    is loaded.
    """

    folder: str
    sizes: dict[str, int]
    source: str


OFFICIAL: dict[str, OfficialFiles] = {
    "cifar10": OfficialFiles(
        "cifar-10-batches-py",
        {
            "data_batch_1": 31_035_704,
            "data_batch_2": 31_035_320,
            "data_batch_3": 31_035_999,
            "data_batch_4": 31_035_696,
            "data_batch_5": 31_035_623,
            "test_batch": 31_035_526,
            "batches.meta": 158,
        },
        "https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    "cifar100": OfficialFiles(
        "cifar-100-python",
        {"train": 5 * 30_720_000, "test": 30_720_000, "meta": 1},  # the pixels alone
        "https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    "svhn": OfficialFiles(
        "svhn",
        {"train_32x32.mat": 182_040_794, "test_32x32.mat": 64_275_384},
        "http://ufldl.stanford.edu/housenumbers/",
    ),
    "stl10": OfficialFiles(
        "stl10_binary",
        {
            "train_X.bin": 138_240_000,
            "train_y.bin": 5_000,
            "test_X.bin": 221_184_000,
            "test_y.bin": 8_000,
        },
        "https://cs.stanford.edu/~acoates/stl10/",
    ),
}


def _seen(
    name: str, label: str, where: str, state: State, detail: str, remedy: str
) -> DatasetStatus:
    """Return a status that every output can hold, whatever bytes the folders' names are of."""
    return DatasetStatus(
        escaped(name), escaped(label), escaped(where), state, escaped(detail), escaped(remedy)
    )


def check(info: DatasetInfo, root: Path) -> DatasetStatus:
    """Look for the data set ``info`` below ``root`` without reading an image."""
    if info.name in OFFICIAL:
        return _official(info, root)
    if info.name == "cifar10-jpeg":
        return _cifar10_jpeg(info, cifar10_jpeg_folder(root))
    if info.name == "digits":
        return _seen(info.name, info.label, "", "ready", "comes with scikit-learn", "")
    if info.name == coco.SHAPES:
        return _seen(info.name, info.label, "", "ready", "drawn when they are wanted", "")
    if plugin := DATASETS.plugin_of(info.name):
        return _seen(info.name, info.label, "", "ready", f"read by the plugin {plugin!r}", "")
    return check_folder(info.name, info.label)


def _official(info: DatasetInfo, root: Path) -> DatasetStatus:
    official = OFFICIAL[info.name]
    folder = root / official.folder
    seen = partial(_seen, info.name, info.label, str(folder))
    remedy = f"Add --download to the command, or put the files of {official.source} in {folder}."
    sizes = {name: _bytes(folder / name) for name in official.sizes}
    if all(size is None for size in sizes.values()):
        return seen("missing", f"no files in {folder}", remedy)
    for name, least in official.sizes.items():
        size = sizes[name]
        if size is None or size < least:
            found = (
                "is not there" if size is None else f"was cut short: {size:,} of {least:,} bytes"
            )
            return seen("broken", f"{folder / name} {found}", remedy)
    return seen("ready", _sizes(info), "")


def _bytes(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _cifar10_jpeg(info: DatasetInfo, folder: Path) -> DatasetStatus:
    seen = partial(_seen, info.name, info.label, str(folder))
    remedy = (
        "Put train/<class>/*.jpg (10 x 5,000) and test/<class>/*.jpg (10 x 1,000) in "
        f"{folder}; not downloadable."
    )
    parts = part_folders(folder)
    if not any(part.is_dir() for part in parts):
        return seen("missing", f"no train or test in {folder}", remedy)
    for part, size in zip(parts, (info.train_size, info.test_size), strict=True):
        counts = list_part(part).counts()
        for name in (*CIFAR10_CLASSES, *counts):
            wanted = size // info.classes if name in CIFAR10_CLASSES else 0
            if counts.get(name, 0) != wanted:
                detail = f"{part / name} holds {counts.get(name, 0):,} images instead of {wanted:,}"
                return seen("broken", detail, remedy)
    return seen("ready", _sizes(info), "")


def check_folder(name: str, label: str = "") -> DatasetStatus:
    """Look at an ``imagefolder:PATH``, which may be missing and so have no description."""
    folder = parse_name(name).folder
    label = label or folder_title(folder)
    try:
        train, test = list_parts(folder)
    except FailureError as error:
        state: State = "broken" if folder.is_dir() else "missing"
        return _seen(name, label, str(folder), state, error.message, f"Lay it out as {LAYOUT}.")
    detail = (
        f"{len(train.files):,} training and {len(test.files):,} test images "
        f"in {len(train.classes):,} classes"
    )
    return _seen(name, label, str(folder), "ready", detail, "")


def check_streamed(name: str, root: Path) -> DatasetStatus:
    """Look at ``imagenet`` or an ``imagenet:PATH``: its class folders, not all of its images."""
    info, parts = DATASETS["imagenet"], find_parts(name, root)
    own, folder = name.startswith(PREFIX), parts.train.parent
    label = folder_title(folder) if own else info.label
    try:
        check_parts(parts, None if own else info.classes)
    except FailureError as error:
        state: State = "broken" if any(each.is_dir() for each in parts) else "missing"
        remedy = error.remedy if state == "broken" else how_to_get(folder)
        return _seen(name, label, str(folder), state, error.message, remedy)
    return _seen(
        name, label, str(folder), "ready", "all classes there" if own else _sizes(info), ""
    )


def check_coco(name: str, root: Path) -> DatasetStatus:
    """Look at ``coco`` or a ``coco:PATH``: its folders and annotation files, not into them."""
    info, parts = DATASETS[coco.NAME], coco.find_files(name, root)
    own, folder = name.startswith(coco.PREFIX), parts.train.images.parent
    label = folder_title(folder) if own else info.label
    try:
        coco.check_files(parts)
    except FailureError as error:
        some = any(each.images.is_dir() or each.annotations.is_file() for each in parts)
        state: State = "broken" if some else "missing"
        return _seen(name, label, str(folder), state, error.message, error.remedy)
    return _seen(
        name, label, str(folder), "ready", "images and annotations there (counted when loaded)", ""
    )


def _sizes(info: DatasetInfo) -> str:
    return f"{info.train_size:,} training and {info.test_size:,} test images"
