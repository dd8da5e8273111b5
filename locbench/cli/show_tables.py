"""How tables and their recipes are printed by ``locbench list`` and ``locbench show``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from locbench.recipe import Recipe
from locbench.results.store import Store
from locbench.schedule import same_task_key
from locbench.tables import Cell, Table


def print_list(tables: Sequence[Table], store: Store, *, as_json: bool) -> None:
    """Print one line per table, or JSON."""
    trained = store.task_keys()
    entries = [list_entry(table, trained) for table in tables]
    if as_json:
        _print_json(entries)
        return
    from rich.console import Console
    from rich.table import Table as Grid

    grid = Grid(box=None, pad_edge=False, header_style="bold")
    for name in ("id", "paper", "number", "title"):
        grid.add_column(name, no_wrap=name != "title")
    for name in ("cells", "values", "recorded"):
        grid.add_column(name, justify="right")
    for entry in entries:
        words = [str(entry[name]) for name in ("id", "paper", "number", "title", "cells", "values", "recorded")]
        grid.add_row(*words, style=None if entry["recorded"] else "dim")
    console = Console(highlight=False)
    console.print(grid)
    console.print("recorded: cells with at least one record below the results folder, reduced runs included")


def list_entry(table: Table, trained: set[str]) -> dict[str, Any]:
    """Return what `locbench list` says of a table."""
    recorded = sum(cell.recipe is not None and same_task_key(cell.recipe) in trained for cell in table.cells)
    return {
        "id": table.id,
        "paper": table.paper,
        "number": table.number,
        "title": table.title,
        "cells": len(table.cells),
        "values": table.values,
        "recorded": recorded,
    }


def print_table(table: Table, *, as_json: bool) -> None:
    """Print a table's axes, published numbers, recipes and notes, or JSON."""
    if as_json:
        _print_json(table_entry(table))
        return
    from rich.console import Console

    from locbench.report.compare import unmeasured
    from locbench.report.terminal import print_comparison

    console = Console(highlight=False)
    console.print(f"[bold]{table.id}[/bold]  {table.source}")
    _print_recipes(console, table)
    print_comparison(console, table, unmeasured(table))


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


def _print_recipes(console: Any, table: Table) -> None:
    shared = ", ".join(f"{name} = {value}" for name, value in table.recipe.items())
    console.print(f"Shared settings: {shared or 'none'}", markup=False)
    for title, axis in (("Rows", table.rows), ("Columns", table.columns)):
        console.print(f"[bold]{title}[/bold]")
        for each in axis:
            note = " ".join(text for text in (each.note, each.blocked and f"Blocked: {each.blocked}") if text)
            words = f"  {each.label}: {_setting_words(each.recipe)}" + (f"  ({note})" if note else "")
            console.print(words, markup=False)


def _setting_words(settings: dict[str, Any]) -> str:
    options = settings.get("options", {})
    words = [f"{name}={value}" for name, value in settings.items() if name != "options"]
    words += [f"{name}={value}" for name, value in options.items()]
    return ", ".join(words) or "as shared"


def recipe_words(recipe: Recipe) -> str:
    """Return a recipe in one line: the network, the cut, the method and the schedule."""
    cut = f"K={recipe.modules}" if recipe.modules and not recipe.composition.end_to_end else "every local layer"
    if recipe.composition.end_to_end:
        cut = "one module"
    return (
        f"{recipe.network}, {cut}, {recipe.method}, {recipe.dataset}, {recipe.epochs} epochs, "
        f"batch {recipe.batch_size}, lr {recipe.lr:g}"
    )


def _print_json(value: Any) -> None:
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
