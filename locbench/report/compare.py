"""Comparison of a table's records with its published numbers."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from locbench.costs.calibration import Calibrated
from locbench.costs.measured.table import MeasuredCost
from locbench.report.claims import judged_claims
from locbench.report.derived import derived_notes, derived_values
from locbench.report.grouping import Group, Place, group_records
from locbench.report.model import Comparison, Entry, Value, Verdict
from locbench.report.provenance import data_labels, sources_of
from locbench.report.ranks import FEWEST_CELLS, ranks
from locbench.report.verdicts import at_chance, judge_computed, judge_trained
from locbench.results.plugin_use import changed_lines
from locbench.results.record import Record
from locbench.results.store import Conflict
from locbench.spec.tables import Cell, Metric, Published, Table

Computed = Mapping[Place, Mapping[str, Value]]
"""Values that need no training, by (row, column), then by metric, in its unit."""


def compare(
    table: Table,
    records: Iterable[Record],
    computed: Computed | None = None,
    calibrated: tuple[Calibrated, ...] = (),
    measured: tuple[MeasuredCost, ...] = (),
    fewest: int = FEWEST_CELLS,
    conflicts: Mapping[str, Conflict] = MappingProxyType({}),
) -> list[Comparison]:
    """Compare records with a table, one comparison per kind of schedule, full runs first.

    Args:
        table: the published table.
        records: any records; those of no cell of the table are passed over.
        computed: values that need no training; they stand in every comparison.
        calibrated: what predictions become with the paper's calibration; likewise, and judged by
            nothing.
        measured: what was measured of the table's costs on devices; it stands apart and fills no
            entry.
        fewest: the number of cells below which nothing is ranked.
        conflicts: runs of which folders have different numbers, by key; entries say so.

    Returns:
        Full runs in one comparison, and one for every way of reducing; never mixed. Without any
        run, one comparison of the computed and measured values, or none if there are none of those
        either.
    """
    groups = group_records(table, records)
    if not groups and (computed or measured):
        groups = [Group(reduced=False, how="", runs={})]
    comparisons = [_comparison(table, group, computed or {}, fewest) for group in groups]
    comparisons = [
        msgspec.structs.replace(each, entries=_with_conflicts(each.entries, group, conflicts))
        for each, group in zip(comparisons, groups, strict=True)
    ]
    return [
        msgspec.structs.replace(
            comparison,
            entries=_with_device_note(comparison.entries, measured),
            calibrated=calibrated,
            measured=measured,
        )
        for comparison in comparisons
    ]


def _with_conflicts(
    entries: tuple[Entry, ...], group: Group, conflicts: Mapping[str, Conflict]
) -> tuple[Entry, ...]:
    """Let trained entries say which of their runs have other numbers in another folder."""

    def noted(entry: Entry) -> Entry:
        runs = group.runs.get((entry.row, entry.column), ()) if entry.kind == "trained" else ()
        words = [conflicts[run.key].words for run in runs if run.key in conflicts]
        detail = "; ".join(filter(None, [entry.detail, *words]))
        return msgspec.structs.replace(entry, detail=detail) if words else entry

    return tuple(map(noted, entries)) if conflicts else entries


def _with_device_note(
    entries: tuple[Entry, ...], measured: tuple[MeasuredCost, ...]
) -> tuple[Entry, ...]:
    """Let entries that only a device can fill say where that device's value stands."""
    devices = {place: cost.device for cost in measured for place in cost.places}
    return tuple(
        msgspec.structs.replace(
            entry, detail=f"measured on {devices[entry.row, entry.column]}, in a section of its own"
        )
        if entry.kind == "measured"
        and entry.verdict == "missing"
        and (entry.row, entry.column) in devices
        else entry
        for entry in entries
    )


def unmeasured(table: Table) -> Comparison:
    """Return the comparison of a table of which nothing was run: every entry missing or blocked."""
    return _comparison(table, Group(reduced=False, how="", runs={}), {})


def only_run(comparison: Comparison) -> Comparison:
    """Return a comparison without rows and columns of which nothing was run or computed."""
    live = [entry for entry in comparison.entries if entry.verdict not in ("missing", "blocked")]
    rows = {(entry.metric, entry.row) for entry in live}
    columns = {(entry.metric, entry.column) for entry in live}
    kept = tuple(
        entry
        for entry in comparison.entries
        if (entry.metric, entry.row) in rows and (entry.metric, entry.column) in columns
    )
    derived = tuple(value for value in comparison.derived if value.from_measured is not None)
    hidden = comparison.hidden + len(comparison.entries) - len(kept)
    return msgspec.structs.replace(comparison, entries=kept, derived=derived, hidden=hidden)


def _comparison(
    table: Table, group: Group, computed: Computed, fewest: int = FEWEST_CELLS
) -> Comparison:
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
    done = [record for cell in runs.values() for record in cell.done]
    derived = derived_values(table, entries)
    return Comparison(
        table=table.id,
        reduced=group.reduced,
        how=group.how,
        data_labels=data_labels(done),
        entries=entries,
        ranks=ranks(table, entries, fewest),
        derived=derived,
        notes=(*derived_notes(derived), *changed_lines(done)),
        sources=sources_of(done),
        claims=judged_claims(table, entries),
    )


