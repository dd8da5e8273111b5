"""From the records of a results folder to reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from locbench.costs.needed import computed_if_needed
from locbench.errors import UsageError
from locbench.report.compare import compare
from locbench.report.comparison import Comparison
from locbench.report.render import render, write_reports
from locbench.results.record import Record
from locbench.results.store import Store
from locbench.tables import Table, load_table, load_tables

ENDINGS = {"markdown": "md", "latex": "tex", "csv": "csv", "json": "json"}


def report_tables(table_ids: Sequence[str], formats: Sequence[str], out: Path | None, results: Path) -> None:
    """Print or write the reports of tables; without ids, of all that have records."""
    records = list(Store(results).all())
    tables = [load_table(each) for each in table_ids] or load_tables()
    found = [(table, comparisons_of(table, records)) for table in tables]
    wanted = [(table, each) for table, each in found if each] if not table_ids else found
    if not wanted:
        raise UsageError(
            f"there are no records below {results}", "Run one first: locbench table pgl-period --preset smoke"
        )
    endings = [ENDINGS[each] for each in formats] or (list(ENDINGS.values()) if out else ["md"])
    for table, comparisons in wanted:
        if out is None:
            for ending in endings:
                print(render(table, comparisons, ending))
        else:
            for path in write_reports(table, comparisons, out, endings):
                print(path)


def comparisons_of(table: Table, records: Sequence[Record]) -> list[Comparison]:
    """Return a table's comparisons, computed values included where they cost nothing to have."""
    return compare(table, records, computed_if_needed(table))
