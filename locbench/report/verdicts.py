"""When a number matches a published one, and when it is guessing."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from locbench.datasets.catalogue import info
from locbench.errors import LocbenchError
from locbench.report.model import Kind, Value, Verdict
from locbench.results.record import Record
from locbench.spec.tables import Published

SMALLEST_TOLERANCE = 0.1
"""A difference up to this many percentage points matches, however small the spread."""

SEEDS_TO_CONFIRM = 3
"""Fewer seeds confirm nothing."""

# Differences of decimal numbers carry a binary rounding error far below any printed digit.
_ROUNDING_ERROR = 1e-9


def tolerance(std: float, n: int, published_std: float | None) -> float:
    """Return the largest difference that matches: two standard errors, or `SMALLEST_TOLERANCE`.

    Args:
        std: sample standard deviation of the measured values.
        n: number of measured values.
        published_std: the published spread, or None where the paper prints none.
    """
    return max(SMALLEST_TOLERANCE, 2 * math.sqrt(std**2 / n + (published_std or 0.0) ** 2))


def judge_trained(mean: float, std: float | None, n: int, published: Published) -> Verdict:
    """Judge the mean of n full runs."""
    if n < SEEDS_TO_CONFIRM or std is None or published.value is None:
        return "unconfirmed"
    allowed = tolerance(std, n, published.std) + _ROUNDING_ERROR
    return "match" if abs(mean - published.value) <= allowed else "off"


def equal_as_printed(value: float, published: Published) -> bool:
    """Whether a value is the published one after the paper's own rounding.

    A half may be rounded either way.
    """
    if published.value is None:
        return False
    return abs(value - published.value) <= 0.5 * 10.0**-published.decimals + _ROUNDING_ERROR


def judge_computed(value: Value, kind: Kind, published: Published) -> Verdict:
    """Judge a value that needed no training.

    Predicted and measured costs have no tolerance and are not judged.
    """
    if kind == "predicted" or kind == "measured":
        return kind
    if isinstance(value, str) or published.value is None:
        return "match" if str(value).strip() == published.text.strip() else "off"
    return "match" if equal_as_printed(value, published) else "off"


DEVIATIONS = 3.0
"""An accuracy up to so many standard deviations above guessing's is at chance.

Guessing itself exceeds it in a tenth of a percent of cases.
"""

_GUESSES = {"test_acc": 1, "test_err": 1, "top1_err": 1, "top5_acc": 5, "top5_err": 5}


def at_chance(metric: str, mean: float, records: Sequence[Record]) -> bool | None:
    """Return whether a mean is within the binomial noise of guessing one of the classes.

    None of other metrics than accuracy and error, of data sets whose number of classes is not known
    here, and of records without data.
    """
    guesses = _GUESSES.get(metric)
    images = min((record.data.test for record in records if record.data), default=0)
    classes = _classes(records[0].recipe.dataset) if guesses and images else None
    if guesses is None or classes is None or classes <= guesses:
        return None
    accuracy = 100 - mean if metric.endswith("err") else mean
    return accuracy <= highest_chance(guesses / classes, images)


def highest_chance(share: float, images: int) -> float:
    """Return the highest accuracy (%) at chance where a guess is right with ``share``."""
    return 100 * (share + DEVIATIONS * math.sqrt(share * (1 - share) / images))


@functools.cache
def _classes(dataset: str) -> int | None:
    try:
        return info(dataset).classes
    except (LocbenchError, OSError):
        return None
