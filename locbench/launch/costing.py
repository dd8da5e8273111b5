"""What `locbench costs` and `locbench fit` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from locbench.console import Terminal
from locbench.costs.memory_book import MemoryBook
from locbench.costs.setting import Setting
from locbench.data.catalogue import info
from locbench.errors import UsageError
from locbench.json_output import print_json
from locbench.launch.costs_view import candidate_entry, print_candidates, print_rows
from locbench.launch.single import parse_option
from locbench.recipe import Recipe, make_recipe
from locbench.tables import load_table

CANDIDATES: tuple[tuple[str, dict[str, object]], ...] = (
    ("bp", {}),
    ("bp+checkpointed", {"segments": 8}),
    ("bp+checkpointed", {"segments": 0}),
    ("predsim", {}),
    ("dgl", {}),
    ("head", {}),
    ("infopro", {}),
    ("auglocal", {"depth": 2}),
    ("auglocal", {"depth": 3}),
    ("auglocal", {"depth": 4}),
    ("auglocal", {"depth": 5}),
    ("auglocal", {"depth": 6}),
    ("hpff+dgl", {}),
    ("hpff+predsim", {}),
)
"""Methods that `locbench fit` chooses among."""


class Costing:
    """Predicts costs and shows them; traces are kept in the results folder.

    Args:
        results: the results folder.
        as_json: print JSON.
    """

    def __init__(self, results: Path, *, as_json: bool) -> None:
        self.book = MemoryBook(results, trace=True)
        self.as_json = as_json
        self.console = Terminal(stderr=as_json)

    def table(self, table_id: str) -> None:
        """Show the costs of every recipe of a table."""
        from locbench.costs.rows import row_entry, table_rows

        table = load_table(table_id)
        with self.console.status("tracing"):
            rows = list(table_rows(table, self.book))
        if self.as_json:
            print_json({"id": table.id, "cells": [row_entry(row) for row in rows]})
        else:
            print_rows(self.console, f"{table.id} ({table.number}: {table.title})", rows)

    def recipe(
        self, wanted: Mapping[str, object], options: Sequence[str], side: int | None, timeline: Path | None
    ) -> None:
        """Show the costs of one recipe and draw its timeline if asked for."""
        from locbench.costs.rows import recipe_row, row_entry

        if wanted["network"] is None or wanted["method"] is None:
            raise UsageError("a table or a recipe is needed", "Give an ID, or --network and --method.")
        recipe, setting = cost_recipe(wanted, dict(parse_option(each) for each in options)), Setting(side=side)
        row = recipe_row(recipe, self.book, setting)
        if timeline is not None:
            self._draw(recipe, setting, timeline)
        if self.as_json:
            print_json(row_entry(row))
        else:
            print_rows(self.console, f"{recipe.network}, {recipe.method}, batch {recipe.batch_size}", [row])

    def fit(self, memory: str, wanted: Mapping[str, object], options: Sequence[str]) -> None:
        """Show the largest batch of a method, or the methods by what they cost at a batch."""
        from locbench.costs.fit import largest_batch, parse_bytes, rank_for_batch

        size = parse_bytes(memory)
        if wanted["method"] is None:
            recipes = [cost_recipe({**wanted, "method": name}, given) for name, given in CANDIDATES]
            found = rank_for_batch(recipes, size)
            if self.as_json:
                print_json([candidate_entry(each) for each in found])
            else:
                print_candidates(self.console, found, size)
            return
        recipe = cost_recipe(wanted, dict(parse_option(each) for each in options))
        batch, peak = largest_batch(recipe, size)
        if self.as_json:
            print_json({"batch_size": batch, "memory_peak_bytes": peak, "memory_bytes": size})
        else:
            self.console.print(
                f"{recipe.network}, {recipe.method}: the largest batch that fits {size / 1e9:.2f} GB is "
                f"[bold]{batch:,}[/bold] (predicted peak of tensors {peak / 1e9:.3f} GB)",
                soft_wrap=True,
            )
            self.console.print("A device holds more than tensors: leave about 1 GB for its context and workspaces.")

    def _draw(self, recipe: Recipe, setting: Setting, path: Path) -> None:
        from locbench.costs.memory import trace_step
        from locbench.costs.timeline import draw
        from locbench.learning.partition import partition_of

        title = f"{recipe.network}, {recipe.method}, batch {recipe.batch_size}"
        draw(trace_step(recipe, setting), partition_of(recipe).modules, title, path)
        self.console.print(f"timeline: {path}", markup=False, soft_wrap=True)


def cost_recipe(wanted: Mapping[str, object], options: Mapping[str, object]) -> Recipe:
    """Return a recipe of which only the costs are of interest; the schedule is the published one of the data set."""
    settings = {name: value for name, value in wanted.items() if value is not None}
    data = info(str(settings["dataset"]))
    settings.setdefault("batch_size", data.batch)
    return make_recipe(settings | {"epochs": 160, "lr": data.lr, "options": dict(options)})
