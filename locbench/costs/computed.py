"""Values of a table that need no training and no trace: parameters, FLOPs and architectures."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from locbench.costs.flops import flops_by_part, recipe_flops
from locbench.costs.needed import Values
from locbench.costs.parameters import parameter_counts
from locbench.learning.options import AugLocal
from locbench.recipe import Recipe
from locbench.tables import Cell, Table


def computed_values(table: Table) -> Values:
    """Return, for each cell that has one, the metrics computed from the recipe alone, by (row, column)."""
    values: Values = {}
    for cell in table.cells:
        for metric in table.metrics:
            if metric in COMPUTED and cell.recipe is not None and (metric in cell.published or table.computed):
                values.setdefault((cell.row, cell.column), {})[metric] = COMPUTED[metric](cell, cell.recipe)
    return values


def flops_reduction(recipe: Recipe) -> float:
    """Return by how many percent the pyramid shrinks the auxiliary nets' FLOPs (AugLocal, section 4.5, Figure 5)."""
    composition = recipe.composition
    branches = tuple(
        msgspec.structs.replace(each, decay=0.0) if isinstance(each, AugLocal) else each
        for each in composition.branches
    )
    level = msgspec.structs.replace(recipe, composition=msgspec.structs.replace(composition, branches=branches))
    return 100 * (1 - flops_by_part(recipe).heads.flops / flops_by_part(level).heads.flops)


def _millions(_: Cell, recipe: Recipe) -> float:
    return sum(parameter_counts(recipe).values()) / 1e6


def _giga_flops(_: Cell, recipe: Recipe) -> float:
    return recipe_flops(recipe).flops / 1e9


def _flops_reduction(_: Cell, recipe: Recipe) -> float:
    return flops_reduction(recipe)


def _architecture(cell: Cell, recipe: Recipe) -> str:
    from locbench.costs.architecture import architecture_of, names_stage

    return architecture_of(recipe, cell.row if names_stage(cell.row) else cell.column)


COMPUTED: dict[str, Callable[[Cell, Recipe], float | str]] = {
    "params": _millions,
    "flops": _giga_flops,
    "flops_reduction": _flops_reduction,
    "architecture": _architecture,
}
