"""Rows of costs with what the report says of them: verdicts of exact values, and calibrated memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from locbench.costs.calibration import Calibrated, Role
from locbench.costs.measurement_book import MeasurementBook
from locbench.costs.needed import MEMORY_UNITS
from locbench.costs.rows import CostRow, row_entry
from locbench.launch.cost_measured import MeasuredStep, measured_entry, measured_steps
from locbench.report.comparison import Comparison, Entry, Verdict

JUDGED = ("exact", "text")
"""Kinds of metrics that a verdict is reached on without a run."""

ROLES: dict[Role, str] = {"fitted": "fitted", "held out": "held out", "unfit": "does not fit"}
"""A calibration's roles in words."""


class JudgedRow(msgspec.Struct, frozen=True):
    """A recipe's costs held against the paper.

    Attributes:
        row: what was counted and predicted.
        entries: one per published value that can be judged.
        calibrated: the prediction with the paper's calibration, beside it and never in its place; None without one.
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


def judge(rows: Iterable[CostRow], comparisons: Sequence[Comparison], measurements: MeasurementBook) -> list[JudgedRow]:
    """Give every row its share of a table's comparison without runs, of which there is one or none."""
    entries = [entry for each in comparisons for entry in each.entries if entry.kind in JUDGED and entry.published]
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
        "calibrated_bytes": None if found is None else round(found.calibrated * MEMORY_UNITS[found.unit]),
        "calibration_role": None if found is None else found.role,
        "calibration_why": None if found is None else found.why or None,
        "measured": [measured_entry(each) for each in judged.measured],
    }
