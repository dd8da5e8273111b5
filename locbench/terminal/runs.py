"""View of the runs that belong to no table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from locbench.console import Output, Terminal
from locbench.printable import printable
from locbench.report.grouping import group_records
from locbench.results.plugin_use import changed_plugins
from locbench.results.record import Record
from locbench.results.repetition import Repetition
from locbench.results.store import Store
from locbench.spec.tables import Table
from locbench.terminal.lines import say


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


def print_runs(output: Output, tables: Sequence[Table], store: Store) -> None:
    """Print one line per run of no table, or JSON."""
    records = runs_apart(tables, list(store.all()))
    store.report()
    output.show(
        lambda: [run_entry(record, store) for record in records],
        lambda console: _print_records(console, records, store),
    )


def _print_records(console: Terminal, records: Sequence[Record], store: Store) -> None:
    from locbench.terminal.progress import summary

    for record in records:
        name = printable(
            f"{record.recipe.network} by {record.recipe.method} on {record.recipe.dataset}"
        )
        arithmetic = "" if record.recipe.precision == "fp32" else f" in {record.recipe.precision}"
        other = "".join(
            f", another version of the plugin {each!r}" for each in changed_plugins(record)
        )
        where = f"{name}{arithmetic}, seed {record.recipe.seed}{printable(other)}"
        say(console, f"{record.provenance.started[:10]}  {summary(record, where)}")
    count = f"{len(records)} run{'' if len(records) == 1 else 's'}"
    say(console, f"{count} of no table below {store.records}")


def print_repetition(
    console: Terminal, old: Path, new: Path, record: Record, found: Repetition
) -> None:
    """Print whether a run that was made again has the numbers of its record."""
    if found.equal:
        epochs = f"{len(record.history)} epoch{'' if len(record.history) == 1 else 's'}"
        say(console, f"equal: all numbers of {epochs} are those of {old}")
    else:
        say(console, f"different: these are not the numbers of {old}")
        if found.first_epoch is not None:
            say(console, f"  The first epoch that differs is {found.first_epoch}.")
    for each in found.differences:
        change = ""
        if each.before is not None and each.after is not None:
            change = f" ({each.after - each.before:+.3g})"
        say(console, f"  {each.name}: {each.before} then, {each.after} now{change}")
    for name, (before, after) in found.circumstances.items():
        say(console, printable(f"  {name}: {before or 'none'} then, {after or 'none'} now"), "dim")
    say(console, f"  {new}")


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
        "plugins": record.provenance.plugin_digests,
        "file": str(store.file(record)),
    }
