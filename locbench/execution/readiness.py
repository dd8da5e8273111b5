"""What runs need and is not there: data sets, pretrained weights, packages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from locbench.datasets.catalogue import info, status
from locbench.errors import FailureError, LocbenchError, UsageError
from locbench.execution.job import Job, place_of
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe

if TYPE_CHECKING:
    from locbench.detection.dataset import DetectionSplit


def missing_for(jobs: Iterable[Job], root: Path, *, download: bool = False) -> list[str]:
    """Return a sentence for everything that the open jobs need and that is not on the disk.

    Args:
        jobs: any.
        root: folder of the data sets.
        download: data sets that are missing will be fetched.
    """
    recipes = [job.recipe for job in jobs if job.open]
    return [
        *([] if download else _data_sets(recipes, root)),
        *_weights(recipes),
        *_packages(recipes),
    ]


def _data_sets(recipes: Sequence[Recipe], root: Path) -> Iterator[str]:
    for name in dict.fromkeys(each.dataset for each in recipes):
        try:
            seen = status(name, root)
        except LocbenchError as error:
            yield f"{name}: {error.message}. {error.remedy}"
            continue
        if seen.state != "ready":
            yield f"{seen.label}, {seen.state}: {seen.detail}. {seen.remedy}"


def _weights(recipes: Sequence[Recipe]) -> Iterator[str]:
    starting = {
        each.network: None for each in recipes if each.init != "scratch" and not each.weights
    }
    if not starting:
        return
    from locbench.networks.pretrained import weights_cached  # timm takes seconds to import

    for network in starting:
        if not weights_cached(network):
            fetched = "which are fetched when a run starts, or given with --weights FILE"
            yield f"pretrained weights of {NETWORKS[network].label}, {fetched}"


def _packages(recipes: Sequence[Recipe]) -> Iterator[str]:
    if any(each.detection for each in recipes) and find_spec("pycocotools") is None:
        yield "pycocotools, which detectors need: python -m pip install 'locbench[coco]'"


def refuse_missing(names: Iterable[str], root: Path) -> None:
    """Raise FailureError if a data set is not there whole, before hours are spent on others."""
    for seen in (status(name, root) for name in names):
        if seen.state != "ready":
            raise FailureError(
                f"{seen.label} is {seen.state}: {seen.detail}",
                f"{seen.remedy} Or choose another one with --dataset.",
            )


def refuse_unready(jobs: Sequence[Job], root: Path) -> dict[str, DetectionSplit]:
    """Refuse a last batch that no epoch could end with, and what a detector lacks.

    Returns:
        the whole data sets of the detectors, which had to be read for that.

    Raises:
        UsageError: see `refuse_lone_image`.
        FailureError: pycocotools, an image or an annotation file is missing, or that file is none
            of COCO's.
    """
    from locbench.detection.evaluation import require_pycocotools
    from locbench.detection.loading import load_detection
    from locbench.training.lone_image import refuse_lone_image

    for job in jobs:
        if job.recipe.detection is None:
            described = info(job.recipe.dataset)
            try:
                refuse_lone_image(job.recipe, described.train_size, described.classes)
            except UsageError as error:
                raise UsageError(f"{place_of(job)}: {error.message}", error.remedy) from None
    detectors = [job.recipe.dataset for job in jobs if job.recipe.detection is not None]
    if detectors:
        require_pycocotools()
    return {name: load_detection(name, root) for name in dict.fromkeys(detectors)}
