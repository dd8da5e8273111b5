"""A table's values that need no training; torch is imported only where there are any that need it."""

from __future__ import annotations

from locbench.costs.memory_book import MemoryBook
from locbench.tables import Table

NAMES = ("params", "flops", "flops_reduction", "architecture")
MEMORY = "gpu_memory"

Values = dict[tuple[str, str], dict[str, float | str]]


def computed_if_needed(table: Table, book: MemoryBook) -> Values:
    """Return what a table's recipes give without training, by (row, column) and metric, in the metric's unit.

    Args:
        table: the published table.
        book: the predicted memory; what it lacks and may not trace is left out.
    """
    values: Values = {}
    if any(name in table.metrics for name in NAMES):
        from locbench.costs.computed import computed_values

        values = computed_values(table)
    for place, gigabytes in predicted_memory(table, book).items():
        values.setdefault(place, {})[MEMORY] = gigabytes
    return values


def predicted_memory(table: Table, book: MemoryBook) -> dict[tuple[str, str], float]:
    """Return the predicted peak of live tensor bytes, in decimal GB, of the cells that hold memory."""
    found = {}
    for cell in table.cells:
        if MEMORY in table.metrics and cell.recipe is not None and (MEMORY in cell.published or table.computed):
            footprint = book.footprint(cell.recipe)
            if footprint is not None:
                found[cell.row, cell.column] = footprint.mean / 1e9
    return found
