"""Rows of costs with what the report says of them: verdicts of exact values, and calibrated memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from locbench.costs.calibration import Calibrated, Role
from locbench.costs.measured.store import Measurement, MeasurementStore
from locbench.costs.measured.table import phase_settings
from locbench.costs.table_rows import CostRow, row_entry
from locbench.costs.table_values import MEMORY_UNITS
from locbench.report.model import Comparison, Entry, Verdict

JUDGED = ("exact", "text")
"""Kinds of metrics that a verdict is reached on without a run."""

ROLES: dict[Role, str] = {"fitted": "fitted", "held out": "held out", "unfit": "does not fit"}
"""A calibration's roles in words."""


class JudgedRow(msgspec.Struct, frozen=True):
    """A recipe's costs held against the paper.

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
    measured: tuple[MeasuredStep, ...] = ()

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict of each metric; ``off`` where one of several values is."""
        found: dict[str, Verdict] = {}
        for entry in self.entries:
            if found.get(entry.metric) != "off":
                found[entry.metric] = entry.verdict
        return found


def judge(
    rows: Iterable[CostRow], comparisons: Sequence[Comparison], measurements: MeasurementStore
) -> list[JudgedRow]:
    """Give every row its share of a table's comparison without runs, of which there is one or none."""
    entries = [
        entry
        for each in comparisons
        for entry in each.entries
        if entry.kind in JUDGED and entry.published
    ]
    calibrated = {(one.row, one.column): one for each in comparisons for one in each.calibrated}
    return [
        JudgedRow(
            row,
            tuple(entry for entry in entries if (entry.row, entry.column) in row.places),
            next((calibrated[place] for place in row.places if place in calibrated), None),
            measured_steps(row, measurements),
        )
        for row in rows
    ]


def judged_entry(judged: JudgedRow) -> dict[str, Any]:
    """Return a row as plain JSON types: bytes, operations and parameters, not rounded."""
    found = judged.calibrated
    return row_entry(judged.row) | {
        "verdicts": judged.verdicts,
        "calibrated_bytes": None
        if found is None
        else round(found.calibrated * MEMORY_UNITS[found.unit]),
        "calibration_role": None if found is None else found.role,
        "calibration_why": None if found is None else found.why or None,
        "measured": [measured_entry(each) for each in judged.measured],
    }


class MeasuredStep(msgspec.Struct, frozen=True):
    """One measurement of a recipe's step, and the prediction for the same step.

    Attributes:
        step: ``local`` or ``global`` with PGL's phases; else empty.
        predicted_bytes: the predicted peak of this kind of step.
    """

    step: str
    predicted_bytes: int
    made: Measurement

    @property
    def predicted_percent(self) -> float | None:
        """Predicted bytes in percent of the allocated ones; None where nothing was."""
        return (
            100 * self.predicted_bytes / self.made.allocated_bytes
            if self.made.allocated_bytes
            else None
        )


def measured_steps(row: CostRow, measurements: MeasurementStore) -> tuple[MeasuredStep, ...]:
    """Return what was measured of a row's recipe, in its own variant, on any device."""
    phases = len(phase_settings(row.recipe)) > 1
    found = []
    for each in phase_settings(row.recipe):
        predicted = row.memory_guided_bytes if each.guided else row.memory_local_bytes
        step = ("global" if each.guided else "local") if phases else ""
        own = measurements.of(row.recipe, each)
        for made in sorted(
            own, key=lambda made: (made.device, made.provenance.engine, made.benchmark)
        ):
            found.append(MeasuredStep(step, predicted or row.memory_peak_bytes, made))
    return tuple(found)


def measured_entry(measured: MeasuredStep) -> dict[str, Any]:
    """Return a measurement as plain JSON types: bytes and milliseconds."""
    names = (
        "device",
        "benchmark",
        "meter",
        "allocated_bytes",
        "reserved_bytes",
        "milliseconds",
        "steps",
    )
    own = {name: getattr(measured.made, name) for name in names}
    shares = {
        "predicted_bytes": measured.predicted_bytes,
        "predicted_percent": measured.predicted_percent,
    }
    return {"step": measured.step, "engine": measured.made.provenance.engine} | own | shares
