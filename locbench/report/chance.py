"""Whether an accuracy is what guessing gives."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from locbench.datasets.catalogue import info
from locbench.errors import LocbenchError
from locbench.results.record import Record

DEVIATIONS = 3.0
"""An accuracy up to so many standard deviations above guessing's is at chance.

A tenth of a percent goes beyond.
"""

_GUESSES = {"test_acc": 1, "test_err": 1, "top1_err": 1, "top5_acc": 5, "top5_err": 5}


def at_chance(metric: str, mean: float, records: Sequence[Record]) -> bool | None:
    """Return whether a mean over runs is at chance: within the binomial noise of 1/classes on so
    many test images.

    None where that cannot be told: of other metrics than accuracy and error, of data sets whose
    number of classes is not known here, and of records without data.
    """
    guesses = _GUESSES.get(metric)
    images = min((record.data.test for record in records if record.data), default=0)
    classes = _classes(records[0].recipe.dataset) if guesses and images else None
    if guesses is None or classes is None or classes <= guesses:
        return None
    accuracy = 100 - mean if metric.endswith("err") else mean
    return accuracy <= highest_chance(guesses / classes, images)


def highest_chance(share: float, images: int) -> float:
    """Return the highest accuracy in percent that is at chance where a guess is right with this
    probability.
    """
    return 100 * (share + DEVIATIONS * math.sqrt(share * (1 - share) / images))


@functools.cache
def _classes(dataset: str) -> int | None:
    try:
        return info(dataset).classes
    except (LocbenchError, OSError):
        return None
