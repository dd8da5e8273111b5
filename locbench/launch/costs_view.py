"""How costs are shown on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from locbench.costs.fit import Candidate
from locbench.costs.rows import MEMORY, CostRow

_FIGURES = ("params", "auxiliary", "MACs", "FLOPs", "memory", "of BP", "lean", "paper", "of BP", "paper FLOPs")


def print_rows(console: Console, title: str, rows: Sequence[CostRow]) -> None:
    """Print one line per recipe, and what the columns hold."""
    console.print(f"[bold]{title}[/bold]", soft_wrap=True)
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    grid.add_column("recipe", overflow="fold", min_width=16)
    figures = [_figures(row) for row in rows]
    shown = [index for index in range(len(_FIGURES)) if any(each[index] for each in figures)]
    for index in shown:
        grid.add_column(_FIGURES[index], justify="right", overflow="fold")
    for row, each in zip(rows, figures, strict=True):
        grid.add_row(_name(row), *(each[index] for index in shown))
    console.print(grid)
    console.print(
        "params, auxiliary: parameters of the network and of all auxiliary nets, in M. MACs, FLOPs: forward, one "
        "image, in G, of the network and classifying auxiliary nets; FLOPs count 2 per BatchNorm element and 1 per "
        "pooled element besides. memory: predicted peak of live tensors in a training step, in GB (1e9 bytes), "
        "gradients kept between steps; with PGL the mean over local and global epochs. lean: the same with --memory "
        "lean. paper: as published, which holds more than tensors.",
        style="dim",
    )


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


def _name(row: CostRow) -> str:
    place = f"{row.row}, {row.column}" if row.row else ""
    return place or f"{row.recipe.network} {row.recipe.method}"


def _figures(row: CostRow) -> list[str]:
    memory, flops = row.published.get(MEMORY), row.published.get("flops")
    return [
        f"{row.params_primary / 1e6:.3f}",
        f"{row.params_auxiliary / 1e6:.3f}",
        f"{row.macs / 1e9:.3f}",
        f"{row.flops / 1e9:.3f}",
        f"{row.memory_peak_bytes / 1e9:.3f}",
        f"{row.ratio:.0%}",
        "" if row.memory_lean_bytes is None else f"{row.memory_lean_bytes / 1e9:.3f}",
        memory.text if memory else "",
        "" if row.published_ratio is None else f"{row.published_ratio:.0%}",
        flops.text if flops else "",
    ]


def _options(candidate: Candidate) -> str:
    composition = candidate.recipe.composition
    words = [f"{name}={value}" for name, value in _own(composition.routing).items()]
    for branch in composition.branches:
        words += [f"{name}={value}" for name, value in _own(branch).items() if name == "depth"]
    return " ".join(words)


def _own(part: object) -> dict[str, object]:
    return {name: getattr(part, name) for name in ("segments", "depth") if hasattr(part, name)}
