"""Average precision of boxes and masks, as COCO defines it: computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from locbench.detection.batches import eval_batches, mask_library
from locbench.detection.dataset import DetectionDataset
from locbench.errors import FailureError

Detected = dict[str, Tensor]
"""Of one image: ``boxes`` (N, 4), ``scores`` (N,), ``labels`` (N,) and ``masks`` (N, H, W) bool."""

KINDS: dict[str, Literal["bbox", "segm"]] = {"box": "bbox", "mask": "segm"}
PRINTED = ("ap", "ap50", "ap75")
"""The first three numbers of pycocotools: over all overlaps from 0.5 to 0.95, at 0.5, at 0.75."""


def require_pycocotools() -> None:
    """Say at once, and not after hours of training, that the library is missing.

    Raises:
        FailureError: it is not installed.
    """
    if find_spec("pycocotools") is None:
        raise FailureError(
            "detectors need pycocotools, which is not installed",
            "Install it: python -m pip install 'locbench[coco]'",
        )


@torch.inference_mode()
def detections(
    detector: nn.Module, dataset: DetectionDataset, batch_size: int, device: torch.device
) -> Iterator[Detected]:
    """Yield what a detector finds on each image, on the CPU, the detector in evaluation mode."""
    detector.eval()
    for samples in eval_batches(dataset, batch_size):
        images = [each.image.to(device).float().div_(255) for each in samples]
        for detected in detector(images):
            masks = detected["masks"][:, 0] > 0.5
            yield {name: each.cpu() for name, each in (detected | {"masks": masks}).items()}


def average_precision(
    dataset: DetectionDataset, detected: Iterable[Detected]
) -> dict[str, float | None]:
    """Return ``box_ap``, ``box_ap50``, ``box_ap75`` and the same of masks, in percent.

    They are None without any object to find. Images, categories and objects are numbered anew for
    pycocotools, from 1: it takes an object of number 0 for none, and one of two with the same
    number for the other.

    Args:
        dataset: the images and what is on them.
        detected: what was found on each of them, in their order.
    """
    # First: a fault in it is found before the images are gone through.
    truth = _indexed(dataset, _truth(dataset))
    by_image = zip(_image_numbers(dataset), detected, strict=True)
    results = [each for image, found in by_image for each in _results(image, found)]
    for number, each in enumerate(results, 1):
        each["id"] = number
    answer = _indexed(dataset, results)
    return {
        f"{name}_{printed}": value
        for name, kind in KINDS.items()
        for printed, value in zip(PRINTED, _evaluated(truth, answer, kind), strict=True)
    }


def _evaluated(truth: Any, answer: Any, kind: Literal["bbox", "segm"]) -> list[float | None]:
    from pycocotools.cocoeval import COCOeval

    with _quiet():
        judged = COCOeval(truth, answer, kind)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    values = [float(value) for value in judged.stats[: len(PRINTED)]]
    # -1 stands for no object to find at all.
    return [round(100 * value, 4) if value >= 0 else None for value in values]


def _results(image: int, detected: Detected) -> Iterator[dict[str, Any]]:
    if not len(detected["scores"]):
        return
    mask = mask_library()
    encoded = mask.encode(
        np.asfortranarray(detected["masks"].numpy().astype(np.uint8).transpose(1, 2, 0))
    )
    numbers = (detected[name].tolist() for name in ("boxes", "scores", "labels"))
    for (left, top, right, bottom), score, label, segmentation in zip(
        *numbers, encoded, strict=True
    ):
        yield {
            "image_id": image,
            "category_id": label,
            "bbox": [left, top, right - left, bottom - top],
            "segmentation": segmentation,
            "area": float(mask.area(segmentation)),
            "score": score,
            "iscrowd": 0,
        }


def _truth(dataset: DetectionDataset) -> list[dict[str, Any]]:
    class_of = dataset.class_of
    truth = [
        {
            "image_id": image,
            "category_id": class_of[instance.category_id],
            "bbox": list(instance.bbox),
            "segmentation": msgspec.to_builtins(instance.parsed_segmentation()),
            "area": instance.area,
            "iscrowd": instance.iscrowd,
        }
        for image, objects in zip(_image_numbers(dataset), dataset.objects, strict=True)
        for instance in objects
    ]
    return [instance | {"id": number} for number, instance in enumerate(truth, 1)]


def _image_numbers(dataset: DetectionDataset) -> list[int]:
    """Return a number from 1 for each image in the order of ids, which is pycocotools' order."""
    rank = {
        each: number
        for number, each in enumerate(sorted(picture.id for picture in dataset.pictures), 1)
    }
    return [rank[picture.id] for picture in dataset.pictures]


def _indexed(dataset: DetectionDataset, annotations: list[dict[str, Any]]) -> Any:
    """Return annotations as pycocotools holds them."""
    from pycocotools.coco import COCO

    with _quiet():
        index: Any = COCO()
        index.dataset = {
            "images": [
                {"id": number, "height": picture.height, "width": picture.width}
                for number, picture in zip(_image_numbers(dataset), dataset.pictures, strict=True)
            ],
            "categories": [{"id": number} for number in dataset.class_of.values()],
            "annotations": annotations,
        }
        index.createIndex()
    return index


def _quiet() -> contextlib.AbstractContextManager[object]:
    return contextlib.redirect_stdout(io.StringIO())  # it prints as it goes
