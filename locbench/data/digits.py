"""scikit-learn's handwritten digits: 1,797 real 8x8 images that need no download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from locbench.data.arrays import Arrays
from locbench.data.description import DatasetInfo
from locbench.data.subsets import balanced_order

_TOP_LEVEL = 16


def read_digits(info: DatasetInfo, root: Path, download: bool) -> tuple[Arrays, Arrays]:  # noqa: ARG001 - a reader
    """Read the digits, upscaled bilinearly to ``info.side``, and split off 36 test images of each class."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    labels = digits.target.astype(np.int64)
    # float64: multiples of 1/256 are exact, so that the rounding is the same on every machine.
    levels = torch.from_numpy(digits.images * (255 / _TOP_LEVEL))[:, None]
    scaled = F.interpolate(levels, size=(info.side, info.side), mode="bilinear", align_corners=False)
    pixels = scaled.round().to(torch.uint8).permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy().copy()
    order = balanced_order(labels, "digits split")
    test, train = np.sort(order[: info.test_size]), np.sort(order[info.test_size :])
    return Arrays(pixels[train], labels[train]), Arrays(pixels[test], labels[test])
