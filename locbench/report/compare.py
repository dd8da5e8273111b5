"""Hold a table's records against its published numbers. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from locbench.costs.calibration import Calibrated
from locbench.costs.measured_costs import MeasuredCost
from locbench.report.claims import judged_claims
from locbench.report.comparison import Comparison, Entry, Value
from locbench.report.derived import derived_notes, derived_values
from locbench.report.entries import CellRuns, cell_entries, runs_of
from locbench.report.groups import Group, Place, group_records
from locbench.report.ranks import FEWEST_CELLS, ranks
from locbench.report.sources import data_labels, sources_of
from locbench.results.record import Record
from locbench.tables import Table

Computed = Mapping[Place, Mapping[str, Value]]
"""Values that need no training, such as parameter counts: by (row, column), then by metric, in the metric's unit."""


def compare(
    table: Table,
    records: Iterable[Record],
    computed: Computed | None = None,
    calibrated: tuple[Calibrated, ...] = (),
    measured: tuple[MeasuredCost, ...] = (),
    fewest: int = FEWEST_CELLS,
) -> list[Comparison]:
    """Hold records against a table, one comparison per kind of schedule, full runs first.

    Args:
        table: the published table.
        records: any records; those of no cell of the table are passed over.
        computed: values that need no training; they stand in every comparison.
        calibrated: what predictions become with the paper's calibration; likewise, and judged by nothing.
        measured: what was measured of the table's costs on devices; it stands apart and fills no entry.
        fewest: the number of cells below which nothing is ranked.

    Returns:
        Full runs in one comparison, and one for every way of reducing; never mixed. Without any run, one comparison of
        the computed and measured values, or none if there are none of those either.
    """
    groups = group_records(table, records)
    if not groups and (computed or measured):
        groups = [Group(reduced=False, how="", runs={})]
    comparisons = [_comparison(table, group, computed or {}, fewest) for group in groups]
    return [
        msgspec.structs.replace(
            each, entries=_pointed(each.entries, measured), calibrated=calibrated, measured=measured
        )
        for each in comparisons
    ]


def _pointed(entries: tuple[Entry, ...], measured: tuple[MeasuredCost, ...]) -> tuple[Entry, ...]:
    """Let entries that only a device can fill say where that device's value stands."""
    devices = {place: each.device for each in measured for place in each.places}
    return tuple(
        msgspec.structs.replace(
            entry, detail=f"measured on {devices[entry.row, entry.column]}, in a section of its own"
        )
        if entry.kind == "measured" and entry.verdict == "missing" and (entry.row, entry.column) in devices
        else entry
        for entry in entries
    )


def unmeasured(table: Table) -> Comparison:
    """Return the comparison of a table of which nothing was run: every entry missing or blocked."""
    return _comparison(table, Group(reduced=False, how="", runs={}), {})


def only_run(comparison: Comparison) -> Comparison:
    """Return a comparison without the rows and columns of a metric of which nothing was run or computed."""
    live = [entry for entry in comparison.entries if entry.verdict not in ("missing", "blocked")]
    rows, columns = {(each.metric, each.row) for each in live}, {(each.metric, each.column) for each in live}
    kept = tuple(
        entry
        for entry in comparison.entries
        if (entry.metric, entry.row) in rows and (entry.metric, entry.column) in columns
    )
    derived = tuple(value for value in comparison.derived if value.from_measured is not None)
    hidden = comparison.hidden + len(comparison.entries) - len(kept)
    return msgspec.structs.replace(comparison, entries=kept, derived=derived, hidden=hidden)


def _comparison(table: Table, group: Group, computed: Computed, fewest: int = FEWEST_CELLS) -> Comparison:
    runs = {place: runs_of(records) for place, records in group.runs.items()}
    entries = tuple(
        entry
        for cell in table.cells
        for entry in cell_entries(
            table,
            cell,
            runs.get((cell.row, cell.column), CellRuns()),
            computed.get((cell.row, cell.column), {}),
            group.reduced,
        )
    )
    done = [record for each in runs.values() for record in each.done]
    derived = derived_values(table, entries)
    return Comparison(
        table=table.id,
        reduced=group.reduced,
        how=group.how,
        data_labels=data_labels(done),
        entries=entries,
        ranks=ranks(table, entries, fewest),
        derived=derived,
        notes=tuple(derived_notes(derived)),
        sources=sources_of(done),
        claims=judged_claims(table, entries),
    )
