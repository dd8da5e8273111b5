"""How the runs are printed that belong to no table, such as those of ``locbench run``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from locbench.console import print_json
from locbench.report.grouping import group_records
from locbench.results.record import Record
from locbench.results.store import Store
from locbench.spec.tables import Table


def runs_apart(tables: Sequence[Table], records: Sequence[Record]) -> list[Record]:
    """Return the records that no report of a table shows, oldest first."""
    shown = {
        record.key
        for table in tables
        for group in group_records(table, records)
        for runs in group.runs.values()
        for record in runs
    }
    apart = [record for record in records if record.key not in shown]
    return sorted(apart, key=lambda record: (record.provenance.started, record.key))


def print_runs(tables: Sequence[Table], store: Store, *, as_json: bool) -> None:
    """Print one line per run of no table, or JSON."""
    records = runs_apart(tables, list(store.all()))
    store.set_aside.tell()
    if as_json:
        print_json([run_entry(record, store) for record in records])
        return
    from locbench.console import Terminal
    from locbench.printable import printable
    from locbench.terminal.progress import summary

    console = Terminal(soft_wrap=True)
    for record in records:
        name = printable(
            f"{record.recipe.network} by {record.recipe.method} on {record.recipe.dataset}"
        )
        arithmetic = "" if record.recipe.precision == "fp32" else f" in {record.recipe.precision}"
        where = f"{name}{arithmetic}, seed {record.recipe.seed}"
        console.print(f"{record.provenance.started[:10]}  {summary(record, where)}", markup=False)
    console.print(
        f"{len(records)} run{'' if len(records) == 1 else 's'} of no table below {store.records}",
        markup=False,
    )


def run_entry(record: Record, store: Store) -> dict[str, Any]:
    """Return what ``locbench list --runs --json`` says of a run."""
    recipe = record.recipe
    return {
        "key": record.key,
        "status": record.status,
        "network": recipe.network,
        "method": recipe.method,
        "modules": recipe.modules,
        "dataset": recipe.dataset,
        "epochs": recipe.epochs,
        "seed": recipe.seed,
        "metrics": record.metrics,
        "error": record.error,
        "started": record.provenance.started,
        "file": str(store.path(record)),
    }
