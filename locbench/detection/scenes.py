"""Images with objects on them: what there is to train and test a detector with."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from locbench.data import decoding
from locbench.data.catalogue import info
from locbench.data.coco.annotations import (
    Annotations,
    BoxKind,
    Category,
    Instance,
    Outline,
    Picture,
    box_kind,
    read_annotations,
)
from locbench.data.coco.described import refuse_other_categories
from locbench.data.coco.layout import NAME, PATTERN, SHAPES, CocoParts, Files, check_files, find_files
from locbench.data.content import content_of
from locbench.data.description import DatasetInfo
from locbench.data.subsets import balanced_order
from locbench.errors import FailureError

__all__ = ["Gallery", "SceneSplit", "Scenes", "load_scenes"]


class Gallery(Protocol):
    """Where images come from; it is sent to worker processes."""

    @property
    def in_memory(self) -> bool:
        """Whether opening an image takes no time, so that no workers are wanted."""

    def opened(self, picture: Picture) -> Image.Image:
        """Open an image, which need not be decoded yet."""

    def path(self, picture: Picture) -> Path:
        """Return its file, for messages."""


@dataclass(frozen=True)
class FileGallery:
    """Images in a folder."""

    folder: Path
    in_memory: bool = False

    def opened(self, picture: Picture) -> Image.Image:
        """Open a file; whatever Pillow raises is for the caller."""
        return decoding.opened(self.path(picture))

    def path(self, picture: Picture) -> Path:
        """Return the file of an image."""
        return self.folder / picture.file_name


@dataclass(frozen=True)
class Scenes:
    """Images and what is on each of them.

    Attributes:
        gallery: where the images come from.
        pictures: the images, in the order of the annotation file.
        objects: of each image.
        categories: in the order of their ids; a detector's class c, from 1, is the one at c - 1.
    """

    gallery: Gallery
    pictures: tuple[Picture, ...]
    objects: tuple[tuple[Instance, ...], ...]
    categories: tuple[Category, ...]

    @classmethod
    def of(cls, gallery: Gallery, found: Annotations) -> Scenes:
        """Return all images of an annotation file."""
        by_image = found.by_image()
        objects = tuple(tuple(by_image[each.id]) for each in found.images)
        categories = tuple(sorted(found.categories, key=lambda each: each.id))
        return cls(gallery, tuple(found.images), objects, categories)

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def class_of(self) -> dict[int, int]:
        """A detector's class by a category's id."""
        return {each.id: number for number, each in enumerate(self.categories, 1)}

    def kept(self, chosen: Sequence[int]) -> Scenes:
        """Return some of the images, by their positions."""
        pictures = tuple(self.pictures[index] for index in chosen)
        return replace(self, pictures=pictures, objects=tuple(self.objects[index] for index in chosen))

    def limited(self, limit: int | None, key: str) -> Scenes:
        """Return a fixed subset of so many images, in which smaller ones nest; None or too many means all."""
        if limit is None or limit >= len(self):
            return self
        order = balanced_order(np.zeros(len(self), dtype=np.int64), key)
        return self.kept([int(index) for index in order[:limit]])

    def learnable(self) -> Scenes:
        """Return the images that hold an object to learn from, as detectors are trained on these alone."""
        return self.kept([index for index, own in enumerate(self.objects) if any(map(learnable, own))])


def learnable(instance: Instance) -> bool:
    """Whether a detector learns from an object: it is no crowd, and not thinner than a pixel."""
    return not instance.iscrowd and min(instance.bbox[2:]) >= 1


def outline_of(instance: Instance, picture: Picture) -> Outline:
    """Return the outline of an object on an image.

    Raises:
        FailureError: it is none, or is of an image of another size.
    """
    found = instance.outline()
    if not isinstance(found, list) and found.size != (picture.height, picture.width):
        raise FailureError(
            f"the segmentation of annotation {instance.id} is of an image of {found.size} pixels",
            f"Mend it: the image has {(picture.height, picture.width)}.",
        )
    return found


@dataclass(frozen=True)
class SceneSplit:
    """A loaded data set.

    Attributes:
        info: its description.
        train: the training images that hold something to learn from.
        test: the validation images, all of them.
        fingerprint: 16 hexadecimal digits over both annotation files and the images' files, before any limit; of COCO
            itself over the annotation files.
    """

    info: DatasetInfo
    train: Scenes
    test: Scenes
    fingerprint: str

    def limited(self, limit: int | None, test_limit: int | None) -> SceneSplit:
        """Return so many images of each part, a fixed subset; None means all.

        Raises:
            FailureError: nothing is on the validation images.
        """
        key = self.info.seed_key or self.info.name
        train, test = self.train.limited(limit, f"{key} train"), self.test.limited(test_limit, f"{key} test")
        if all(each.iscrowd for own in test.objects for each in own):
            raise FailureError(
                f"the {len(test):,} validation images of {self.info.label} hold no object to find, so that there is no "
                "average precision",
                "Test on more images, or annotate objects that are no crowds.",
            )
        return replace(self, train=train, test=test)


def load_scenes(name: str, root: Path, limit: int | None = None, test_limit: int | None = None) -> SceneSplit:
    """Load a data set for detectors: its annotations, and its images if they are drawn.

    Args:
        name: ``coco``, ``coco:PATH`` or ``shapes``.
        root: the folder that holds the data sets.
        limit, test_limit: so many images of a part, a fixed subset; None means all.

    Raises:
        UsageError: the name is none of these.
        FailureError: a folder or an image is missing, an annotation file is no such file or holds an outline that is
            none, or ``coco`` is not the whole of COCO.
    """
    if name == SHAPES:
        from locbench.detection.shapes import drawn_split

        whole = drawn_split(info(name))
    else:
        whole = _read(name, root)
    return whole.limited(limit, test_limit)


def _read(name: str, root: Path) -> SceneSplit:
    parts, described = find_files(name, root), info(name, root)
    check_files(parts)
    train, val = (read_annotations(each.annotations) for each in parts)
    refuse_other_categories(train, val, parts.val.annotations)
    _refuse_other_counts(described, parts, (train, val))
    for files, found in zip(parts, (train, val), strict=True):
        _refuse_missing(files, found)
    scenes = (Scenes.of(FileGallery(files.images), found) for files, found in zip(parts, (train, val), strict=True))
    learned, tested = scenes
    learned = learned.learnable()
    if not learned:
        raise FailureError(f"{parts.train.annotations} holds no object to learn from", "Annotate some, without crowds.")
    _refuse_outlines(parts.train, learned, learnable)
    _refuse_outlines(parts.val, tested, lambda _: True)  # crowds too: they are judged by their outlines
    digest = hashlib.sha256()
    for files in parts:
        digest.update(hashlib.sha256(files.annotations.read_bytes()).digest())
    return SceneSplit(described, learned, tested, content_of(name, root).now or digest.hexdigest()[:16])


def _refuse_other_counts(described: DatasetInfo, parts: CocoParts, found: Sequence[Annotations]) -> None:
    """Refuse files of other sizes than described: their numbers would pass for COCO's, or a class have no place."""
    wanted = (described.train_size, described.test_size)
    for files, own, size in zip(parts, found, wanted, strict=True):
        counts, expected = (len(own.images), len(own.categories)), (size, described.classes)
        if counts != expected:
            raise FailureError(
                f"{files.annotations} holds {counts[0]:,} images and {counts[1]:,} categories, and {described.label} "
                f"has {expected[0]:,} and {expected[1]:,}",
                f"Unpack the whole of COCO, or name the folder as {NAME}:{parts.train.images.parent} ({PATTERN})."
                if described.name == NAME
                else "The file was changed while it was in use: start again.",
            )


