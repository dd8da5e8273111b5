"""Values of a table that need no training: parameters and architectures."""

from __future__ import annotations

from collections.abc import Callable

from locbench.costs.parameters import parameter_counts
from locbench.tables import Cell, Table

Values = dict[tuple[str, str], dict[str, float | str]]


def computed_values(table: Table) -> Values:
    """Return, for each cell that has one, the metrics computed from the recipe alone, by (row, column)."""
    values: Values = {}
    for cell in table.cells:
        if cell.recipe is None:
            continue
        for metric in table.metrics:
            if metric in COMPUTED and (metric in cell.published or table.computed):
                values.setdefault((cell.row, cell.column), {})[metric] = COMPUTED[metric](cell)
    return values


def _millions(cell: Cell) -> float:
    assert cell.recipe is not None
    return sum(parameter_counts(cell.recipe).values()) / 1e6


def _architecture(cell: Cell) -> str:
    from locbench.costs.architecture import architecture_of, names_stage

    assert cell.recipe is not None
    return architecture_of(cell.recipe, cell.row if names_stage(cell.row) else cell.column)


COMPUTED: dict[str, Callable[[Cell], float | str]] = {"params": _millions, "architecture": _architecture}
