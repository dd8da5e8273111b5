"""How `locbench splits` shows divisions."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from locbench.costs.splits.cuts import Division
from locbench.costs.splits.store import Splits, split_text
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe
from locbench.terminal.columns import empty_table

_MIB = 2**20

_COUNTED = (
    "A module alone: parameters, gradients, optimizer state, auxiliary nets, input and the live "
    "tensors of its step. Divisions whose largest modules need the same are ranked by the "
    "next-largest. MiB: 2^20 bytes; GB: 10^9."
)


def print_splits(console: Console, recipe: Recipe, splits: Splits, count: int) -> None:
    """Print the best divisions and, where it is not among them, the one that is trained."""
    console.print(_title(recipe, splits), style="bold", markup=False, soft_wrap=True)
    per_module = f"{unit_of(recipe)} per module"
    header = ("rank", per_module, "largest (MiB)", "GB", "behind (%)", "each module (MiB)")
    grid = empty_table(header, "rlrrrl")
    best = splits.best[:count]
    for division in best:
        grid.add_row(str(rank_of(division, splits)), *_cells(recipe, division, splits))
    if splits.trained is not None and splits.trained not in best:
        grid.add_row(
            str(splits.rank or f"> {len(splits.best)}"),
            *_cells(recipe, splits.trained, splits),
            style="dim",
        )
    console.print(grid)
    console.print(trained_sentence(recipe, splits), markup=False, soft_wrap=True)
    console.print(_COUNTED, style="dim", markup=False, soft_wrap=True)
    console.print(f"Traced with {splits.made_with}.", style="dim", markup=False, soft_wrap=True)


def splits_entry(recipe: Recipe, splits: Splits, count: int) -> dict[str, Any]:
    """Return what was found as plain JSON types, memory in bytes."""
    trained = splits.trained
    return {
        "network": recipe.network,
        "method": recipe.method,
        "modules": recipe.modules,
        "batch_size": recipe.batch_size,
        "image_size": recipe.side,
        "unit": unit_of(recipe),
        "divisions": splits.divisions,
        "best": [
            _entry(recipe, division, splits) | {"rank": rank_of(division, splits)}
            for division in splits.best[:count]
        ],
        "trained": None
        if trained is None
        else _entry(recipe, trained, splits)
        | {"rank": splits.rank, "published": published(recipe)},
        "recipe": recipe.describe(),
        "made_with": splits.made_with,
    }


def trained_sentence(recipe: Recipe, splits: Splits) -> str:
    """Say how the division that ``locbench run`` trains compares with the best one."""
    if splits.trained is None:
        return "The equal parts that `locbench run` trains are none of these divisions."
    name = "published division" if published(recipe) else "division into equal parts"
    units = split_text(recipe.network, splits.trained.units)
    subject = f"The {name}, {units}, which `locbench run` trains,"
    if splits.rank == 1:
        return f"{subject} is the best."
    rank = f"has rank {splits.rank}" if splits.rank else f"is not among the best {len(splits.best)}"
    loss = splits.loss(splits.trained)
    more = f"needs {loss:.2f} % more than the best's" if loss else "needs as much as the best's"
    return f"{subject} {rank} of {splits.divisions:,}: its largest module {more}."


def rank_of(division: Division, splits: Splits) -> int:
    """Return the rank of one of the best divisions; equal ones share it."""
    return 1 + sum(better.order < division.order for better in splits.best)


def published(recipe: Recipe) -> bool:
    """Return whether published work says where the network is cut into K modules."""
    network = NETWORKS[recipe.network]
    if recipe.split is not None:
        return recipe.split == network.carried_splits.get(len(recipe.split))
    return recipe.modules in network.splits


def unit_of(recipe: Recipe) -> str:
    """Return what modules are counted in: a transformer's in blocks, as its paper does."""
    return "local layers" if NETWORKS[recipe.network].transformer is None else "blocks"


def _title(recipe: Recipe, splits: Splits) -> str:
    where = f"batch {recipe.batch_size} of {recipe.side} x {recipe.side} pixels"
    network = f"{recipe.network}, {recipe.method}, K = {recipe.modules}"
    return f"{network}, {where}: {splits.divisions:,} divisions"


def _cells(recipe: Recipe, division: Division, splits: Splits) -> tuple[str, ...]:
    largest = max(division.peaks)
    peaks = "  ".join(f"{peak / _MIB:,.1f}" for peak in division.peaks)
    numbers = f"{largest / _MIB:,.1f}", f"{largest / 1e9:.3f}", f"{splits.loss(division):.2f}"
    return split_text(recipe.network, division.units), *numbers, peaks


def _entry(recipe: Recipe, division: Division, splits: Splits) -> dict[str, Any]:
    return {
        "split": [int(each) for each in split_text(recipe.network, division.units).split(",")],
        "layers": division.units,
        "largest_bytes": max(division.peaks),
        "peaks_bytes": division.peaks,
        "behind_percent": splits.loss(division),
    }
