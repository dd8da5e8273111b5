"""What `locbench costs` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locbench.console import Output, remark
from locbench.costs.measured.store import MeasurementStore
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.store import PredictionStore
from locbench.errors import LocbenchError, UsageError
from locbench.spec.arguments import cost_recipe
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table, load_tables
from locbench.spec.tables import Table
from locbench.terminal.lines import say

if TYPE_CHECKING:
    from rich.console import Console

    from locbench.report.cost_rows import JudgedRow
    from locbench.terminal.columns import Labels


class Costing:
    """Predicts costs and shows them; traces are kept in the results folder.

    Args:
        results: the results folder.
        output: where to print.
    """

    def __init__(self, results: Path, output: Output) -> None:
        self.output, self.console = output, output.results
        self.predictions = PredictionStore(results, trace=True)
        self.measurements = MeasurementStore(results)

    def table(self, table_id: str) -> None:
        """Show the costs of every recipe of a table beside what it prints."""
        from locbench.costs.table_rows import table_rows
        from locbench.report.cost_rows import judged_entry, judged_rows
        from locbench.terminal.cost_findings import print_findings
        from locbench.terminal.costs import labels_of, print_rows

        table = load_table(table_id)
        _refuse_detectors(table)
        with self.output.console.status("tracing") as status:
            rows = []
            for row in table_rows(table, self.predictions):
                rows.append(row)
                status.update(f"tracing: {len(rows)} recipes done")
            judged = judged_rows(table, rows, self.predictions, self.measurements)
        remark(*self.predictions.log.lines)
        labels = labels_of(rows)

        def view(console: Console) -> None:
            print_rows(console, f"{table.id} ({table.caption})", labels, judged)
            print_findings(console, table, labels, judged)
            self._print_origins(labels, judged)

        self.output.show(
            lambda: {"id": table.id, "cells": [judged_entry(row) for row in judged]}, view
        )

    def residuals(self) -> None:
        """Show how far predicted and calibrated memory are from all papers' printed memory."""
        from locbench.costs.calibration import calibrated_values, residuals
        from locbench.terminal.cost_findings import print_residuals

        faults: list[LocbenchError] = []
        with self.output.console.status("tracing"):
            by_paper = residuals(
                value
                for table in load_tables(faults)
                for value in calibrated_values(table, self.predictions)
            )
        remark(*self.predictions.log.lines)
        self.output.show(
            lambda: {"residuals": by_paper}, lambda console: print_residuals(console, by_paper)
        )
        remark(*(f"left out: {fault}" for fault in faults))

    def recipe(
        self,
        settings: Mapping[str, Any],
        timeline: Path | None,
        setting: TraceOptions = TraceOptions(),
    ) -> None:
        """Show the costs of one recipe and draw its timeline if asked for."""
        from locbench.costs.table_rows import recipe_row
        from locbench.report.cost_rows import JudgedRow, judged_entry, measured_steps
        from locbench.terminal.costs import labels_of, print_rows

        recipe = cost_recipe(settings)
        with traceable():
            row = recipe_row(recipe, self.predictions, setting)
        remark(*self.predictions.log.lines)
        if timeline is not None:
            self._draw(recipe, timeline, setting)
        measured = measured_steps(row, self.predictions, self.measurements, setting)
        judged = JudgedRow(row, measured=measured)
        labels = labels_of([row])

        def view(console: Console) -> None:
            print_rows(console, _title(recipe), labels, [judged])
            self._print_origins(labels, [judged], setting)

        self.output.show(lambda: judged_entry(judged), view)

    def _print_origins(
        self, labels: Labels, judged: Sequence[JudgedRow], setting: TraceOptions = TraceOptions()
    ) -> None:
        from locbench.terminal.cost_findings import print_measured_steps
        from locbench.terminal.costs import print_slowest

        print_measured_steps(self.console, labels, [row.measured for row in judged])
        for fault in self.measurements.lines:
            say(self.console, fault)
        say(self.console, f"Predictions are traced with {self.predictions.log.origin}.", "dim")
        kept = not self.predictions.log.unkept
        traced = [
            index
            for index, row in enumerate(judged)
            if self.predictions.has_traced(row.row.recipe, setting)
        ]
        print_slowest(self.console, labels, [row.row for row in judged], traced, kept=kept)

    def _draw(self, recipe: Recipe, path: Path, setting: TraceOptions) -> None:
        from locbench.costs.memory.timeline import draw
        from locbench.costs.memory.trace import trace_step
        from locbench.spec.partition import partition_of

        draw(trace_step(recipe, setting), partition_of(recipe).modules, _title(recipe), path)
        say(self.console, f"timeline: {path}")


def _title(recipe: Recipe) -> str:
    return f"{recipe.network}, {recipe.method}, batch {recipe.batch_size}"


def _refuse_detectors(table: Table) -> None:
    """Refuse detectors, whose step depends on what it finds and cannot be traced.

    Raises:
        UsageError: the table has detectors.
    """
    if any(cell.recipe and cell.recipe.detection for cell in table.cells):
        raise UsageError(
            f"{table.id} is of detectors, whose memory and operations depend on "
            "what they find and are not predicted",
            f"Parameters and time: locbench table {table.id} --plan. Backbones: "
            "locbench costs auglocal-imagenet",
        )


@contextmanager
def traceable() -> Iterator[None]:
    """Say in one message why a step cannot be traced, such as that BatchNorm refuses one value.

    Raises:
        UsageError: a layer refused its input.
    """
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"such a step cannot be traced: {error}", "Take a larger batch or image."
        ) from None


def refuse_more_than_one(
    table_id: str | None, residuals: bool, settings: Mapping[str, object]
) -> None:
    """Refuse anything but a table, a recipe, or ``--residuals``.

    Raises:
        UsageError: none of them is given, or more than one.
    """
    given = ["the table's ID"] if table_id is not None else []
    given += ["--residuals"] if residuals else []
    names = ("set" if name == "options" else name.replace("_", "-") for name in settings)
    options = [f"--{name}" for name in names]
    if given and (options or len(given) > 1):
        raise UsageError(
            f"too much is given: {', '.join([*given, *options])}",
            "Give an ID, or a recipe with its options, or --residuals.",
        )
    if not given and not {"network", "method"} <= settings.keys():
        raise UsageError("a table or a recipe is needed", "Give an ID, or --network and --method.")
