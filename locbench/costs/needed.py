"""A table's values that need no training; torch is imported only where there are any that need it."""

from __future__ import annotations

from locbench.costs.memory_book import MemoryBook
from locbench.costs.split_book import SplitBook, table_split
from locbench.errors import FailureError
from locbench.tables import Table

NAMES = ("params", "flops", "flops_reduction", "architecture")
MEMORY = "gpu_memory"
SPLIT = "split"
MEMORY_UNITS = {"GB": 10**9, "MiB": 2**20}
"""Units in which papers print memory, in bytes."""

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
    for place, memory in predicted_memory(table, book).items():
        values.setdefault(place, {})[MEMORY] = memory
    for place, text in best_splits(table, book).items():
        values.setdefault(place, {})[SPLIT] = text
    return values


def predicted_memory(table: Table, book: MemoryBook) -> dict[tuple[str, str], float]:
    """Return the predicted peak of live tensor bytes, in the table's unit, of the cells that hold memory."""
    found = {}
    for cell in table.cells:
        if MEMORY in table.metrics and cell.recipe is not None and (MEMORY in cell.published or table.computed):
            footprint = book.footprint(cell.recipe)
            if footprint is not None:
                found[cell.row, cell.column] = footprint.mean / memory_scale(table)
    return found


def best_splits(table: Table, book: MemoryBook) -> dict[tuple[str, str], str]:
    """Return the division whose largest module needs the least memory, of the cells that hold splits."""
    found, kept = {}, SplitBook(book.files, trace=book.trace)
    for cell in table.cells:
        if SPLIT in table.metrics and cell.recipe is not None and (SPLIT in cell.published or table.computed):
            text = table_split(cell.recipe, kept)
            if text is not None:
                found[cell.row, cell.column] = text
    return found


def memory_scale(table: Table) -> int:
    """Return how many bytes the table's unit of memory has.

    Raises:
        FailureError: the unit is none of memory.
    """
    unit = table.metrics[MEMORY].unit if MEMORY in table.metrics else "GB"
    if unit not in MEMORY_UNITS:
        known = " or ".join(MEMORY_UNITS)
        raise FailureError(f"{table.id}: key metrics.{MEMORY}.unit: {unit!r} is no unit of memory", f"Write {known}.")
    return MEMORY_UNITS[unit]
