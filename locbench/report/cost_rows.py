"""Rows of costs with verdicts, calibrated memory and measurements."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from locbench.costs.calibration import Calibrated, Role, calibrated_values
from locbench.costs.measured.store import MeasurementStore
from locbench.costs.measured.table import CostCell, MeasuredCost, MeasurementSummary, recipe_costs
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.store import PredictionStore
from locbench.costs.table_rows import CostRow, row_entry
from locbench.costs.table_values import MEMORY_UNITS, computed_if_needed
from locbench.report.compare import CellRuns, cell_entries
from locbench.report.model import Entry, Verdict
from locbench.spec.tables import Table

JUDGED = ("exact", "text")
"""Kinds of metrics that a verdict is reached on without a run."""

ROLES: dict[Role, str] = {"fitted": "fitted", "held out": "held out", "unfit": "does not fit"}
"""A calibration's roles in words."""


class StepMeasurement(NamedTuple):
    """One measurement of a recipe's own step that did not fail."""

    cost: MeasuredCost
    benchmark: bool
    summary: MeasurementSummary


class JudgedRow(msgspec.Struct, frozen=True):
    """A recipe's costs compared with the paper's.

    Attributes:
        row: what was counted and predicted.
        entries: one per published value that can be judged.
        calibrated: the prediction with the paper's calibration, beside it and never in its place;
            None without one.
        measured: what was measured of the same step on devices; likewise.
    """

    row: CostRow
    entries: tuple[Entry, ...] = ()
    calibrated: Calibrated | None = None
    measured: tuple[StepMeasurement, ...] = ()

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict of each metric; ``off`` where one of several values is."""
        verdicts: dict[str, Verdict] = {}
        for entry in self.entries:
            if verdicts.get(entry.metric) != "off":
                verdicts[entry.metric] = entry.verdict
        return verdicts


def judged_rows(
    table: Table,
    rows: Iterable[CostRow],
    predictions: PredictionStore,
    measurements: MeasurementStore,
) -> list[JudgedRow]:
    """Compare the rows of a table with what it prints, without any run."""
    computed = computed_if_needed(table, predictions)
    calibrated = {
        (value.row, value.column): value for value in calibrated_values(table, predictions)
    }
    cells = {(cell.row, cell.column): cell for cell in table.cells}
    return [
        JudgedRow(
            row,
            tuple(
                entry
                for place in row.places
                for entry in cell_entries(
                    table, cells[place], CellRuns(), computed.get(place, {}), reduced=False
                )
                if entry.kind in JUDGED and entry.published
            ),
            next((calibrated[place] for place in row.places if place in calibrated), None),
            measured_steps(row, predictions, measurements),
        )
        for row in rows
    ]


def measured_steps(
    row: CostRow,
    predictions: PredictionStore,
    measurements: MeasurementStore,
    options: TraceOptions = TraceOptions(),
) -> tuple[StepMeasurement, ...]:
    """Return what was measured of a row's recipe, in its own variant, on any device."""
    cell = CostCell(row.places, row.recipe, row.published, row.unit)
    steps = [
        StepMeasurement(cost, benchmark, summary)
        for cost in recipe_costs(cell, row.recipe, measurements, predictions, options)
        for benchmark, summary in ((False, cost.off), (True, cost.on))
        if cost.step != "mean" and summary is not None and not summary.error
    ]
    return tuple(
        sorted(steps, key=lambda step: (step.cost.step == "global", *_device(step), step.benchmark))
    )


def _device(step: StepMeasurement) -> tuple[str, str]:
    return step.cost.device, step.cost.engine


def judged_entry(judged: JudgedRow) -> dict[str, Any]:
    """Return a row as plain JSON types: bytes, operations and parameters, not rounded."""
    calibrated = judged.calibrated
    return row_entry(judged.row) | {
        "verdicts": judged.verdicts,
        "calibrated_bytes": None
        if calibrated is None
        else round(calibrated.calibrated * MEMORY_UNITS[calibrated.unit]),
        "calibration_role": None if calibrated is None else calibrated.role,
        "calibration_why": None if calibrated is None else calibrated.why or None,
        "measured": [_measured_entry(step) for step in judged.measured],
    }


def _measured_entry(step: StepMeasurement) -> dict[str, Any]:
    cost, benchmark, summary = step
    return {
        "step": cost.step,
        "engine": cost.engine,
        "device": cost.device,
        "benchmark": benchmark,
        "meter": cost.meter,
        "allocated_bytes": summary.allocated_bytes,
        "reserved_bytes": summary.reserved_bytes,
        "milliseconds": summary.milliseconds,
        "steps": summary.steps,
        "predicted_bytes": cost.predicted_bytes,
        "predicted_percent": cost.share_of(summary),
    }
