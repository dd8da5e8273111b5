"""Views of `locbench fit`: the largest batch, and methods by their cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table as Grid

from locbench.costs.memory.device_overhead import ASSUMED
from locbench.costs.memory.fit import Candidate
from locbench.spec.recipe import Recipe
from locbench.terminal.columns import empty_table

Batch: TypeAlias = tuple[int, int]
"""Images, and the bytes that a step of them needs."""


def print_candidates(console: Console, candidates: Sequence[Candidate], memory: int) -> None:
    """Print methods, those that fit first and the cheapest of them on top."""
    header = ("method", "options", "tensors (GB)", "on a device", "GMACs per image", "")
    grid = empty_table(header, "llrrrl")
    for candidate in candidates:
        words = (
            f"{candidate.peak / 1e9:.3f}",
            f"{candidate.total / 1e9:.3f}",
            f"{candidate.macs / 1e9:.3f}",
            _verdict(candidate, memory),
        )
        grid.add_row(
            candidate.recipe.method,
            _options(candidate),
            *words,
            style=None if candidate.total <= memory else "dim",
        )
    console.print(grid)
    console.print(f"On a device, in GB. {ASSUMED.how}", style="dim", markup=False, soft_wrap=True)
    console.print("GMACs per image: of one training step, recomputation included.", style="dim")


def candidate_entry(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate as plain JSON types."""
    recipe = candidate.recipe
    return {
        "method": recipe.method,
        "recipe": recipe.describe(),
        "peak_bytes": candidate.peak,
        "device_bytes": candidate.total,
        "device_how": ASSUMED.how,
        "macs": candidate.macs,
    }


def print_batches(
    console: Console, recipe: Recipe, memory: int, tensors: Batch, device: Batch | None, how: str
) -> None:
    """Print the largest batch by tensors alone, and with what a device holds besides."""
    console.print(
        f"{recipe.network}, {recipe.method}: the largest batch that fits {memory / 1e9:,.2f} GB",
        markup=False,
    )
    grid = Grid(box=None, pad_edge=False, show_header=False)
    grid.add_column()
    grid.add_column(justify="right", style="bold")
    grid.add_column()
    grid.add_row(
        "by the tensors alone", f"{tensors[0]:,}", f"predicted peak {tensors[1] / 1e9:.3f} GB"
    )
    on_device = (
        ("none", "not even 2 images fit")
        if device is None
        else (f"{device[0]:,}", f"{device[1] / 1e9:.3f} GB")
    )
    grid.add_row("with what a device holds besides", *on_device)
    console.print(grid)
    console.print(how, style="dim", markup=False, soft_wrap=True)


def _verdict(candidate: Candidate, memory: int) -> str:
    if candidate.total <= memory:
        return "fits"
    return "tensors alone fit" if candidate.peak <= memory else "does not fit"


def _options(candidate: Candidate) -> str:
    composition = candidate.recipe.composition
    words = [f"{name}={value}" for name, value in _own(composition.routing).items()]
    for branch in composition.branches:
        words += [f"{name}={value}" for name, value in _own(branch).items() if name == "depth"]
    return " ".join(words)


def _own(part: object) -> dict[str, object]:
    return {name: getattr(part, name) for name in ("segments", "depth") if hasattr(part, name)}
