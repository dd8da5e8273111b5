"""Images with objects on them, to train and test a detector with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from locbench.data.subsets import balanced_order
from locbench.datasets import image_files as decoding
from locbench.datasets.coco_annotations import (
    Annotations,
    Category,
    Instance,
    Picture,
    Segmentation,
)
from locbench.datasets.known import DatasetInfo
from locbench.errors import FailureError

__all__ = ["DetectionDataset", "DetectionSplit", "ImageSource"]


class ImageSource(Protocol):
    """Where images come from; it is sent to worker processes."""

    @property
    def in_memory(self) -> bool:
        """Whether opening an image takes no time, so that no workers are wanted."""

    def opened(self, picture: Picture) -> Image.Image:
        """Open an image, which need not be decoded yet."""

    def path(self, picture: Picture) -> Path:
        """Return its file, for messages."""


@dataclass(frozen=True)
class FolderSource:
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
class DetectionDataset:
    """Images and what is on each of them.

    Attributes:
        source: where the images come from.
        pictures: the images, in the order of the annotation file.
        objects: of each image.
        categories: in the order of their ids; a detector's class c, from 1, is the one at c - 1.
    """

    source: ImageSource
    pictures: tuple[Picture, ...]
    objects: tuple[tuple[Instance, ...], ...]
    categories: tuple[Category, ...]

    @classmethod
    def of(cls, source: ImageSource, annotations: Annotations) -> DetectionDataset:
        """Return all images of an annotation file."""
        by_image = annotations.by_image()
        objects = tuple(tuple(by_image[image.id]) for image in annotations.images)
        categories = tuple(sorted(annotations.categories, key=lambda category: category.id))
        return cls(source, tuple(annotations.images), objects, categories)

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def class_of(self) -> dict[int, int]:
        """A detector's class by a category's id."""
        return {each.id: number for number, each in enumerate(self.categories, 1)}

    def kept(self, chosen: Sequence[int]) -> DetectionDataset:
        """Return some of the images, by their positions."""
        pictures = tuple(self.pictures[index] for index in chosen)
        return replace(
            self, pictures=pictures, objects=tuple(self.objects[index] for index in chosen)
        )

    def limited(self, limit: int | None, key: str) -> DetectionDataset:
        """Return a fixed subset of so many images, in which smaller ones nest.

        None or too many means all.
        """
        if limit is None or limit >= len(self):
            return self
        order = balanced_order(np.zeros(len(self), dtype=np.int64), key)
        return self.kept([int(index) for index in order[:limit]])

    def trainable(self) -> DetectionDataset:
        """Return the images that hold an object to learn from; detectors are trained on these."""
        return self.kept(
            [index for index, own in enumerate(self.objects) if any(map(trainable, own))]
        )


def trainable(instance: Instance) -> bool:
    """Whether a detector learns from an object: it is no crowd, and not thinner than a pixel."""
    return not instance.iscrowd and min(instance.bbox[2:]) >= 1


def segmentation_of(instance: Instance, picture: Picture) -> Segmentation:
    """Return the segmentation of an object on an image.

    Raises:
        FailureError: it is none, or is of an image of another size.
    """
    segmentation = instance.parsed_segmentation()
    if not isinstance(segmentation, list) and segmentation.size != (picture.height, picture.width):
        raise FailureError(
            f"the segmentation of annotation {instance.id} is of an image of {segmentation.size} "
            "pixels",
            f"Mend it: the image has {(picture.height, picture.width)}.",
        )
    return segmentation


@dataclass(frozen=True)
class DetectionSplit:
    """A loaded data set.

    Attributes:
        info: its description.
        train: the training images that hold something to learn from.
        test: the validation images, all of them.
        fingerprint: 16 hexadecimal digits over both annotation files and the images' files, before
            any limit; of COCO itself over the annotation files.
    """

    info: DatasetInfo
    train: DetectionDataset
    test: DetectionDataset
    fingerprint: str

    def limited(self, limit: int | None, test_limit: int | None) -> DetectionSplit:
        """Return so many images of each part, a fixed subset; None means all.

        Raises:
            FailureError: nothing is on the validation images.
        """
        key = self.info.seed_key or self.info.name
        train, test = (
            self.train.limited(limit, f"{key} train"),
            self.test.limited(test_limit, f"{key} test"),
        )
        if all(each.iscrowd for own in test.objects for each in own):
            raise FailureError(
                f"the {len(test):,} validation images of {self.info.label} hold no object to find, "
                "so that there is no "
                "average precision",
                "Test on more images, or annotate objects that are no crowds.",
            )
        return replace(self, train=train, test=test)
