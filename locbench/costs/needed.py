"""Whether a table has computed values at all, found out without importing torch."""

from __future__ import annotations

from locbench.tables import Table

NAMES = ("params", "architecture")


def computed_if_needed(table: Table) -> dict[tuple[str, str], dict[str, float | str]]:
    """Return a table's computed values; torch is imported only if it has any."""
    if not any(name in table.metrics for name in NAMES):
        return {}
    from locbench.costs.computed import computed_values

    return computed_values(table)
