"""Batches for a detector: images of any size, decoded by workers, with boxes, classes and masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from locbench.data.batches import epoch_seed
from locbench.data.decoding import worker_count
from locbench.data.loading import Crew, fitted
from locbench.datasets.coco_annotations import Instance, Picture, RunLengths
from locbench.datasets.image_files import UNDECODABLE, as_rgb, damage_of, undecodable
from locbench.detection.dataset import Scenes, learnable, outline_of
from locbench.errors import FailureError
from locbench.spec.recipe import images_per_epoch

Target = dict[str, Tensor]
"""``boxes`` (N, 4) float32 left, top, right, bottom in pixels; ``labels`` (N,) int64.

``masks`` (N, H, W) uint8.
"""


@dataclass(frozen=True)
class Sample:
    """An image, (3, H, W) uint8, and what a detector is to find on it.

    Nothing where it is only tested.
    """

    image: Tensor
    target: Target


def training_samples(
    scenes: Scenes, batch_size: int, *, seed: int, epoch: int, flip: bool, drop_last: bool = False
) -> Iterator[list[Sample]]:
    """Yield one epoch of shuffled batches on the CPU; ``drop_last`` leaves out an incomplete last
    one of several.

    The order and which images are mirrored follow from ``(seed, epoch)`` alone, not from workers or
    what came before.

    Raises:
        FailureError: an image cannot be decoded, or an outline is none.
    """
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
    order = torch.randperm(len(scenes), generator=generator)
    mirrored = torch.rand(len(scenes), generator=generator) < (0.5 if flip else 0.0)
    chosen = list(zip(order.tolist(), mirrored.tolist(), strict=True))
    return _batches(
        scenes,
        chosen[: images_per_epoch(len(scenes), batch_size, drop_last)],
        batch_size,
        wanted=True,
    )


def validation_samples(scenes: Scenes, batch_size: int) -> Iterator[list[Sample]]:
    """Yield the images in order, on the CPU, without what is on them.

    Raises:
        FailureError: an image cannot be decoded.
    """
    return _batches(
        scenes, [(index, False) for index in range(len(scenes))], batch_size, wanted=False
    )


@dataclass(frozen=True)
class _Samples:
    """Loads batches of images by their numbers, each with whether it is mirrored."""

    scenes: Scenes
    wanted: bool

    def __call__(self, chosen: Sequence[tuple[int, bool]]) -> list[Sample]:
        return [self._sample(*each) for each in chosen]

    def _sample(self, index: int, mirrored: bool) -> Sample:
        picture = self.scenes.pictures[index]
        pixels = _decoded(self.scenes, picture)
        target = target_of(self.scenes, index) if self.wanted else {}
        if mirrored:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
            target = mirrored_target(target, picture.width)
        return Sample(torch.from_numpy(pixels).permute(2, 0, 1), target)

    def largest(self, batch_size: int) -> int:
        """Return how many bytes a batch has at most: of every image, and of the mask of every
        object on it.
        """
        per_image = (
            picture.width * picture.height * (3 + (len(objects) if self.wanted else 0))
            for picture, objects in zip(self.scenes.pictures, self.scenes.objects, strict=True)
        )
        return sum(nlargest(batch_size, per_image))


def _batches(
    scenes: Scenes, chosen: Sequence[tuple[int, bool]], batch_size: int, *, wanted: bool
) -> Iterator[list[Sample]]:
    load = _Samples(scenes, wanted)
    requests = [chosen[start : start + batch_size] for start in range(0, len(chosen), batch_size)]
    workers = 0 if scenes.gallery.in_memory else min(worker_count(), len(requests))
    workers, packed = fitted(workers, load.largest(batch_size) if workers else 0)
    return Crew(load, workers, packed=packed).results(requests)


def _decoded(scenes: Scenes, picture: Picture) -> NDArray[np.uint8]:
    """Return an image's pixels, (H, W, 3)."""
    path = scenes.gallery.path(picture)
    try:
        with scenes.gallery.opened(picture) as image:
            pixels = np.array(as_rgb(image))
    except FileNotFoundError:
        raise FailureError(
            f"the image {path} is missing", "Unpack the archive of the images again."
        ) from None
    except UNDECODABLE as error:
        raise undecodable({path: damage_of(error)}) from None
    if pixels.shape[:2] != (picture.height, picture.width):
        found = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise FailureError(
            f"{path} has {found} pixels, and its annotation says {picture.width} x {picture.height}",
            "Put the image and the annotations of one data set together.",
        )
    return pixels


def target_of(scenes: Scenes, index: int) -> Target:
    """Return what a detector is to find on an image: every object that it learns from.

    Raises:
        FailureError: an outline is none, or is of an image of another size.
    """
    picture, own = (
        scenes.pictures[index],
        [each for each in scenes.objects[index] if learnable(each)],
    )
    class_of = scenes.class_of
    boxes = torch.tensor([each.bbox for each in own], dtype=torch.float32).view(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    boxes[:, 0::2].clamp_(0, picture.width)
    boxes[:, 1::2].clamp_(0, picture.height)
    labels = torch.tensor([class_of[each.category_id] for each in own], dtype=torch.int64)
    masks = torch.from_numpy(np.stack([mask_of(each, picture) for each in own]))
    whole = (boxes[:, 2:] - boxes[:, :2] > 0).all(
        dim=1
    )  # a box beyond the image's edge has nothing left of it
    return {"boxes": boxes[whole], "labels": labels[whole], "masks": masks[whole]}


def mask_of(instance: Instance, picture: Picture) -> NDArray[np.uint8]:
    """Return the mask of an object, (H, W), 1 where it is.

    Raises:
        FailureError: its outline is none, or is of an image of another size.
    """
    library, outline = mask_library(), outline_of(instance, picture)
    if isinstance(outline, list):
        polygons = library.frPyObjects(outline, picture.height, picture.width)
        return np.asarray(library.decode(library.merge(polygons)))
    return np.asarray(library.decode(run_lengths(outline)))


def mask_library() -> Any:
    """Return pycocotools' functions on masks.

    Its stubs know no polygons of fractions of a pixel.
    """
    from pycocotools import mask

    return mask


def run_lengths(outline: RunLengths) -> Any:
    """Return run lengths as pycocotools takes them, compressed."""
    height, width = outline.size
    if isinstance(outline.counts, str):
        return {"size": [height, width], "counts": outline.counts.encode()}
    return mask_library().frPyObjects(
        {"size": [height, width], "counts": outline.counts}, height, width
    )


def mirrored_target(target: Target, width: int) -> Target:
    """Return a target mirrored left to right on an image of so many pixels across."""
    if not target:
        return target
    left, top, right, bottom = target["boxes"].unbind(dim=1)
    boxes = torch.stack([width - right, top, width - left, bottom], dim=1)
    return target | {"boxes": boxes, "masks": target["masks"].flip(2)}
