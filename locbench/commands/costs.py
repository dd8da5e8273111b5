"""What `locbench costs` and `locbench fit` do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from locbench.console import Terminal, print_json, remark
from locbench.costs.measured.store import MeasurementStore
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.store import PredictionStore
from locbench.errors import FailureError, LocbenchError, UsageError
from locbench.spec.arguments import cost_recipe, parse_option
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table, load_tables
from locbench.spec.tables import Table

if TYPE_CHECKING:
    from locbench.report.cost_rows import JudgedRow
    from locbench.terminal.columns import Labels

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
        self.results = results
        self.predictions, self.measurements = (
            PredictionStore(results, trace=True),
            MeasurementStore(results),
        )
        self.as_json = as_json
        self.console = Terminal(stderr=as_json)

    def table(self, table_id: str) -> None:
        """Show the costs of every recipe of a table, held against what it prints."""
        from locbench.commands.report import comparisons_of
        from locbench.costs.table_rows import table_rows
        from locbench.report.cost_rows import judge, judged_entry
        from locbench.terminal.columns import labels_of
        from locbench.terminal.cost_findings import print_findings
        from locbench.terminal.costs import print_rows

        table = load_table(table_id)
        _refuse_detectors(table)
        traced = self._untraced(cell.recipe for cell in table.cells if cell.recipe)
        with self.console.status("tracing") as status:
            rows = []
            for row in table_rows(table, self.predictions):
                rows.append(row)
                status.update(f"tracing: {len(rows)} recipes done")
            comparisons = comparisons_of(table, [], self.predictions)
        remark(*self.predictions.log.lines)
        judged = judge(rows, comparisons, self.measurements)
        if self.as_json:
            print_json({"id": table.id, "cells": [judged_entry(each) for each in judged]})
            return
        labels = labels_of(rows)
        print_rows(self.console, f"{table.id} ({table.number}: {table.title})", labels, judged)
        print_findings(self.console, table, labels, judged, comparisons)
        self._beside(labels, judged, traced)

    def residuals(self) -> None:
        """Show how far predicted and calibrated memory are from what the papers print, over all
        calibrated tables.
        """
        from locbench.costs.calibration import calibrated_values, residuals
        from locbench.terminal.cost_findings import print_residuals

        faults: list[LocbenchError] = []
        with self.console.status("tracing"):
            found = residuals(
                each
                for table in load_tables(faults)
                for each in calibrated_values(table, self.predictions)
            )
        remark(*self.predictions.log.lines)
        if self.as_json:
            print_json({"residuals": found})
        else:
            print_residuals(self.console, found)
        remark(*(f"left out: {fault}" for fault in faults))

    def recipe(
        self,
        wanted: dict[str, object],
        options: Sequence[str],
        timeline: Path | None,
        setting: TraceOptions = TraceOptions(),
    ) -> None:
        """Show the costs of one recipe and draw its timeline if asked for."""
        from locbench.costs.table_rows import recipe_row
        from locbench.report.cost_rows import judge, judged_entry
        from locbench.terminal.columns import labels_of
        from locbench.terminal.costs import print_rows

        wanted = wanted | {"dataset": wanted["dataset"] or "cifar10"}
        recipe = cost_recipe(wanted, dict(parse_option(each) for each in options))
        traced = self._untraced([recipe])
        with traceable():
            row = recipe_row(recipe, self.predictions, setting)
        remark(*self.predictions.log.lines)
        if timeline is not None:
            self._draw(recipe, timeline, setting)
        (judged,) = judge([row], [], self.measurements)
        if self.as_json:
            print_json(judged_entry(judged))
            return
        labels = labels_of([row])
        print_rows(
            self.console,
            f"{recipe.network}, {recipe.method}, batch {recipe.batch_size}",
            labels,
            [judged],
        )
        self._beside(labels, [judged], traced)

    def _beside(self, labels: Labels, judged: Sequence[JudgedRow], traced: set[str]) -> None:
        from locbench.terminal.cost_findings import print_measured_steps
        from locbench.terminal.costs import print_slowest

        print_measured_steps(self.console, labels, [each.measured for each in judged])
        for fault in self.measurements.lines:
            self.console.print(fault, markup=False, soft_wrap=True)
        self.console.print(
            f"Predictions are traced with {self.predictions.log.origin}.",
            style="dim",
            soft_wrap=True,
        )
        kept = not self.predictions.log.unkept
        print_slowest(self.console, labels, [each.row for each in judged], traced, kept=kept)

    def _untraced(self, recipes: Iterable[Recipe]) -> set[str]:
        kept = PredictionStore(self.results)
        return {each.key for each in recipes if kept.footprint(each) is None}

    def fit(self, memory: str, wanted: Mapping[str, object], options: Sequence[str]) -> None:
        """Show the largest batch of a method, or the methods by what they cost at a batch."""
        from locbench.costs.memory.fit import parse_bytes, rank_for_batch
        from locbench.terminal.splits import candidate_entry, print_candidates

        size = parse_bytes(memory)
        if wanted["method"] is None:
            with traceable():
                found = rank_for_batch(_candidates(wanted), size)
            if self.as_json:
                print_json([candidate_entry(each) for each in found])
            else:
                print_candidates(self.console, found, size)
            return
        if wanted["batch_size"] is not None:
            raise UsageError(
                "--batch-size is given, and the largest batch of --method is looked for",
                "Leave out one of them; without --method the cheapest method for a batch is found.",
            )
        self._largest(cost_recipe(wanted, dict(parse_option(each) for each in options)), size)

    def _largest(self, recipe: Recipe, size: int) -> None:
        from locbench.costs.memory.fit import largest_batch, on_device
        from locbench.costs.memory.held import held_by
        from locbench.terminal.splits import print_batches

        held, device = held_by(recipe), None
        with traceable():
            tensors = largest_batch(recipe, size)
            with suppress(FailureError):  # tensors may fit where nothing else does
                device = largest_batch(recipe, size, need=on_device(held))
        if self.as_json:
            entry: dict[str, object] = {
                "batch_size": tensors[0],
                "memory_peak_bytes": tensors[1],
                "memory_bytes": size,
            }
            batch, needs = device or (None, None)
            print_json(
                entry | {"device_batch_size": batch, "device_bytes": needs, "device_how": held.how}
            )
        else:
            print_batches(self.console, recipe, size, tensors, device, held.how)

    def _draw(self, recipe: Recipe, path: Path, setting: TraceOptions) -> None:
        from locbench.costs.memory.timeline import draw
        from locbench.costs.memory.trace import trace_step
        from locbench.spec.partition import partition_of

        title = f"{recipe.network}, {recipe.method}, batch {recipe.batch_size}"
        draw(trace_step(recipe, setting), partition_of(recipe).modules, title, path)
        self.console.print(f"timeline: {path}", markup=False, soft_wrap=True)


def _refuse_detectors(table: Table) -> None:
    """Say that costs are of classifiers: a detector's step depends on what it finds and cannot be
    traced.

    Raises:
        UsageError: the table has detectors.
    """
    if any(cell.recipe and cell.recipe.detection for cell in table.cells):
        raise UsageError(
            f"{table.id} is of detectors, whose memory and operations depend on what they find and are not predicted",
            f"Parameters and time: locbench table {table.id} --plan. Backbones: locbench costs auglocal-imagenet",
        )


@contextmanager
def traceable() -> Iterator[None]:
    """Say in one message why a step cannot be traced: BatchNorm refuses one value, a convolution no
    pixels.

    Raises:
        UsageError: a layer refused its input.
    """
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"such a step cannot be traced: {error}", "Take a larger batch or image."
        ) from None


def _candidates(wanted: Mapping[str, object]) -> list[Recipe]:
    """Return the recipes that `locbench fit` chooses among.

    On a transformer also those made for transformers.
    """
    transformer = NETWORKS[str(wanted["network"])].transformer is not None
    if not transformer:
        return [cost_recipe({**wanted, "method": name}, given) for name, given in CANDIDATES]
    names = [
        *(each for each in CANDIDATES if each[0] != "auglocal"),
        ("swin-reconstruction", {}),
        ("swin-infopro", {}),
    ]
    return [cost_recipe({**wanted, "method": name}, given) for name, given in names]


def one_of(table_id: str | None, residuals: bool, wanted: Mapping[str, object]) -> None:
    """Refuse anything but a table, a recipe, or ``--residuals``.

    Raises:
        UsageError: none of them is given, or more than one.
    """
    given = ["the table's ID"] if table_id is not None else []
    given += ["--residuals"] if residuals else []
    options = [
        f"--{name.replace('_', '-')}" for name, value in wanted.items() if value not in (None, [])
    ]
    if given and (options or len(given) > 1):
        names = ", ".join([*given, *options])
        raise UsageError(
            f"too much is given: {names}",
            "Give an ID, or a recipe with its options, or --residuals.",
        )
    if not given and (wanted["network"] is None or wanted["method"] is None):
        raise UsageError("a table or a recipe is needed", "Give an ID, or --network and --method.")
