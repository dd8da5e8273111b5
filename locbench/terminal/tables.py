"""How tables and their recipes are printed by ``locbench list`` and ``locbench show``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from locbench.console import Output, Terminal
from locbench.report.formatting import NOTHING, OWN
from locbench.report.grouping import group_records
from locbench.report.text import heading, metric_label, origin, own_labels, own_remarks, split_label
from locbench.results.plugin_use import changed_lines
from locbench.results.record import Record
from locbench.results.store import Store
from locbench.spec.arguments import setting_words
from locbench.spec.tables import Axis, Cell, Published, Table
from locbench.terminal.columns import WIDE, Column, Group, grouped_labels, print_grids
from locbench.terminal.lines import hang, say
from locbench.terminal.runs import runs_apart


def print_list(output: Output, tables: Sequence[Table], store: Store) -> None:
    """Print one line per table, or JSON."""
    records = [record for record in store.all() if record.status == "done"]
    store.report()
    entries = [list_entry(table, records) for table in tables]

    def view(console: Terminal) -> None:
        _print_entries(console, entries)
        _print_origins(console, len(runs_apart(tables, records)), len(records), store.shipped())
        for line in changed_lines(records):
            say(console, line)

    output.show(lambda: entries, view)


def _print_entries(console: Terminal, entries: Sequence[dict[str, Any]]) -> None:
    wide = ("id", "paper", "number", "title", "values", "recorded", "reduced")
    names = wide if console.width >= WIDE else ("id", "number", "title", "recorded", "reduced")
    lines = [
        {name: str(entry[name]) for name in names} | {"recorded": _recorded(entry)}
        for entry in entries
    ]
    head = {name: name for name in names}
    widths = {name: max(len(line[name]) for line in [head, *lines]) for name in head}
    widths["title"] = console.width - sum(widths[name] + 2 for name in head if name != "title")
    for line in [head, *lines]:
        words = [
            _fitted(line[name], widths[name], right=name in ("values", "recorded", "reduced"))
            for name in head
        ]
        style = "bold" if line is head else "dim" if line["recorded"].startswith("0 ") else ""
        console.print(Text("  ".join(words), style=style), soft_wrap=True)
    meaning = (
        "recorded: cells with a run below the results folder; reduced: those of which all runs are"
    )
    console.print(
        meaning
        if console.width > len(meaning)
        else "recorded: cells with a run; reduced: with reduced runs alone"
    )


def _print_origins(console: Terminal, apart: int, records: int, shipped: int) -> None:
    if apart:
        say(console, f"{apart} run{'' if apart == 1 else 's'} of no table: locbench list --runs")
    if shipped:
        origin = f"{shipped} of the {records} records came with the repository"
        say(console, f"{origin}: --results DIR keeps yours apart")


def _recorded(entry: dict[str, Any]) -> str:
    return f"{entry['recorded']} of {entry['cells']}"


def _fitted(text: str, width: int, *, right: bool) -> str:
    """Return a text of exactly this width: filled with spaces, or cut and ended with dots."""
    if right:
        return text.rjust(width)
    return text.ljust(width) if len(text) <= width else text[: max(width - 3, 0)].rstrip() + "..."


def list_entry(table: Table, records: Sequence[Record]) -> dict[str, Any]:
    """Return what `locbench list` says of a table.

    A cell is recorded if a report would show a run in it.
    """
    groups = group_records(table, records) if records else []
    recorded = {place for group in groups for place in group.runs}
    full = {place for group in groups if not group.reduced for place in group.runs}
    return {
        "id": table.id,
        "paper": table.paper_name,
        "number": table.number,
        "title": table.title,
        "cells": len(table.cells),
        "values": table.values,
        "recorded": len(recorded),
        "reduced": len(recorded - full),
    }


def table_entry(table: Table) -> dict[str, Any]:
    """Return what ``locbench show --json`` prints: one entry per published number."""
    return {
        "id": table.id,
        "paper": msgspec.to_builtins(table.paper),
        "number": table.number,
        "title": table.title,
        "source": table.source,
        "trials": table.trials,
        "extends": table.extends,
        "notes": table.notes,
        "cells": [entry for cell in table.cells for entry in _cell_entries(table, cell)],
        "derived": [msgspec.to_builtins(each) for each in table.derived],
        "claims": [msgspec.to_builtins(each) for each in table.claims],
    }


def _cell_entries(table: Table, cell: Cell) -> list[dict[str, Any]]:
    recipe = cell.recipe.describe() | {"key": cell.recipe.key} if cell.recipe else None
    printed: Iterable[tuple[str, Published | None]] = cell.published.items()
    if cell.own:
        printed = [(metric, None) for metric in cell.metrics]
    return [
        {
            "row": cell.row,
            "column": cell.column,
            "metric": metric,
            "unit": table.metrics[metric].unit,
            "published": (value.text if value.value is None else value.value) if value else None,
            "std": value.std if value else None,
            "printed": value.text if value else "",
            "recipe": recipe,
            "blocked": cell.blocked,
            "own": cell.own,
        }
        for metric, value in printed
    ]


_GAP = 2


def print_table(console: Terminal, table: Table) -> None:
    """Print a table's published and derived numbers, its recipes, claims and notes."""
    console.print(Text(heading(table), style="bold"))
    console.print(Text(f"{origin(table)}\n"))
    for metric in table.metrics:
        _print_numbers(console, metric_label(table, metric), table, table.published.get(metric, {}))
    for each in table.derived:
        metric = metric_label(table, each.metric)
        title = f"Derived by the paper: {each.label} of {metric}, in {each.unit}"
        _print_numbers(console, title, table, each.printed)
    _print_recipes(console, table)
    if table.claims:
        console.print(Text("\nClaims", style="bold"))
    for claim in table.claims:
        hang(
            console,
            "- ",
            f"{claim.text} (section {claim.section}).{f' {claim.note}' if claim.note else ''}",
        )
    if table.notes:
        console.print(Text("\nNotes", style="bold"))
    for note in table.notes:
        hang(console, "- ", note)


