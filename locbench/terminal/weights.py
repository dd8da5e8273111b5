"""View of `locbench weights`: kept weights by record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from locbench.results.record import Record
from locbench.spec.networks import NETWORKS
from locbench.terminal.columns import empty_table
from locbench.terminal.lines import say


def print_weights(console: Console, kept: Sequence[tuple[Record, Path]], folder: Path) -> None:
    """Print one line per file of weights."""
    if not kept:
        say(console, f"No weights are kept in {folder}. A run keeps them with --keep-weights.")
        return
    grid = empty_table(
        ("key", "network", "method", "data", "epochs", "seed", "test", "MB"), "llllrrrr"
    )
    for record, path in kept:
        recipe, accuracy = record.recipe, record.metrics.get("test_acc")
        grid.add_row(
            record.key,
            NETWORKS[recipe.network].label,
            recipe.method,
            recipe.dataset,
            str(recipe.epochs),
            str(recipe.seed),
            "" if accuracy is None else f"{accuracy:.2f}",
            f"{path.stat().st_size / 1e6:.1f}",
        )
    console.print(grid)
    say(console, f"Files: {folder / 'weights'}. Export: locbench weights KEY --out FILE", "dim")


def weights_entry(record: Record, path: Path) -> dict[str, Any]:
    """Return a file of weights as plain JSON types."""
    return {
        "key": record.key,
        "name": record.recipe.name,
        "network": record.recipe.network,
        "method": record.recipe.method,
        "dataset": record.recipe.dataset,
        "epochs": record.recipe.epochs,
        "seed": record.recipe.seed,
        "metrics": record.metrics,
        "file": str(path),
        "bytes": path.stat().st_size,
    }
