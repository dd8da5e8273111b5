"""Rank correlations with the published values, and how certain they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from locbench.report.model import Entry, Rank, Scope
from locbench.spec.tables import Axis, Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    axes: tuple[tuple[Scope, Sequence[Axis]], ...] = (
        ("column", table.columns),
        ("row", table.rows),
    )
    for name, metric in table.metrics.items():
        # A metric without a direction has no ranks; turning both sides round leaves tau as it is.
        if metric.kind not in ("trained", "predicted", "measured") or metric.better == "none":
            continue
        both = [entry for entry in entries if entry.metric == name and _pair(entry) is not None]
        if not both:
            continue
        yield _rank(name, "table", "", both, fewest)
        for scope, axis in axes:
            for line in axis:
                part = [entry for entry in both if getattr(entry, scope) == line.label]
                if fewest <= len(part) < len(both):
                    yield _rank(name, scope, line.label, part, fewest)


def _rank(metric: str, scope: Scope, label: str, entries: Sequence[Entry], fewest: int) -> Rank:
    pairs = [pair for pair in map(_pair, entries) if pair is not None]
    measured, published = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    guessed = sum(entry.at_chance is True for entry in entries)
    tau, why = None, ""
    if guessed == len(entries):
        why = "at chance"
    elif len(entries) < fewest:
        why = f"fewer than {fewest}"
    elif (tau := tau_b(measured, published)) is None:
        side = "measured" if len(set(measured)) == 1 else "published"
        why = f"all {side} numbers are equal"
    seeds = [entry.values or (mean,) for entry, mean in zip(entries, measured, strict=True)]
    low, high = (None, None) if tau is None else tau_interval(seeds, published, tau)
    return Rank(
        metric=metric,
        scope=scope,
        label=label,
        tau=tau,
        n=len(entries),
        low=low,
        high=high,
        at_chance=guessed,
        why=why,
    )


def _pair(entry: Entry) -> tuple[float, float] | None:
    if (
        entry.published is None
        or entry.published.value is None
        or not isinstance(entry.measured, float)
    ):
        return None
    return entry.measured, entry.published.value


REPLICATES = 2000

LEVEL = 0.95

_DEVIATES = 1.959964  # of the normal distribution, for LEVEL

_AT_A_TIME = 4_000_000  # numbers in memory


def tau_interval(
    values: Sequence[Sequence[float]], published: Sequence[float], tau: float
) -> tuple[float, float]:
    """Return the 95 % interval of a tau-b: percentile bootstrap over cells and their seeds.

    Where every replicate gives the same tau, as in perfect order, the bootstrap tells nothing of
    its certainty: the interval is then that of the largest variance that Kendall's tau can have, 2
    (1 - tau^2) / n (Kendall & Gibbons).

    Args:
        values: for every cell, the measured value of each of its seeds.
        published: for every cell, the published value.
        tau: the correlation of the means.
    """
    import numpy as np

    random = np.random.default_rng(0)
    cells = len(published)
    drawn = random.multinomial(cells, np.full(cells, 1 / cells), size=REPLICATES).astype(float)
    means = np.stack([_means(random, np.asarray(own, dtype=float)) for own in values], axis=1)
    taus = _taus(means, np.asarray(published, dtype=float), drawn)
    taus = taus[np.isfinite(taus)]
    low, high = np.quantile(taus, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(taus) else (tau, tau)
    if high - low < 1e-9:
        return widest(tau, cells)
    return min(float(low), tau), max(float(high), tau)


def widest(tau: float, cells: int) -> tuple[float, float]:
    """Return the interval of a tau with the largest variance it can have.

    It is the score interval of a share in cells / 2 trials.
    """
    trials, squared = cells / 2, _DEVIATES**2
    share = (tau + 1) / 2
    centre = (share + squared / (2 * trials)) / (1 + squared / trials)
    half = (
        math.sqrt(share * (1 - share) / trials + squared / (4 * trials**2))
        * _DEVIATES
        / (1 + squared / trials)
    )
    return max(2 * (centre - half) - 1, -1.0), min(2 * (centre + half) - 1, 1.0)


def _means(random: Any, own: NDArray[Any]) -> Any:
    """Return a cell's mean over its seeds, which are drawn anew in every replicate."""
    return own[random.integers(len(own), size=(REPLICATES, len(own)))].mean(axis=1)


def _taus(measured: NDArray[Any], published: NDArray[Any], drawn: NDArray[Any]) -> NDArray[Any]:
    """Return tau-b of every replicate.

    A cell drawn several times is tied with itself on both sides, and leaves it.
    """
    import numpy as np

    signs = np.sign(published[:, None] - published)
    found = []
    step = max(1, _AT_A_TIME // len(published) ** 2)
    for start in range(0, len(measured), step):
        means, often = measured[start : start + step], drawn[start : start + step]
        own = np.sign(means[:, :, None] - means[:, None, :])
        pairs = often[:, :, None] * often[:, None, :]
        agreeing = (pairs * own * signs).sum(axis=(1, 2))
        untied = (pairs * np.abs(own)).sum(axis=(1, 2)) * (pairs * np.abs(signs)).sum(axis=(1, 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append(agreeing / np.sqrt(untied))
    return np.concatenate(found)
