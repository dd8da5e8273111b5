"""Kendall's tau: whether the measured numbers come in the published order, and how certain that is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from locbench.report.comparison import Entry, Rank
from locbench.report.intervals import tau_interval
from locbench.tables import Table

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
    """Return Kendall's tau-b of two equally long sequences; None below three pairs or where one side is constant."""
    if len(measured) < FEWEST_ASKED:
        return None
    from scipy.stats import kendalltau  # takes a second to import

    tau = float(kendalltau(measured, published, variant="b").statistic)
    return None if math.isnan(tau) else tau


def _ranks(table: Table, entries: Sequence[Entry], fewest: int) -> Iterator[Rank]:
    for name, metric in table.metrics.items():
        # A metric without a direction has no ranks; turning both sides round would leave tau as it is.
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
    known = {"metric": metric, "scope": scope, "label": label, "n": len(entries), "at_chance": guessed}
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
    low, high = tau_interval([entry.values or (entry.measured,) for entry in entries], published, tau)  # type: ignore[misc]
    return Rank(tau=tau, low=low, high=high, **known)  # type: ignore[arg-type]


def _pair(entry: Entry) -> tuple[float, float] | None:
    if entry.published is None or entry.published.value is None or not isinstance(entry.measured, float):
        return None
    return entry.measured, entry.published.value
