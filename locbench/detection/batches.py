"""Batches for detectors: images of any size with boxes, classes and masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_convert, clip_boxes_to_image
from torchvision.transforms.v2 import functional as tv
from torchvision.tv_tensors import BoundingBoxFormat

from locbench.data.batches import epoch_seed
from locbench.data.decoding import worker_count
from locbench.data.loading import LoadingPool, fit_workers
from locbench.datasets.coco_annotations import Instance, Picture, RunLengths
from locbench.datasets.image_files import UNDECODABLE, as_rgb, damage_of, undecodable
from locbench.detection.dataset import DetectionDataset, segmentation_of, trainable
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

    def pin_memory(self) -> Sample:
        """Return it where a copy to a GPU waits for nothing; called by PyTorch's loader."""
        target = {name: part.pin_memory() for name, part in self.target.items()}
        return Sample(self.image.pin_memory(), target)


def train_batches(
    dataset: DetectionDataset,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    flip: bool,
    drop_last: bool = False,
    pinned: bool = False,
) -> Iterator[list[Sample]]:
    """Yield one epoch of shuffled batches on the CPU.

    ``drop_last`` leaves out an incomplete last one of several, and ``pinned`` pins them for a GPU.
    The order and which images are mirrored follow from ``(seed, epoch)`` alone, not from workers or
    what came before.

    Raises:
        FailureError: an image cannot be decoded, or a segmentation is none.
    """
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
    order = torch.randperm(len(dataset), generator=generator)
    mirrored = torch.rand(len(dataset), generator=generator) < (0.5 if flip else 0.0)
    chosen = list(zip(order.tolist(), mirrored.tolist(), strict=True))
    return _batches(
        dataset,
        chosen[: images_per_epoch(len(dataset), batch_size, drop_last)],
        batch_size,
        targets=True,
        pinned=pinned,
    )


def eval_batches(dataset: DetectionDataset, batch_size: int) -> Iterator[list[Sample]]:
    """Yield the images in order, on the CPU, without what is on them.

    Raises:
        FailureError: an image cannot be decoded.
    """
    return _batches(
        dataset, [(index, False) for index in range(len(dataset))], batch_size, targets=False
    )


@dataclass(frozen=True)
class _Samples:
    """Loads batches of images by their numbers, each with whether it is mirrored."""

    dataset: DetectionDataset
    targets: bool

    def __call__(self, chosen: Sequence[tuple[int, bool]]) -> list[Sample]:
        return [self._sample(*each) for each in chosen]

    def _sample(self, index: int, mirrored: bool) -> Sample:
        picture = self.dataset.pictures[index]
        pixels = _decoded(self.dataset, picture)
        target = target_of(self.dataset, index) if self.targets else {}
        if mirrored:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
            target = mirrored_target(target, picture.width)
        return Sample(torch.from_numpy(pixels).permute(2, 0, 1), target)

    def largest(self, batch_size: int) -> int:
        """Return how many bytes a batch has at most, of its images and of all objects' masks."""
        per_image = (
            picture.width * picture.height * (3 + (len(objects) if self.targets else 0))
            for picture, objects in zip(self.dataset.pictures, self.dataset.objects, strict=True)
        )
        return sum(nlargest(batch_size, per_image))


def _batches(
    dataset: DetectionDataset,
    chosen: Sequence[tuple[int, bool]],
    batch_size: int,
    *,
    targets: bool,
    pinned: bool = False,
) -> Iterator[list[Sample]]:
    load = _Samples(dataset, targets)
    requests = [chosen[start : start + batch_size] for start in range(0, len(chosen), batch_size)]
    workers = 0 if dataset.source.in_memory else min(worker_count(), len(requests))
    workers, packed = fit_workers(workers, load.largest(batch_size) if workers else 0)
    return LoadingPool(load, workers, packed=packed, pinned=pinned).results(requests)


def _decoded(dataset: DetectionDataset, picture: Picture) -> NDArray[np.uint8]:
    """Return an image's pixels, (H, W, 3)."""
    path = dataset.source.path(picture)
    try:
        with dataset.source.opened(picture) as image:
            pixels = np.array(as_rgb(image))
    except FileNotFoundError:
        raise FailureError(
            f"the image {path} is missing", "Unpack the archive of the images again."
        ) from None
    except UNDECODABLE as error:
        raise undecodable({path: damage_of(error)}) from None
    if pixels.shape[:2] != (picture.height, picture.width):
        size = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise FailureError(
            f"{path} has {size} pixels, and its annotation says {picture.width} x {picture.height}",
            "Put the image and the annotations of one data set together.",
        )
    return pixels


def target_of(dataset: DetectionDataset, index: int) -> Target:
    """Return what a detector is to find on an image: every object that it learns from.

    Raises:
        FailureError: a segmentation is none, or is of an image of another size.
    """
    picture, class_of = dataset.pictures[index], dataset.class_of
    objects = [instance for instance in dataset.objects[index] if trainable(instance)]
    boxes = torch.tensor([instance.bbox for instance in objects], dtype=torch.float32).view(-1, 4)
    boxes = clip_boxes_to_image(box_convert(boxes, "xywh", "xyxy"), (picture.height, picture.width))
    labels = torch.tensor([class_of[instance.category_id] for instance in objects])
    masks = torch.from_numpy(np.stack([mask_of(instance, picture) for instance in objects]))
    # A box beyond the image's edge has nothing left of it.
    inside = (boxes[:, 2:] - boxes[:, :2] > 0).all(dim=1)
    return {"boxes": boxes[inside], "labels": labels[inside], "masks": masks[inside]}


def mask_of(instance: Instance, picture: Picture) -> NDArray[np.uint8]:
    """Return the mask of an object, (H, W), 1 where it is.

    Raises:
        FailureError: its segmentation is none, or is of an image of another size.
    """
    library, segmentation = mask_library(), segmentation_of(instance, picture)
    if isinstance(segmentation, list):
        polygons = library.frPyObjects(segmentation, picture.height, picture.width)
        return np.asarray(library.decode(library.merge(polygons)))
    return np.asarray(library.decode(run_lengths(segmentation)))


def mask_library() -> Any:
    """Return pycocotools' functions on masks.

    Its stubs know no polygons of fractions of a pixel.
    """
    from pycocotools import mask

    return mask


def run_lengths(segmentation: RunLengths) -> Any:
    """Return run lengths as pycocotools takes them, compressed."""
    height, width = segmentation.size
    if isinstance(segmentation.counts, str):
        return {"size": [height, width], "counts": segmentation.counts.encode()}
    return mask_library().frPyObjects(
        {"size": [height, width], "counts": segmentation.counts}, height, width
    )


def mirrored_target(target: Target, width: int) -> Target:
    """Return a target mirrored left to right on an image of so many pixels across."""
    if not target:
        return target
    height = target["masks"].shape[1]
    boxes = tv.horizontal_flip_bounding_boxes(
        target["boxes"], BoundingBoxFormat.XYXY, (height, width)
    )
    return target | {"boxes": boxes, "masks": tv.horizontal_flip_mask(target["masks"])}
