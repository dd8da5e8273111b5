"""The rule for verdicts: when a measured number matches a published one. Imports no torch."""

from __future__ import annotations

import math

from locbench.report.comparison import Kind, Value, Verdict
from locbench.tables import Published

SMALLEST_TOLERANCE = 0.1
"""A difference up to this many percentage points matches, however small the spread."""

SEEDS_TO_CONFIRM = 3
"""Fewer seeds confirm nothing."""

# Differences of decimal numbers carry a binary rounding error far below any printed digit.
_ROUNDING_ERROR = 1e-9


def tolerance(std: float, n: int, published_std: float | None) -> float:
    """Return the largest difference that matches: two standard errors, and at least `SMALLEST_TOLERANCE`.

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
    """Whether a value is the published one after the paper's own rounding; a half may be rounded either way."""
    if published.value is None:
        return False
    return abs(value - published.value) <= 0.5 * 10.0**-published.decimals + _ROUNDING_ERROR


def judge_computed(value: Value, kind: Kind, published: Published) -> Verdict:
    """Judge a value that needed no training; predicted and measured costs have no tolerance and are not judged."""
    if kind == "predicted" or kind == "measured":
        return kind
    if isinstance(value, str) or published.value is None:
        return "match" if str(value).strip() == published.text.strip() else "off"
    return "match" if equal_as_printed(value, published) else "off"
