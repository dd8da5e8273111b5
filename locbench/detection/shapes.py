"""Drawn circles, squares and triangles in COCO's format, which need no file."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from locbench.datasets.coco_annotations import Annotations, Category, Instance, Picture
from locbench.datasets.known import DatasetInfo
from locbench.detection.dataset import DetectionDataset, DetectionSplit

__all__ = ["DrawnSource", "drawn", "drawn_split"]

CATEGORIES = tuple(
    Category(number, name) for number, name in ((1, "circle"), (2, "square"), (4, "triangle"))
)
"""With a gap in the numbers, as COCO's have."""

CORNERS = {1: 24, 2: 4, 4: 3}
MOST = 3
"""Objects per image, at least one."""
SMALLEST, LARGEST = 0.22, 0.45
"""Diameter of an object as a share of the image's side."""

Point = tuple[float, float]


@dataclass(frozen=True)
class DrawnSource:
    """Images in memory, (N, S, S, 3) uint8; the picture's id is its position."""

    pixels: NDArray[np.uint8]
    in_memory: bool = True

    def opened(self, picture: Picture) -> Image.Image:
        """Return an image."""
        return Image.fromarray(self.pixels[picture.id])

    def path(self, picture: Picture) -> Path:
        """Return a name for messages."""
        return Path(picture.file_name)


def drawn_split(info: DatasetInfo) -> DetectionSplit:
    """Draw the whole data set; it is the same on every machine."""
    parts = [drawn(info.train_size, info.side, "train"), drawn(info.test_size, info.side, "test")]
    digest = hashlib.sha256()
    for source, truth in parts:
        digest.update(source.pixels.tobytes())
        digest.update(msgspec.json.encode(truth))
    train, test = (DetectionDataset.of(*part) for part in parts)
    return DetectionSplit(info, train, test, digest.hexdigest()[:16])


def drawn(count: int, side: int, part: str) -> tuple[DrawnSource, Annotations]:
    """Draw images and say what is on them.

    Args:
        count: number of images.
        side: of an image, in pixels.
        part: names the draws; another part has other images.
    """
    # Both generators' streams are frozen, unlike numpy's newer ones; the noise is the slower to
    # draw.
    draws, noise = Random(f"locbench shapes {part}"), np.random.RandomState(len(part))
    pixels = noise.randint(0, 48, (count, side, side, 3), dtype=np.uint8)
    pixels += noise.randint(0, 96, (count, 1, 1, 3), dtype=np.uint8)
    pictures: list[Picture] = []
    instances: list[Instance] = []
    for index in range(count):
        pictures.append(Picture(index, f"{part}-{index}.png", side, side))
        objects = _draw_shapes(draws, side)
        image = Image.fromarray(pixels[index])
        pen = ImageDraw.Draw(image)
        for category, points in objects:
            colour = (draws.randint(120, 255), draws.randint(120, 255), draws.randint(120, 255))
            pen.polygon(points, fill=colour)
            instances.append(_instance(len(instances) + 1, index, category, points))
        pixels[index] = np.asarray(image)
    return DrawnSource(pixels), Annotations(pictures, instances, list(CATEGORIES))


def _draw_shapes(draws: Random, side: int) -> list[tuple[int, list[Point]]]:
    """Draw the objects of an image: their category and corners.

    Circles about two objects never meet.
    """
    placed: list[tuple[float, float, float]] = []
    objects = []
    for _ in range(draws.randint(1, MOST)):
        radius = side * (SMALLEST + (LARGEST - SMALLEST) * draws.random()) / 2
        for _ in range(20):
            x, y = (radius + (side - 2 * radius) * draws.random() for _ in range(2))
            if all(math.hypot(x - left, y - top) > radius + other for left, top, other in placed):
                placed.append((x, y, radius))
                objects.append((draws.choice(list(CORNERS)), x, y, radius, draws.random()))
                break
    return [
        (category, _corners(CORNERS[category], x, y, radius, turn))
        for category, x, y, radius, turn in objects
    ]


def _corners(count: int, x: float, y: float, radius: float, turn: float) -> list[Point]:
    """Return the corners of a regular polygon, turned by a share of a whole turn."""
    angles = [2 * math.pi * (turn + index / count) for index in range(count)]
    return [
        (round(x + radius * math.cos(each), 2), round(y + radius * math.sin(each), 2))
        for each in angles
    ]


def _instance(number: int, image: int, category: int, points: list[Point]) -> Instance:
    xs, ys = ([point[axis] for point in points] for axis in (0, 1))
    left, top = min(xs), min(ys)
    width, height = max(xs) - left, max(ys) - top
    segmentation = msgspec.Raw(
        msgspec.json.encode([[number for point in points for number in point]])
    )
    following = [*points[1:], points[0]]
    area = abs(sum(x * v - u * y for (x, y), (u, v) in zip(points, following, strict=True))) / 2
    return Instance(number, image, category, (left, top, width, height), segmentation, area)
