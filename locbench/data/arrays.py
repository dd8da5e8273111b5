"""What every reader of a data set returns, and the readers by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from locbench.data.description import DatasetInfo
from locbench.registry import Registry


class Arrays(NamedTuple):
    """The images of one part: pixels (N, side, side, 3) uint8 and labels (N,) int64."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


Reader = Callable[[DatasetInfo, Path, bool], tuple[Arrays, Arrays]]
"""Reads (train, test) of a data set below a root folder; the flag allows a download."""

READERS: Registry[Reader] = Registry("data set")
READERS.add_lazy("digits", "locbench.data.digits:read_digits")
READERS.add_lazy("cifar10", "locbench.data.official:read_official")
READERS.add_lazy("cifar100", "locbench.data.official:read_official")
READERS.add_lazy("svhn", "locbench.data.official:read_official")
READERS.add_lazy("stl10", "locbench.data.official:read_official")
READERS.add_lazy("cifar10-jpeg", "locbench.data.folders:read_cifar10_jpeg")
READERS.add_lazy("imagefolder", "locbench.data.folders:read_imagefolder")
