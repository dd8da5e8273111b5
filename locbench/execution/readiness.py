"""What runs need and is not there: data sets, pretrained weights, packages. Looks at the disk
alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from locbench.datasets.catalogue import status
from locbench.errors import LocbenchError
from locbench.execution.job import Job
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe


def missing_for(jobs: Iterable[Job], root: Path, *, download: bool = False) -> list[str]:
    """Return a sentence for everything that the open ones among some jobs need and that is not
    there.

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
            label = NETWORKS[network].label
            yield f"pretrained weights of {label}, which are fetched when a run starts, or given with --weights FILE"


def _packages(recipes: Sequence[Recipe]) -> Iterator[str]:
    if any(each.detection for each in recipes) and find_spec("pycocotools") is None:
        yield "pycocotools, which detectors need: python -m pip install 'locbench[coco]'"
