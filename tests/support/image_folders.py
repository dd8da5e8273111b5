"""Small folders of drawn images, in classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 16


def make(folder: Path, classes: tuple[str, ...] = ("a", "b"), test: str = "test") -> Path:
    draws = np.random.default_rng(0)
    for part in ("train", test):
        for name in classes:
            (folder / part / name).mkdir(parents=True)
            for number in range(3):
                pixels = draws.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    return folder