def _print_numbers(
    console: Console, title: str, table: Table, printed: Mapping[str, Sequence[str]]
) -> None:
    rows = [row.label for row in table.rows if any(printed.get(row.label, ()))]
    columns = [
        Column(("", column.label), tuple(Text(printed[row][index] or NOTHING) for row in rows))
        for index, column in enumerate(table.columns)
        if any(printed[row][index] for row in rows)
    ]
    if columns:
        say(console, title, "bold")
        labels = grouped_labels([split_label(row) for row in rows])
        print_grids(console, labels, [Group((column,)) for column in columns])


def _print_recipes(console: Console, table: Table) -> None:
    say(console, "Recipes", "bold")
    hang(console, "every cell: ", setting_words(table.recipe) or "nothing in common")
    for kind, axis in (("Rows", table.rows), ("Columns", table.columns)):
        lines = [line for line in axis if line.recipe or line.note or line.blocked or line.own]
        if lines:
            say(console, kind, "dim")
            _print_axis(console, lines, own_labels(table))
    for remark in own_remarks(table):
        hang(console, "", remark)


def _print_axis(console: Console, axis: Sequence[Axis], own: Sequence[str]) -> None:
    width = max(len(split_label(line.label)[1]) for line in axis) + _GAP
    previous = ""
    for line in axis:
        group, name = split_label(line.label)
        name += OWN if line.label in own else ""
        if group != previous:
            say(console, group, "bold")
        previous = group
        hang(console, name.ljust(width), setting_words(line.recipe))
        for other, settings in line.at.items():
            hang(console, " " * width, f"at {other}: {setting_words(settings)}")
        if line.note:
            hang(console, " " * width, line.note)
    for reason in dict.fromkeys(each.blocked for each in axis if each.blocked):
        places = "; ".join(each.label for each in axis if each.blocked == reason)
        hang(console, "Not runnable: ", f"{reason} ({places})")