class CellRuns(msgspec.Struct, frozen=True):
    """A cell's runs on one kind of schedule: a finished one per seed, and failed ones."""

    done: tuple[Record, ...] = ()
    failed: tuple[Record, ...] = ()


def runs_of(records: Sequence[Record]) -> CellRuns:
    """Sort a cell's records.

    Of several with one seed, which are the same run, the newest finished one counts.
    """
    ordered = sorted(
        records, key=lambda record: (record.status == "done", record.provenance.started, record.key)
    )
    newest = {record.recipe.seed: record for record in ordered}
    kept = [newest[seed] for seed in sorted(newest)]
    return CellRuns(
        done=tuple(record for record in kept if record.status == "done"),
        failed=tuple(record for record in kept if record.status == "failed"),
    )


def cell_entries(
    table: Table, cell: Cell, runs: CellRuns, computed: Mapping[str, Value], reduced: bool
) -> Iterator[Entry]:
    """Return one entry per published value of a cell.

    Where a figure is not legible (``Table.computed``), a metric without a published value is shown
    if measured; at a place of one's own always.
    """
    for name in cell.metrics:
        entry = _entry(name, table.metrics[name], cell, runs, computed, reduced)
        if cell.own or entry.published is not None or entry.measured is not None:
            yield entry


def _entry(
    name: str,
    metric: Metric,
    cell: Cell,
    runs: CellRuns,
    computed: Mapping[str, Value],
    reduced: bool,
) -> Entry:
    published = cell.published.get(name)
    known: dict[str, Any]
    if name in computed:
        known = _from_computed(computed[name], metric, published)
    elif metric.kind == "trained" and (runs.done or runs.failed):
        known = _from_runs(name, runs, published, reduced) | _training(cell, runs)
    else:
        known = {"verdict": "blocked" if cell.blocked else "missing", "detail": cell.blocked}
    if cell.own and known["verdict"] == "unconfirmed":
        known["verdict"] = "own"
    known |= {"row": cell.row, "column": cell.column, "metric": name, "published": published}
    known["own"] = cell.own
    return Entry(unit=metric.unit, kind=metric.kind, **known)


def _from_computed(value: Value, metric: Metric, published: Published | None) -> dict[str, Any]:
    verdict: Verdict = "predicted" if metric.kind == "predicted" else "unconfirmed"
    if published is not None:
        verdict = judge_computed(value, metric.kind, published)
    if isinstance(value, str):
        return {"measured": value, "verdict": verdict}
    known = {
        "measured": float(value),
        "verdict": verdict,
        "difference": _difference(value, published),
    }
    return known | ({"ratio": _ratio(value, published)} if metric.kind == "predicted" else {})


def _from_runs(
    metric: str, runs: CellRuns, published: Published | None, reduced: bool
) -> dict[str, Any]:
    records = [record for record in runs.done if metric in record.metrics]
    values = [record.metrics[metric] for record in records]
    if not values:
        lacking = f"the finished runs recorded no {metric}" if runs.done else ""
        return {
            "verdict": "missing" if runs.done else "failed",
            "detail": lacking or _failures(runs),
        }
    mean, std = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
    known: dict[str, Any] = {
        "measured": mean,
        "std": std,
        "n": len(values),
        "values": tuple(values),
        "seeds": tuple(record.recipe.seed for record in records),
    }
    known |= {
        "best": _best(metric, runs),
        "detail": _failures(runs),
        "at_chance": at_chance(metric, mean, records),
    }
    if reduced:
        return known | {"verdict": "reduced"}
    verdict = (
        "unconfirmed" if published is None else judge_trained(mean, std, len(values), published)
    )
    return known | {"verdict": verdict, "difference": _difference(mean, published)}


def _ratio(value: float, published: Published | None) -> float | None:
    return value / published.value if published is not None and published.value else None


def _difference(value: float, published: Published | None) -> float | None:
    return None if published is None or published.value is None else value - published.value


def _best(metric: str, runs: CellRuns) -> float | None:
    values = [record.metrics["best_acc"] for record in runs.done if "best_acc" in record.metrics]
    if not values or metric not in ("test_acc", "test_err"):
        return None
    mean = statistics.fmean(values)
    return mean if metric == "test_acc" else 100 - mean


def _failures(runs: CellRuns) -> str:
    seeds: dict[str, list[str]] = defaultdict(list)
    for record in runs.failed:
        seeds[" ".join(record.error.split()) or "no reason recorded"].append(
            str(record.recipe.seed)
        )
    return "; ".join(
        f"seed{'s' if len(own) > 1 else ''} {', '.join(own)} failed: {error}"
        for error, own in seeds.items()
    )


def _training(cell: Cell, runs: CellRuns) -> dict[str, Any]:
    records = [*runs.done, *runs.failed]
    labels = dict.fromkeys(record.data.label for record in records if record.data)
    return {
        "epochs": records[0].recipe.epochs,
        "published_epochs": cell.recipe.epochs if cell.recipe else None,
        "dataset": records[0].recipe.dataset,
        "data_label": ", ".join(labels),
    }
