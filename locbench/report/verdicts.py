"""The rule for verdicts: when a measured number matches a published one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from locbench.report.intervals import tau_interval
from locbench.report.model import Entry, Kind, Rank, Value, Verdict
from locbench.spec.tables import Published, Table

SMALLEST_TOLERANCE = 0.1
"""A difference up to this many percentage points matches, however small the spread."""

SEEDS_TO_CONFIRM = 3
"""Fewer seeds confirm nothing."""

# Differences of decimal numbers carry a binary rounding error far below any printed digit.
_ROUNDING_ERROR = 1e-9


def tolerance(std: float, n: int, published_std: float | None) -> float:
    """Return the largest difference that matches: two standard errors, and at least
    `SMALLEST_TOLERANCE`.

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


FEWEST_CELLS = 5
"""Fewer cells are ranked only where that is asked for."""

FEWEST_ASKED = 3
"""Fewer cells have no order worth a number."""


def ranks(table: Table, entries: Sequence[Entry], fewest: int = FEWEST_CELLS) -> tuple[Rank, ...]:
    """Rank every metric over the whole table, and along each row and column that has enough cells.

    Args:
        table: the published table.
        entries: its entries.
        fewest: the number of cells below which there is no tau.
    """
    return tuple(_ranks(table, entries, fewest))


def tau_b(measured: Sequence[float], published: Sequence[float]) -> float | None:
    """Return Kendall's tau-b of two equally long sequences.

    None below three pairs or where one side is constant.
    """
    if len(measured) < FEWEST_ASKED:
        return None
    from scipy.stats import kendalltau  # takes a second to import

    tau = float(kendalltau(measured, published, variant="b").statistic)
    return None if math.isnan(tau) else tau


def _ranks(table: Table, entries: Sequence[Entry], fewest: int) -> Iterator[Rank]:
    for name, metric in table.metrics.items():
        # A metric without a direction has no ranks; turning both sides round would leave tau as it
        # is.
        if metric.kind not in ("trained", "predicted", "measured") or metric.better == "none":
            continue
        both = [entry for entry in entries if entry.metric == name and _pair(entry) is not None]
        if not both:
            continue
        yield _rank(name, "table", "", both, fewest)
        for scope, labels in (
            ("column", [each.label for each in table.columns]),
            ("row", [e.label for e in table.rows]),
        ):
            for label in labels:
                part = [entry for entry in both if getattr(entry, scope) == label]
                if fewest <= len(part) < len(both):
                    yield _rank(name, scope, label, part, fewest)


def _rank(metric: str, scope: str, label: str, entries: Sequence[Entry], fewest: int) -> Rank:
    guessed = sum(entry.at_chance is True for entry in entries)
    known = {
        "metric": metric,
        "scope": scope,
        "label": label,
        "n": len(entries),
        "at_chance": guessed,
    }
    pairs = [pair for pair in map(_pair, entries) if pair is not None]
    measured, published = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if guessed == len(entries):
        return Rank(tau=None, why="at chance", **known)  # type: ignore[arg-type]
    if len(entries) < fewest:
        return Rank(tau=None, why=f"fewer than {fewest}", **known)  # type: ignore[arg-type]
    tau = tau_b(measured, published)
    if tau is None:
        side = "measured" if len(set(measured)) == 1 else "published"
        return Rank(tau=None, why=f"all {side} numbers are equal", **known)  # type: ignore[arg-type]
    values = [entry.values or (entry.measured,) for entry in entries]
    low, high = tau_interval(values, published, tau)  # type: ignore[arg-type]
    return Rank(tau=tau, low=low, high=high, **known)  # type: ignore[arg-type]


def _pair(entry: Entry) -> tuple[float, float] | None:
    if (
        entry.published is None
        or entry.published.value is None
        or not isinstance(entry.measured, float)
    ):
        return None
    return entry.measured, entry.published.value
