"""CIFAR-10, CIFAR-100, SVHN and STL-10 as published, read and checked (MD5) by torchvision."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from torchvision import datasets

from locbench.data.arrays import Arrays
from locbench.data.description import DatasetInfo
from locbench.data.presence import OFFICIAL, look
from locbench.errors import FailureError

# What torchvision, pickle and scipy raise on a file that is not what it should be.
_UNREADABLE = (RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError, pickle.UnpicklingError)


def read_official(info: DatasetInfo, root: Path, download: bool) -> tuple[Arrays, Arrays]:
    """Read a published set below ``root``, after downloading what is missing if ``download`` allows it.

    Raises:
        FailureError: the files are missing, cut short or not the published ones, or the download failed.
    """
    seen = look(info, root)
    if seen.state != "ready" and not download:
        raise FailureError(f"{info.label} is {seen.state}: {seen.detail}", seen.how)
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
        found = datasets.SVHN(root / OFFICIAL["svhn"].folder, split=split, download=download)
    else:
        found = _labelled_stl10()(root, split=split, download=download)
    return _arrays(found.data.transpose(0, 2, 3, 1), found.labels)


def _labelled_stl10() -> Any:
    # torchvision insists on the 2.7 GB of unlabelled images, which no paper here uses.
    wanted = [entry for entry in datasets.STL10.train_list if not entry[0].startswith("unlabeled")]
    return type("LabelledSTL10", (datasets.STL10,), {"train_list": wanted})


def _arrays(pixels: Any, labels: Any) -> Arrays:
    return Arrays(np.ascontiguousarray(pixels, dtype=np.uint8), np.asarray(labels, dtype=np.int64))


def _explained(info: DatasetInfo, root: Path, download: bool, error: Exception) -> FailureError:
    seen = look(info, root)
    if seen.state == "ready":
        wrong = _wrong_file(info, root) or root / OFFICIAL[info.name].folder
        return FailureError(
            f"{info.label}: {wrong} is not the published file ({error})",
            f"Delete {wrong} and add --download to the command, or copy it again from {OFFICIAL[info.name].source}.",
        )
    if download:
        source = OFFICIAL[info.name].source
        remedy = f"Check the network, or put the files of {source} in {root / OFFICIAL[info.name].folder}."
        return FailureError(f"{info.label} could not be downloaded: {error}", remedy)
    return FailureError(f"{info.label} is {seen.state}: {seen.detail}", seen.how)


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
    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100, "stl10": datasets.STL10}[name]
    meta = getattr(kind, "meta", None)
    return {**dict(kind.train_list + kind.test_list), **({meta["filename"]: meta["md5"]} if meta else {})}
