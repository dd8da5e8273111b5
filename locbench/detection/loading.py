"""Detection data sets read from disk and checked."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from locbench.data.content import content_of
from locbench.datasets.catalogue import info
from locbench.datasets.coco import (
    NAME,
    PATTERN,
    SHAPES,
    CocoPart,
    CocoParts,
    check_files,
    find_files,
    refuse_other_categories,
)
from locbench.datasets.coco_annotations import (
    Annotations,
    BoxKind,
    Instance,
    box_kind,
    read_annotations,
)
from locbench.datasets.known import DatasetInfo
from locbench.detection.dataset import (
    DetectionDataset,
    DetectionSplit,
    FolderSource,
    segmentation_of,
    trainable,
)
from locbench.errors import FailureError


def load_detection(
    name: str, root: Path, limit: int | None = None, test_limit: int | None = None
) -> DetectionSplit:
    """Load a data set for detectors: its annotations, and its images if they are drawn.

    Args:
        name: ``coco``, ``coco:PATH`` or ``shapes``.
        root: the folder that holds the data sets.
        limit, test_limit: so many images of a part, a fixed subset; None means all.

    Raises:
        UsageError: the name is none of these.
        FailureError: a folder or an image is missing, an annotation file is no such file or holds
            a segmentation that is none, or ``coco`` is not the whole of COCO.
    """
    if name == SHAPES:
        from locbench.detection.shapes import drawn_split

        whole = drawn_split(info(name))
    else:
        whole = _read(name, root)
    return whole.limited(limit, test_limit)


def _read(name: str, root: Path) -> DetectionSplit:
    parts, described = find_files(name, root), info(name)
    check_files(parts)
    train, val = (read_annotations(each.annotations) for each in parts)
    refuse_other_categories(train, val, parts.val.annotations)
    _refuse_other_counts(described, parts, (train, val))
    for files, found in zip(parts, (train, val), strict=True):
        _refuse_missing(files, found)
    dataset = (
        DetectionDataset.of(FolderSource(files.images), found)
        for files, found in zip(parts, (train, val), strict=True)
    )
    learned, tested = dataset
    learned = learned.trainable()
    if not learned:
        raise FailureError(
            f"{parts.train.annotations} holds no object to learn from",
            "Annotate some, without crowds.",
        )
    _refuse_segmentations(parts.train, learned, trainable)
    # Crowds too: they are judged by their outlines.
    _refuse_segmentations(parts.val, tested, lambda _: True)
    digest = hashlib.sha256()
    for files in parts:
        digest.update(hashlib.sha256(files.annotations.read_bytes()).digest())
    return DetectionSplit(
        described, learned, tested, content_of(name, root).now or digest.hexdigest()[:16]
    )


def _refuse_other_counts(
    described: DatasetInfo, parts: CocoParts, annotations: Sequence[Annotations]
) -> None:
    """Refuse files of other sizes than described, whose numbers would pass for COCO's."""
    sizes = (described.train_size, described.test_size)
    for files, part, size in zip(parts, annotations, sizes, strict=True):
        counts, expected = (len(part.images), len(part.categories)), (size, described.classes)
        if counts != expected:
            raise FailureError(
                f"{files.annotations} holds {counts[0]:,} images and {counts[1]:,} categories, and "
                f"{described.label} "
                f"has {expected[0]:,} and {expected[1]:,}",
                "Unpack the whole of COCO, or name the folder as "
                f"{NAME}:{parts.train.images.parent} ({PATTERN})."
                if described.name == NAME
                else "The file was changed while it was in use: start again.",
            )


def _refuse_segmentations(
    files: CocoPart, dataset: DetectionDataset, chosen: Callable[[Instance], bool]
) -> None:
    """Refuse segmentations that are none and boxes elsewhere, before a run meets them.

    A segmentation shows how its box is meant; boxes that are written as left, top, right and bottom
    would be taken for others without a word.
    """
    kinds: Counter[BoxKind] = Counter()
    for picture, objects in zip(dataset.pictures, dataset.objects, strict=True):
        for instance in filter(chosen, objects):
            try:
                kinds[box_kind(instance.bbox, segmentation_of(instance, picture), picture)] += 1
            except FailureError as error:
                raise FailureError(f"{files.annotations}: {error.message}", error.remedy) from None
    if kinds["corners"] > kinds["size"]:
        raise FailureError(
            f"{files.annotations}: {kinds['corners']:,} of {kinds.total():,} boxes fit their "
            "outlines only as left, "
            "top, right and bottom, where COCO's are left, top, width and height",
            "Write width and height in place of right and bottom.",
        )
    if 2 * kinds["neither"] > kinds.total():
        raise FailureError(
            f"{files.annotations}: {kinds['neither']:,} of {kinds.total():,} boxes are not where "
            "their outlines are",
            "Write both in pixels of the image; a box is left, top, width and height.",
        )


def _refuse_missing(files: CocoPart, annotations: Annotations) -> None:
    """Refuse a part that lacks images, by one listing of its folder: there are 118,287."""
    there = {file.name for file in files.images.iterdir()}
    lacking = [file for file in annotations.images if file.file_name not in there]
    lacking = [file for file in lacking if not (files.images / file.file_name).is_file()]
    if lacking:
        more = f" (and {len(lacking) - 1:,} more)" if len(lacking) > 1 else ""
        raise FailureError(
            f"the image {files.images / lacking[0].file_name} is missing{more}",
            f"{files.annotations} names it: unpack the archive of the images again.",
        )
