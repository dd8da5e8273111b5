"""How certain a rank correlation is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPLICATES = 2000
LEVEL = 0.95

_DEVIATES = 1.959964  # of the normal distribution, for LEVEL
_AT_A_TIME = 4_000_000  # numbers in memory


def tau_interval(
    values: Sequence[Sequence[float]], published: Sequence[float], tau: float
) -> tuple[float, float]:
    """Return the 95 % interval of a tau-b by the percentile bootstrap over cells, and over the
    seeds of each.

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

    The score interval of cells / 2 trials.
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
