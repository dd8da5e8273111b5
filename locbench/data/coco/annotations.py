"""COCO's annotation files, read as typed data; imports neither torch nor numpy.

Only what a detector needs is read. An outline stays as it is written until its image is wanted: those of all 118,287
training images would take gigabytes as Python objects.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import msgspec

from locbench.errors import FailureError

__all__ = ["Annotations", "Category", "Instance", "Outline", "Picture", "RunLengths", "read_annotations"]


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
    """A mask by the lengths of its runs, column by column; compressed if it is text. ``size`` is (height, width)."""

    counts: list[int] | str
    size: tuple[int, int]


Outline: TypeAlias = list[list[float]] | RunLengths
"""Polygons x1, y1, x2, y2, ... in pixels, or run lengths."""


class Instance(msgspec.Struct, frozen=True, gc=False):
    """An object on an image.

    Attributes:
        bbox: left, top, width and height in pixels.
        segmentation: its `Outline`, as it is written.
        area: of the object in square pixels.
        iscrowd: 1 for a group of objects marked together: no detector learns from it, and none is blamed for it.
    """

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    segmentation: msgspec.Raw
    area: float
    iscrowd: int = 0

    def outline(self) -> Outline:
        """Return the outline.

        Raises:
            FailureError: it is neither polygons nor run lengths, or is empty, as where boxes alone were annotated.
        """
        try:
            found: Outline = msgspec.json.decode(self.segmentation, type=Outline)
        except msgspec.MsgspecError as error:
            raise _fault(f"the segmentation of annotation {self.id} is none: {error}") from None
        if found == []:
            raise FailureError(
                f"the segmentation of annotation {self.id} is empty, and detectors learn masks",
                "Export the annotations with outlines, as polygons or run lengths; boxes alone are not enough.",
            )
        if isinstance(found, list) and any(len(each) < 6 or len(each) % 2 for each in found):
            raise _fault(f"the segmentation of annotation {self.id} is no list of polygons of three points or more")
        return found


class Annotations(msgspec.Struct, frozen=True):
    """What one annotation file says."""

    images: list[Picture]
    annotations: list[Instance]
    categories: list[Category]

    def by_image(self) -> dict[int, list[Instance]]:
        """Return the objects of each image, in the order of the file."""
        found: dict[int, list[Instance]] = {each.id: [] for each in self.images}
        for each in self.annotations:
            found[each.image_id].append(each)
        return found


def read_annotations(path: Path) -> Annotations:
    """Read an annotation file and check that its numbers refer to something.

    Raises:
        FailureError: it cannot be read, is no JSON, has another format, or contradicts itself; the message names it.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Annotations)
    except OSError as error:
        raise FailureError(f"cannot read {path}: {error.strerror or error}", "Check the file.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _fault(f"{path} is no annotation file of COCO's: {error}") from None
    fault = _contradiction(found)
    if fault:
        raise _fault(f"{path}: {fault}")
    return found


def _contradiction(found: Annotations) -> str:
    images, categories = {each.id for each in found.images}, {each.id for each in found.categories}
    if not images or not categories:
        return f"it has no {'categories' if images else 'images'}"
    if len(images) < len(found.images) or len(categories) < len(found.categories):
        return "two images or two categories have the same id"
    for each in found.annotations:
        if each.image_id not in images:
            return f"annotation {each.id} is of image {each.image_id}, which is not there"
        if each.category_id not in categories:
            return f"annotation {each.id} is of category {each.category_id}, which is not there"
    return ""


def _fault(message: str) -> FailureError:
    return FailureError(message, "Unpack annotations_trainval2017.zip again, or write the file in COCO's format.")
