"""Kendall's tau: whether the measured numbers come in the published order. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from locbench.report.comparison import Entry, Rank
from locbench.tables import Table

FEWEST_CELLS = 3
"""Fewer cells have no order worth a number."""


def ranks(table: Table, entries: Sequence[Entry]) -> tuple[Rank, ...]:
    """Rank every metric over the whole table, and along each row and column that has enough cells."""
    return tuple(_ranks(table, entries))


def tau_b(measured: Sequence[float], published: Sequence[float]) -> float | None:
    """Return Kendall's tau-b of two equally long sequences; None below three pairs or where one side is constant."""
    if len(measured) < FEWEST_CELLS:
        return None
    from scipy.stats import kendalltau  # takes a second to import

    tau = float(kendalltau(measured, published, variant="b").statistic)
    return None if math.isnan(tau) else tau


def _ranks(table: Table, entries: Sequence[Entry]) -> Iterator[Rank]:
    for name, metric in table.metrics.items():
        # A metric without a direction has no ranks; turning both sides round would leave tau as it is.
        if metric.kind not in ("trained", "predicted", "measured") or metric.better == "none":
            continue
        both = [entry for entry in entries if entry.metric == name and _pair(entry) is not None]
        if not both:
            continue
        yield _rank(name, "table", "", both)
        yield from _along(name, "column", [column.label for column in table.columns], both)
        yield from _along(name, "row", [row.label for row in table.rows], both)


def _along(metric: str, scope: str, labels: Sequence[str], both: Sequence[Entry]) -> Iterator[Rank]:
    for label in labels:
        part = [entry for entry in both if getattr(entry, scope) == label]
        if FEWEST_CELLS <= len(part) < len(both):
            yield _rank(metric, scope, label, part)


def _rank(metric: str, scope: str, label: str, entries: Sequence[Entry]) -> Rank:
    pairs = [pair for pair in map(_pair, entries) if pair is not None]
    tau = tau_b([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    return Rank(metric=metric, scope=scope, label=label, tau=tau, n=len(pairs))  # type: ignore[arg-type]


def _pair(entry: Entry) -> tuple[float, float] | None:
    if entry.published is None or entry.published.value is None or not isinstance(entry.measured, float):
        return None
    return entry.measured, entry.published.value
