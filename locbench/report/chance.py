"""What guessing reaches, so that an order among guesses is not taken for one. Imports no torch."""

from __future__ import annotations

import math

from locbench.data.description import KNOWN
from locbench.report.comparison import Entry

_GUESSES = {"test_acc": 1, "test_err": 1, "top1_err": 1, "top5_acc": 5, "top5_err": 5}
"""How many classes may be named for an image, by metric; other metrics have no level of chance."""


def chance_level(metric: str, dataset: str, images: int) -> float | None:
    """Return the best that guessing reaches, in percent, two standard errors of the test set included.

    Args:
        metric: accuracies give an upper level, errors a lower one.
        dataset: a data set known by name; of others the number of classes is not known here.
        images: test images.
    """
    if metric not in _GUESSES or dataset not in KNOWN or images < 1:
        return None
    share = _GUESSES[metric] / KNOWN[dataset].classes
    best = 100 * (share + 2 * math.sqrt(max(share * (1 - share), 0.0) / images))
    return 100 - best if metric.endswith("_err") else best


def at_chance(entry: Entry) -> bool:
    """Whether an entry's number is no better than guessing."""
    if entry.chance is None or not isinstance(entry.measured, float):
        return False
    if entry.metric.endswith("_err"):
        return entry.measured >= entry.chance
    return entry.measured <= entry.chance
