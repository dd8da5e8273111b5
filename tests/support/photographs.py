"""Pieces of scikit-learn's two photographs: images with the statistics of real ones."""

import functools

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor

_photos = functools.cache(lambda: load_sample_images().images)


def photographs(count: int, height: int, width: int | None = None) -> Tensor:
    """Return (count, height, width, 3) uint8."""
    width, draws = width or height, np.random.default_rng(0)
    pieces = []
    for index in range(count):
        photo = _photos()[index % 2]
        top, left = draws.integers(photo.shape[0] - height), draws.integers(photo.shape[1] - width)
        pieces.append(photo[top : top + height, left : left + width])
    return torch.from_numpy(np.stack(pieces))
