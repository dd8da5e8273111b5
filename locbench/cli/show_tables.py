"""How tables and their recipes are printed by ``locbench list`` and ``locbench show``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from locbench.cli.show_runs import runs_apart
from locbench.json_output import print_json
from locbench.report.groups import group_records
from locbench.results.record import Record
from locbench.results.store import Store
from locbench.tables import Cell, Table

WIDE = 100
"""Columns of the terminal from which on the list has all its columns."""


def print_list(tables: Sequence[Table], store: Store, *, as_json: bool) -> None:
    """Print one line per table, or JSON."""
    records = [record for record in store.all() if record.status == "done"]
    store.set_aside.tell()
    entries = [list_entry(table, records) for table in tables]
    if as_json:
        print_json(entries)
        return
    from rich.text import Text

    from locbench.console import Terminal

    console = Terminal()
    wide = ("id", "paper", "number", "title", "values", "recorded", "reduced")
    names = wide if console.width >= WIDE else ("id", "number", "title", "recorded", "reduced")
    lines = [{name: str(entry[name]) for name in names} | {"recorded": _recorded(entry)} for entry in entries]
    head = {name: name for name in names}
    widths = {name: max(len(line[name]) for line in [head, *lines]) for name in head}
    widths["title"] = console.width - sum(widths[name] + 2 for name in head if name != "title")
    for line in [head, *lines]:
        words = [_fitted(line[name], widths[name], right=name in ("values", "recorded", "reduced")) for name in head]
        style = "bold" if line is head else "dim" if line["recorded"].startswith("0 ") else ""
        console.print(Text("  ".join(words), style=style), soft_wrap=True)
    meaning = "recorded: cells that have a run below the results folder; reduced: those of which all runs are"
    console.print(
        meaning if console.width > len(meaning) else "recorded: cells with a run; reduced: with reduced runs alone"
    )
    apart = len(runs_apart(tables, records)) if records else 0
    if apart:
        console.print(f"{apart} run{'' if apart == 1 else 's'} of no table: locbench list --runs", soft_wrap=True)
    shipped = store.shipped()
    if shipped:
        note = f"{shipped} of the {len(records)} records came with the repository: --results DIR keeps yours apart"
        console.print(note, soft_wrap=True)


def _recorded(entry: dict[str, Any]) -> str:
    return f"{entry['recorded']} of {entry['cells']}"


def _fitted(text: str, width: int, *, right: bool) -> str:
    """Return a text of exactly this width: filled with spaces, or cut and ended with dots."""
    if right:
        return text.rjust(width)
    return text.ljust(width) if len(text) <= width else text[: max(width - 3, 0)].rstrip() + "..."


def list_entry(table: Table, records: Sequence[Record]) -> dict[str, Any]:
    """Return what `locbench list` says of a table; a cell is recorded if a report would show a run in it."""
    groups = group_records(table, records) if records else []
    recorded = {place for group in groups for place in group.runs}
    full = {place for group in groups if not group.reduced for place in group.runs}
    return {
        "id": table.id,
        "paper": table.paper,
        "number": table.number,
        "title": table.title,
        "cells": len(table.cells),
        "values": table.values,
        "recorded": len(recorded),
        "reduced": len(recorded - full),
    }


def print_table(table: Table, *, as_json: bool) -> None:
    """Print a table's axes, published numbers, recipes and notes, or JSON."""
    if as_json:
        print_json(table_entry(table))
        return
    from locbench.cli.show_table import print_all

    print_all(table)


def table_entry(table: Table) -> dict[str, Any]:
    """Return what ``locbench show --json`` prints: one entry per published number."""
    return {
        "id": table.id,
        "paper": table.paper,
        "number": table.number,
        "title": table.title,
        "source": table.source,
        "trials": table.trials,
        "notes": table.notes,
        "cells": [entry for cell in table.cells for entry in _cell_entries(table, cell)],
        "derived": [msgspec.to_builtins(each) for each in table.derived],
        "claims": [msgspec.to_builtins(each) for each in table.claims],
    }


def _cell_entries(table: Table, cell: Cell) -> list[dict[str, Any]]:
    recipe = cell.recipe.describe() | {"key": cell.recipe.key} if cell.recipe else None
    return [
        {
            "row": cell.row,
            "column": cell.column,
            "metric": metric,
            "unit": table.metrics[metric].unit,
            "published": value.text if value.value is None else value.value,
            "std": value.std,
            "printed": value.text,
            "recipe": recipe,
            "blocked": cell.blocked,
        }
        for metric, value in cell.published.items()
    ]