def _refuse_outlines(files: Files, scenes: Scenes, wanted: Callable[[Instance], bool]) -> None:
    """Refuse outlines that are none, which would otherwise end a run hours after its start, and boxes elsewhere.

    An outline shows how its box is meant; boxes that are written as left, top, right and bottom would be taken for
    others without a word.
    """
    kinds: Counter[BoxKind] = Counter()
    for picture, own in zip(scenes.pictures, scenes.objects, strict=True):
        for each in filter(wanted, own):
            try:
                kinds[box_kind(each.bbox, outline_of(each, picture), picture)] += 1
            except FailureError as error:
                raise FailureError(f"{files.annotations}: {error.message}", error.remedy) from None
    if kinds["corners"] > kinds["size"]:
        raise FailureError(
            f"{files.annotations}: {kinds['corners']:,} of {kinds.total():,} boxes fit their outlines only as left, "
            "top, right and bottom, where COCO's are left, top, width and height",
            "Write width and height in place of right and bottom.",
        )
    if 2 * kinds["neither"] > kinds.total():
        raise FailureError(
            f"{files.annotations}: {kinds['neither']:,} of {kinds.total():,} boxes are not where their outlines are",
            "Write both in pixels of the image; a box is left, top, width and height.",
        )


def _refuse_missing(files: Files, found: Annotations) -> None:
    """Refuse a part that lacks images: one listing of the folder, where asking for each of 118,287 would take long."""
    there = {each.name for each in files.images.iterdir()}
    lacking = [each for each in found.images if each.file_name not in there]
    lacking = [each for each in lacking if not (files.images / each.file_name).is_file()]
    if lacking:
        more = f" (and {len(lacking) - 1:,} more)" if len(lacking) > 1 else ""
        raise FailureError(
            f"the image {files.images / lacking[0].file_name} is missing{more}",
            f"{files.annotations} names it: unpack the archive of the images again.",
        )
