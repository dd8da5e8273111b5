"""How `locbench fit` shows what fits a memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from locbench.costs.fit import Candidate


def print_candidates(console: Console, found: Sequence[Candidate], memory: int) -> None:
    """Print methods, those that fit first and the cheapest of them on top."""
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    for name in ("method", "options", "memory (GB)", "GMACs per image", ""):
        grid.add_column(name, justify="left" if name in ("method", "options", "") else "right")
    for each in found:
        fits = each.peak <= memory
        words = (f"{each.peak / 1e9:.3f}", f"{each.macs / 1e9:.3f}", "fits" if fits else "does not fit")
        grid.add_row(each.recipe.method, _options(each), *words, style=None if fits else "dim")
    console.print(grid)
    console.print("GMACs per image: of one training step, recomputation included.", style="dim")


def candidate_entry(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate as plain JSON types."""
    recipe = candidate.recipe
    return {"method": recipe.method, "recipe": recipe.describe(), "peak_bytes": candidate.peak, "macs": candidate.macs}


def _options(candidate: Candidate) -> str:
    composition = candidate.recipe.composition
    words = [f"{name}={value}" for name, value in _own(composition.routing).items()]
    for branch in composition.branches:
        words += [f"{name}={value}" for name, value in _own(branch).items() if name == "depth"]
    return " ".join(words)


def _own(part: object) -> dict[str, object]:
    return {name: getattr(part, name) for name in ("segments", "depth") if hasattr(part, name)}
