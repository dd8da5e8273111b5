"""Data sets that are read into memory, and what every reader returns."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from torchvision import datasets

from locbench.data.subsets import balanced_order
from locbench.datasets.known import DATASETS, DatasetInfo
from locbench.datasets.status import OFFICIAL, check
from locbench.errors import FailureError


class Arrays(NamedTuple):
    """The images of one part: pixels (N, side, side, 3) uint8 and labels (N,) int64."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


Reader = Callable[[DatasetInfo, Path, bool], tuple[Arrays, Arrays]]
"""Reads (train, test) of a data set below a root folder; the flag allows a download."""


def read(info: DatasetInfo, root: Path, *, download: bool) -> tuple[Arrays, Arrays]:
    """Read both parts of a data set into memory, and look whether they are what it says.

    Raises:
        FailureError: the files are missing or damaged, or a plugin's reader gives something else.
    """
    parts = DATASETS.call(info.name, info.reader, info, root, download)
    if not DATASETS.plugin_of(info.name):
        train, test = parts
        return train, test
    try:
        kinds = [np.asarray(pixels).dtype for pixels, _ in parts]
        train, test = (_arrays(*part) for part in parts)
    except (TypeError, ValueError) as error:
        raise _misread(info, f"what it returns is no pair of parts: {error}") from error
    if any(kind != np.uint8 for kind in kinds):
        raise _misread(info, f"its pixels are {' and '.join(map(str, kinds))}, and not uint8")
    for part, size in ((train, info.train_size), (test, info.test_size)):
        shape = (size, info.side, info.side, 3)
        if part.pixels.shape != shape:
            raise _misread(info, f"its pixels are {part.pixels.shape} and not {shape}")
        if part.labels.shape != (size,):
            raise _misread(info, f"its labels are {part.labels.shape} and not {(size,)}")
        if not 0 <= part.labels.min() <= part.labels.max() < info.classes:
            raise _misread(info, f"its labels are not all from 0 to {info.classes - 1}")
    return train, test


def _misread(info: DatasetInfo, fault: str) -> FailureError:
    return FailureError(
        f"the reader of the data set {info.name!r}, of the plugin "
        f"{DATASETS.plugin_of(info.name)!r}: {fault}",
        "Let it return (pixels, labels) of the training and of the test images: bytes of N x side "
        "x side x 3, and N class numbers.",
    )


_TOP_LEVEL = 16


def read_digits(info: DatasetInfo, root: Path, download: bool) -> tuple[Arrays, Arrays]:  # noqa: ARG001 - a reader
    """Read the digits, scaled to ``info.side``, and split off 36 test images of each class."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    labels = digits.target.astype(np.int64)
    # float64: multiples of 1/256 are exact, so that the rounding is the same on every machine.
    levels = torch.from_numpy(digits.images * (255 / _TOP_LEVEL))[:, None]
    scaled = F.interpolate(
        levels, size=(info.side, info.side), mode="bilinear", align_corners=False
    )
    pixels = scaled.round().to(torch.uint8).permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy().copy()
    order = balanced_order(labels, "digits split")
    test, train = np.sort(order[: info.test_size]), np.sort(order[info.test_size :])
    return Arrays(pixels[train], labels[train]), Arrays(pixels[test], labels[test])


# What torchvision, pickle and scipy raise on a file that is not what it should be.
_UNREADABLE = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    pickle.UnpicklingError,
)


def read_official(info: DatasetInfo, root: Path, download: bool) -> tuple[Arrays, Arrays]:
    """Read a published set below ``root``; ``download`` allows to download what is missing.

    Raises:
        FailureError: the files are missing, cut short or not the published ones, or the download
            failed.
    """
    seen = check(info, root)
    if seen.state != "ready" and not download:
        raise FailureError(f"{info.label} is {seen.state}: {seen.detail}", seen.remedy)
    try:
        return _read_part(info, root, True, download), _read_part(info, root, False, download)
    except _UNREADABLE as error:
        raise _explained(info, root, download, error) from error


def _read_part(info: DatasetInfo, root: Path, train: bool, download: bool) -> Arrays:
    if info.name in ("cifar10", "cifar100"):
        kind = datasets.CIFAR10 if info.name == "cifar10" else datasets.CIFAR100
        cifar = kind(root, train=train, download=download)
        return _arrays(cifar.data, cifar.targets)
    split = "train" if train else "test"
    if info.name == "svhn":
        dataset = datasets.SVHN(root / OFFICIAL["svhn"].folder, split=split, download=download)
    else:
        dataset = _labelled_stl10()(root, split=split, download=download)
    return _arrays(dataset.data.transpose(0, 2, 3, 1), dataset.labels)


def _labelled_stl10() -> Any:
    # torchvision insists on the 2.7 GB of unlabelled images, which no paper here uses.
    labelled = [
        entry for entry in datasets.STL10.train_list if not entry[0].startswith("unlabeled")
    ]
    return type("LabelledSTL10", (datasets.STL10,), {"train_list": labelled})


def _arrays(pixels: Any, labels: Any) -> Arrays:
    return Arrays(np.ascontiguousarray(pixels, dtype=np.uint8), np.asarray(labels, dtype=np.int64))


def _explained(info: DatasetInfo, root: Path, download: bool, error: Exception) -> FailureError:
    seen = check(info, root)
    if seen.state == "ready":
        wrong = _wrong_file(info, root) or root / OFFICIAL[info.name].folder
        return FailureError(
            f"{info.label}: {wrong} is not the published file ({error})",
            f"Delete {wrong} and add --download to the command, or copy it again from "
            f"{OFFICIAL[info.name].source}.",
        )
    if download:
        source = OFFICIAL[info.name].source
        folder = root / OFFICIAL[info.name].folder
        remedy = f"Check the network, or put the files of {source} in {folder}."
        return FailureError(f"{info.label} could not be downloaded: {error}", remedy)
    return FailureError(f"{info.label} is {seen.state}: {seen.detail}", seen.remedy)


def _wrong_file(info: DatasetInfo, root: Path) -> Path | None:
    from torchvision.datasets.utils import check_integrity

    folder = root / OFFICIAL[info.name].folder
    for name, md5 in _checksums(info.name).items():
        if name in OFFICIAL[info.name].sizes and not check_integrity(folder / name, md5):
            return folder / name
    return None


def _checksums(name: str) -> dict[str, str]:
    if name == "svhn":
        return {file: md5 for _, file, md5 in datasets.SVHN.split_list.values()}
    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100, "stl10": datasets.STL10}[
        name
    ]
    meta = getattr(kind, "meta", None)
    return {
        **dict(kind.train_list + kind.test_list),
        **({meta["filename"]: meta["md5"]} if meta else {}),
    }
