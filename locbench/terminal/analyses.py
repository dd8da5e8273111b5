"""Views of analyses: one line per run, with a small picture of its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from locbench.report.text import PAPERS
from locbench.spec.choices import FigureKind
from locbench.spec.figures import Figure
from locbench.terminal.columns import empty_table
from locbench.terminal.lines import hang, say

if TYPE_CHECKING:
    import pandas as pd

    from locbench.analysis.trends import TrendSeen

BARS = "▁▂▃▄▅▆▇█"
WIDEST = 40

MEANINGS: dict[FigureKind, str] = {
    "cka": "mean",
    "probe": "last layer (%)",
    "tsne": "separation",
    "features": "active (%)",
    "curves": "last epoch",
    "accuracy": "test (%)",
    "reduction": "mean test (%)",
}
"""What the one number of each kind is; see `analyses.summaries`."""


def print_analysis(console: Console, kind: FigureKind, frame: pd.DataFrame, words: str) -> None:
    """Print what was analysed, and the runs with their numbers."""
    from locbench.analysis.analyses import summaries

    say(console, words, "dim")
    lines = kind not in ("accuracy", "tsne", "features")
    across = {"curves": "epoch", "reduction": "reduction"}.get(kind, "layer")
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


def print_figures(console: Console, figures: Sequence[Figure]) -> None:
    """Print one line per figure."""
    grid = empty_table(("id", "paper", "number", "shows", "title"), "lllll")
    for figure in figures:
        grid.add_row(figure.id, PAPERS[figure.paper], figure.number, figure.kind, figure.title)
    console.print(grid)
    say(console, "Draw one: locbench figure ID --preset smoke --out figure.png", "dim")


def print_figure(
    console: Console,
    figure: Figure,
    frame: pd.DataFrame,
    seen: Sequence[TrendSeen],
    words: str,
    how: str,
    files: Sequence[Path],
) -> None:
    """Print a figure's numbers, and what its paper says of them beside what ours shows.

    Args:
        console: where.
        figure: which.
        frame: see `analyses.analyse`.
        seen: see `trends.trends_seen`.
        words: what a reader must know of the analysis.
        how: how the runs are reduced.
        files: that were written.
    """
    say(console, f"{PAPERS[figure.paper]}, {figure.number}: {figure.title}", "bold")
    if how:
        say(console, how, "yellow")
    print_analysis(console, figure.kind, frame, words)
    for note in figure.notes:
        hang(console, "- ", note)
    say(console, "What the text says, and ours (tau: 1 in that order, -1 in the opposite one):")
    for each in seen:
        hang(console, "- ", trend_sentence(each))
    for path in files:
        say(console, str(path))


def trend_sentence(seen: TrendSeen) -> str:
    """Return a trend and what ours shows in one sentence or two."""
    place = f"{seen.panel}: " if seen.panel else ""
    stated = f"{place}{seen.text} (section {seen.section})"
    if seen.tau is None or seen.slope is None:
        return f"{stated}. Ours: not enough runs."
    numbers = ", ".join(f"{label} {value:.3f}" for label, value in seen.values)
    step = "per step" if seen.values else "along a line"
    return f"{stated}. Ours: tau {seen.tau:.2f}, {seen.slope:+.3g} {step}" + (
        f" ({numbers})." if numbers else "."
    )


def figure_entry(
    figure: Figure, frame: pd.DataFrame, seen: Sequence[TrendSeen], words: str, how: str
) -> dict[str, Any]:
    """Return a figure as plain JSON types."""
    return {
        "id": figure.id,
        "paper": figure.paper,
        "number": figure.number,
        "title": figure.title,
        "reduced": how,
        "notes": figure.notes,
        "trends": [asdict(each) for each in seen],
        **analysis_entry(figure.kind, frame, words),
    }


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


def analysis_entry(kind: FigureKind, frame: pd.DataFrame, words: str) -> dict[str, Any]:
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
