"""What a paper says of its figure, beside what an analysis of our runs shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from locbench.analysis.analyses import ACROSS, summaries
from locbench.spec.choices import FigureKind
from locbench.spec.figures import Figure, Measure, Trend


@dataclass(frozen=True)
class TrendSeen:
    """A statement of a paper and what ours shows in one panel of the figure.

    Attributes:
        tau: Kendall's tau-b with the stated course: 1 if ours is in that order throughout, -1 if in
            the opposite one; None where fewer than two of its runs are there.
        slope: of the least-squares line, per step of the order or per unit along a line; None
            likewise.
        values: the compared numbers by label, in the stated order; empty for a course along lines.
    """

    text: str
    section: str
    panel: str
    tau: float | None
    slope: float | None
    values: tuple[tuple[str, float], ...] = ()


def trends_seen(figure: Figure, frame: pd.DataFrame) -> list[TrendSeen]:
    """Return what ours shows of each of a figure's trends, panel by panel.

    Args:
        figure: whose trends.
        frame: as `analyse` returns it for the figure's runs.
    """
    return [
        _seen(figure.kind, trend, str(panel), part)
        for trend in figure.trends
        for panel, part in frame.groupby("panel", sort=False)
        if trend.panel in ("", panel)
    ]


def _seen(kind: FigureKind, trend: Trend, panel: str, part: pd.DataFrame) -> TrendSeen:
    values: tuple[tuple[str, float], ...] = ()
    if trend.along:
        lines = [_line(kind, each) for _, each in part.groupby("label", sort=False)]
        fits = [_fit(each.index.to_list(), each.to_list()) for each in lines]
    else:
        values = tuple(_ordered(kind, trend, part))
        fits = [_fit(range(len(values)), [value for _, value in values])]
    known = [fit for fit in fits if fit is not None]
    if not known:
        return TrendSeen(trend.text, trend.section, panel, None, None, values)
    tau, slope = (float(each) for each in np.mean(known, axis=0))
    stated = -tau if trend.along == "falling" else tau
    return TrendSeen(trend.text, trend.section, panel, stated, slope, values)


def _ordered(kind: FigureKind, trend: Trend, part: pd.DataFrame) -> list[tuple[str, float]]:
    found = _measured(kind, trend.measure, part)
    values = []
    for each in trend.order:
        labels = [label for label in ([each] if isinstance(each, str) else each) if label in found]
        if labels:
            mean = float(np.mean([found[label] for label in labels]))
            values.append((", ".join(labels), mean))
    return values


def _measured(kind: FigureKind, measure: Measure, part: pd.DataFrame) -> dict[str, float]:
    if kind not in ACROSS:
        return {label: value for (_, label), value in summaries(kind, part).items()}
    lines = {str(label): _line(kind, each) for label, each in part.groupby("label", sort=False)}
    return {label: _of(line.to_list(), measure) for label, line in lines.items()}


def _line(kind: FigureKind, part: pd.DataFrame) -> pd.Series[float]:
    """Return the mean over seeds by place, places in order."""
    return part.groupby(ACROSS[kind])["value"].mean().sort_index()


def _of(values: Sequence[float], measure: Measure) -> float:
    third = max(1, len(values) // 3)
    parts = {"mean": values, "early": values[:third], "late": values[-third:], "last": values[-1:]}
    return float(np.mean(parts[measure]))


def _fit(x: Sequence[float], y: Sequence[float]) -> tuple[float, float] | None:
    """Return tau-b and slope; None for fewer than two values and where all of them are equal."""
    if len(x) < 2:
        return None
    tau = float(kendalltau(x, y).statistic)
    return (tau, float(np.polyfit(x, y, 1)[0])) if math.isfinite(tau) else None
