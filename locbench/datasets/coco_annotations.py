"""COCO's annotation files, read as typed data.

Only what a detector needs is read. A segmentation stays as it is written until its image is wanted.
pycocotools' ``COCO``, on which torchvision's ``CocoDetection`` and its wrapper stand, keeps all of
them as Python objects: of a file like a tenth of COCO's training part (46 MB) it took 267 MB where
this took 86 MB, and 0.9 s where this took 0.2 s (pycocotools 2.0.11). Every process that loads
would copy them, and no fault would be named.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from locbench.errors import FailureError

__all__ = [
    "Annotations",
    "BoxKind",
    "Category",
    "Instance",
    "Picture",
    "RunLengths",
    "Segmentation",
    "box_kind",
    "read_annotations",
]

LARGEST_AREA = 1e10
"""Square pixels; pycocotools passes over larger objects without a word, and over negative areas."""


class Picture(msgspec.Struct, frozen=True, gc=False):
    """An image: its number, its file's name below the folder of images, its size in pixels."""

    id: int
    file_name: str
    height: int
    width: int


class Category(msgspec.Struct, frozen=True, gc=False):
    """A kind of object; COCO's 80 are numbered from 1 to 90 with gaps."""

    id: int
    name: str


class RunLengths(msgspec.Struct, frozen=True):
    """A mask by the lengths of its runs, column by column.

    Counts as text are compressed. ``size`` is (height, width).
    """

    counts: list[int] | str
    size: tuple[int, int]


Segmentation: TypeAlias = list[list[float]] | RunLengths
"""Polygons x1, y1, x2, y2, ... in pixels, or run lengths."""


Box: TypeAlias = tuple[float, float, float, float]

BoxKind: TypeAlias = Literal["size", "corners", "both", "neither"]


class Instance(msgspec.Struct, frozen=True, gc=False):
    """An object on an image.

    Attributes:
        bbox: left, top, width and height in pixels.
        segmentation: its `Segmentation`, as it is written.
        area: of the object in square pixels.
        iscrowd: 1 for a group of objects marked together: no detector learns from it, and none is
            blamed for it.
    """

    id: int
    image_id: int
    category_id: int
    bbox: Box
    segmentation: msgspec.Raw
    area: float
    iscrowd: int = 0

    def parsed_segmentation(self) -> Segmentation:
        """Return the segmentation decoded.

        Raises:
            FailureError: it is neither polygons nor run lengths, or is empty, as where boxes alone
                were annotated.
        """
        try:
            segmentation: Segmentation = msgspec.json.decode(self.segmentation, type=Segmentation)
        except msgspec.MsgspecError as error:
            raise _fault(f"the segmentation of annotation {self.id} is none: {error}") from None
        if segmentation == []:
            raise FailureError(
                f"the segmentation of annotation {self.id} is empty, and detectors learn masks",
                "Export the annotations with outlines, as polygons or run lengths; boxes alone are "
                "not enough.",
            )
        if isinstance(segmentation, RunLengths):
            _refuse_other_length(self.id, segmentation)
        elif any(len(polygon) < 6 or len(polygon) % 2 for polygon in segmentation):
            raise _fault(
                f"the segmentation of annotation {self.id} is no list of polygons of three points "
                "or more"
            )
        return segmentation


class Annotations(msgspec.Struct, frozen=True):
    """What one annotation file says."""

    images: list[Picture]
    annotations: list[Instance]
    categories: list[Category]

    def by_image(self) -> dict[int, list[Instance]]:
        """Return the objects of each image, in the order of the file."""
        objects: dict[int, list[Instance]] = {each.id: [] for each in self.images}
        for each in self.annotations:
            objects[each.image_id].append(each)
        return objects


def read_annotations(path: Path) -> Annotations:
    """Read an annotation file and check that its numbers refer to something.

    Raises:
        FailureError: it cannot be read, is no JSON, has another format, or contradicts itself; the
            message names it.
    """
    try:
        annotations = msgspec.json.decode(path.read_bytes(), type=Annotations)
    except OSError as error:
        raise FailureError(
            f"cannot read {path}: {error.strerror or error}", "Check the file."
        ) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _fault(f"{path} is no annotation file of COCO's: {error}") from None
    fault = _contradiction(annotations)
    if fault:
        raise _fault(f"{path}: {fault}")
    return annotations


def _contradiction(annotations: Annotations) -> str:
    images, categories = (
        {each.id for each in annotations.images},
        {each.id for each in annotations.categories},
    )
    if not images or not categories:
        return f"it has no {'categories' if images else 'images'}"
    if len(images) < len(annotations.images) or len(categories) < len(annotations.categories):
        return "two images or two categories have the same id"
    names = Counter(each.file_name for each in annotations.images)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        return f"{len(twice):,} images are listed twice or more, such as {twice[0]}"
    for each in annotations.annotations:
        if each.image_id not in images:
            return f"annotation {each.id} is of image {each.image_id}, which is not there"
        if each.category_id not in categories:
            return f"annotation {each.id} is of category {each.category_id}, which is not there"
        if each.iscrowd not in (0, 1):
            return f"annotation {each.id} has iscrowd {each.iscrowd}, which is 0 or 1"
        if (
            not 0 <= each.area <= LARGEST_AREA
            or not all(map(math.isfinite, each.bbox))
            or min(each.bbox[2:]) < 0
        ):
            return f"annotation {each.id} has a negative or endless area, width or height"
    return ""


def box_kind(bbox: Box, segmentation: Segmentation, picture: Picture) -> BoxKind:
    """Return whether a box fits its polygons with width and height, or with right and bottom.

    A difference of two pixels, or of a twentieth of the image, is none. What is given as run
    lengths is not judged.
    """
    if isinstance(segmentation, RunLengths):
        return "both"
    xs, ys = (
        [number for polygon in segmentation for number in polygon[axis::2]] for axis in (0, 1)
    )
    bounds = (min(xs), min(ys), max(xs), max(ys))
    left, top, third, fourth = bbox
    near = max(2.0, 0.05 * max(picture.width, picture.height))
    size, corners = (
        all(abs(one - other) <= near for one, other in zip(bounds, box, strict=True))
        for box in ((left, top, left + third, top + fourth), (left, top, third, fourth))
    )
    if size and corners:
        return "both"
    return "size" if size else "corners" if corners else "neither"


def _refuse_other_length(number: int, run_lengths: RunLengths) -> None:
    """Refuse run lengths of another sum than their size, which pycocotools would misread."""
    height, width = run_lengths.size
    counts = (
        run_lengths.counts
        if isinstance(run_lengths.counts, list)
        else _decompressed(number, run_lengths.counts)
    )
    if min(counts, default=-1) < 0 or sum(counts) != height * width:
        raise _fault(
            f"the segmentation of annotation {number} has runs of {sum(counts):,} pixels in all, "
            "and its size is "
            f"{height} x {width}"
        )


def _decompressed(number: int, text: str) -> list[int]:
    """Return the run lengths in pycocotools' compressed text: six bits a character, differences."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise _fault(
                f"the segmentation of annotation {number} has a character that no run lengths have"
            )
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:  # the last one of this number
            value -= (1 << shift) if bits & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise _fault(f"the segmentation of annotation {number} was cut short")
    return counts


def _fault(message: str) -> FailureError:
    return FailureError(
        message, "Unpack annotations_trainval2017.zip again, or write the file in COCO's format."
    )
