"""A table's values that need no training.

Torch is imported only where there are any that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from locbench.costs.memory.store import PredictionStore
from locbench.costs.splits.store import SplitStore, table_split
from locbench.errors import FailureError
from locbench.spec.components import AugLocal
from locbench.spec.recipe import Recipe
from locbench.spec.tables import Cell, Table

MEMORY = "gpu_memory"

SPLIT = "split"

MEMORY_UNITS = {"GB": 10**9, "MiB": 2**20}
"""Units in which papers print memory, in bytes."""

Values = dict[tuple[str, str], dict[str, float | str]]


def computed_if_needed(table: Table, predictions: PredictionStore) -> Values:
    """Return what a table's recipes give without training, by place and metric, in its unit.

    Args:
        table: the published table.
        predictions: the predicted memory; what it lacks and may not trace is left out.
    """
    values = computed_values(table)
    for place, memory in predicted_memory(table, predictions).items():
        values.setdefault(place, {})[MEMORY] = memory
    for place, text in best_splits(table, predictions).items():
        values.setdefault(place, {})[SPLIT] = text
    return values


def predicted_memory(table: Table, predictions: PredictionStore) -> dict[tuple[str, str], float]:
    """Return the predicted peak of the cells that hold memory, in the table's unit."""
    return {
        (cell.row, cell.column): footprint.mean / memory_scale(table)
        for cell, recipe in _cells_of(table, MEMORY)
        if (footprint := predictions.footprint(recipe)) is not None
    }


def best_splits(table: Table, predictions: PredictionStore) -> dict[tuple[str, str], str]:
    """Return the division whose largest module needs least, of the cells that hold splits."""
    folders = predictions.results, *predictions.other_results
    store = SplitStore(*folders, trace=predictions.trace, log=predictions.log)
    return {
        (cell.row, cell.column): text
        for cell, recipe in _cells_of(table, SPLIT)
        if (text := table_split(recipe, store)) is not None
    }


def computed_values(table: Table) -> Values:
    """Return the metrics computed from recipes alone, by place."""
    values: Values = {}
    for metric, compute in COMPUTED.items():
        for cell, recipe in _cells_of(table, metric):
            values.setdefault((cell.row, cell.column), {})[metric] = compute(cell, recipe)
    return values


def _cells_of(table: Table, metric: str) -> Iterator[tuple[Cell, Recipe]]:
    """Yield the cells that hold a metric and can be run, with their recipes."""
    if metric in table.metrics:
        for cell in table.cells:
            if cell.recipe is not None and metric in cell.metrics:
                yield cell, cell.recipe


def memory_scale(table: Table) -> int:
    """Return how many bytes the table's unit of memory has.

    Raises:
        FailureError: the unit is none of memory.
    """
    unit = table.metrics[MEMORY].unit if MEMORY in table.metrics else "GB"
    if unit not in MEMORY_UNITS:
        known = " or ".join(MEMORY_UNITS)
        raise FailureError(
            f"{table.id}: key metrics.{MEMORY}.unit: {unit!r} is no unit of memory",
            f"Write {known}.",
        )
    return MEMORY_UNITS[unit]


def flops_reduction(recipe: Recipe) -> float:
    """Return by how many percent the pyramid shrinks the auxiliary nets' FLOPs.

    See AugLocal, section 4.5, Figure 5.
    """
    from locbench.costs.counts import flops_by_part

    composition = recipe.composition
    branches = tuple(
        msgspec.structs.replace(branch, decay=0.0) if isinstance(branch, AugLocal) else branch
        for branch in composition.branches
    )
    level = msgspec.structs.replace(
        recipe, composition=msgspec.structs.replace(composition, branches=branches)
    )
    return 100 * (1 - flops_by_part(recipe).heads.flops / flops_by_part(level).heads.flops)


def _millions(_: Cell, recipe: Recipe) -> float:
    from locbench.costs.counts import parameter_counts

    return sum(parameter_counts(recipe).values()) / 1e6


def _giga_flops(_: Cell, recipe: Recipe) -> float:
    from locbench.costs.counts import recipe_flops

    return recipe_flops(recipe).flops / 1e9


def _flops_reduction(_: Cell, recipe: Recipe) -> float:
    return flops_reduction(recipe)


def _architecture(cell: Cell, recipe: Recipe) -> str:
    from locbench.costs.notation import architecture_of, names_stage

    return architecture_of(recipe, cell.row if names_stage(cell.row) else cell.column)


COMPUTED: dict[str, Callable[[Cell, Recipe], float | str]] = {
    "params": _millions,
    "flops": _giga_flops,
    "flops_reduction": _flops_reduction,
    "architecture": _architecture,
}
