"""Views of analyses: one line per run, with a small picture of its numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Console

from locbench.spec.choices import AnalysisKind
from locbench.terminal.columns import empty_table
from locbench.terminal.lines import say

if TYPE_CHECKING:
    import pandas as pd

BARS = "▁▂▃▄▅▆▇█"
WIDEST = 40

MEANINGS: dict[AnalysisKind, str] = {
    "cka": "mean",
    "probe": "last layer (%)",
    "tsne": "separation",
    "features": "active (%)",
    "curves": "last epoch",
}
"""What the one number of each kind is; see `analyses.summaries`."""


def print_analysis(console: Console, kind: AnalysisKind, frame: pd.DataFrame, words: str) -> None:
    """Print what was analysed, and the runs with their numbers."""
    from locbench.analysis.analyses import summaries

    say(console, words, "dim")
    lines = kind in ("cka", "probe", "curves")
    across = "epoch" if kind == "curves" else "layer"
    grid = empty_table(
        ("run", MEANINGS[kind], *((f"by {across}",) if lines else ())), "lrl"[: 2 + lines]
    )
    for (panel, label), value in summaries(kind, frame).items():
        cells = [f"{panel}: {label}" if panel else label, f"{value:.3f}"]
        if lines:
            part = frame[(frame["panel"] == panel) & (frame["label"] == label)]
            cells.append(sparkline(part.groupby(across)["value"].mean().tolist()))
        grid.add_row(*cells)
    console.print(grid)


def sparkline(values: list[float]) -> str:
    """Return values as bars of eight heights from their least to their greatest.

    Long lists are thinned out; a value that is no number is a gap.
    """
    step = max(1, math.ceil(len(values) / WIDEST))
    shown = values[::step]
    known = [value for value in shown if math.isfinite(value)]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    heights = (
        round((value - low) / span * (len(BARS) - 1)) if span else 0
        for value in shown
        if math.isfinite(value)
    )
    return "".join(BARS[next(heights)] if math.isfinite(value) else " " for value in shown)


def analysis_entry(kind: AnalysisKind, frame: pd.DataFrame, words: str) -> dict[str, Any]:
    """Return an analysis as plain JSON types."""
    from locbench.analysis.analyses import summaries

    return {
        "kind": kind,
        "caption": words,
        "summaries": [
            {"panel": panel, "label": label, MEANINGS[kind]: value}
            for (panel, label), value in summaries(kind, frame).items()
        ],
        "data": frame.to_dict(orient="records"),
    }
