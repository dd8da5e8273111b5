"""``locbench list``."""

from __future__ import annotations

from locbench.cli.options import RESULTS, Json, Results


def list_tables(results: Results = RESULTS, as_json: Json = False) -> None:
    """List every table: id, paper, number, title, cells, and how many cells have a record."""
    from locbench.cli.show_tables import print_list
    from locbench.console import remark
    from locbench.errors import LocbenchError
    from locbench.results.store import Store
    from locbench.tables import load_tables

    faults: list[LocbenchError] = []
    print_list(load_tables(faults), Store(results), as_json=as_json)
    remark(*(f"left out: {fault}" for fault in faults))
