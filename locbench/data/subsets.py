"""Balanced orders of images, behind ``limit``. Numpy to order alone."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def balanced_order(labels: NDArray[np.int64], key: str) -> NDArray[np.int64]:
    """Return the images in a fixed order whose every prefix is class-balanced.

    Each class is permuted on its own, then the classes take turns; a class that runs out is passed
    over.

    Args:
        labels: (N,) class of each image.
        key: names the permutation; the same key and labels give the same order.

    Returns:
        (N,) positions of the images.
    """
    import numpy as np

    # RandomState's streams are frozen by numpy's compatibility policy; those of default_rng are
    # not.
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
    draws = np.random.RandomState(seed)
    turn = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        turn[members] = draws.permutation(len(members))
    order: NDArray[Any] = np.lexsort((labels, turn))
    return order.astype(np.int64)
