"""Reports and claims for programs: CSV and JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from locbench.costs.measured.table import MeasuredCost, MeasurementSummary
from locbench.files import indented_json
from locbench.printable import printable
from locbench.report.claim_blocks import ClaimLine, claim_lines
from locbench.report.measured import step_words
from locbench.report.model import Comparison, Entry, JudgedClaim, TableComparisons
from locbench.report.text import heading, paper_name, table_notes
from locbench.spec.arguments import setting_words
from locbench.spec.tables import Cell, Table

COLUMNS = (
    "table",
    "row",
    "column",
    "metric",
    "unit",
    "kind",
    "published",
    "published_text",
    "published_std",
    "measured",
    "std",
    "n",
    "difference",
    "verdict",
    "reduced",
    "how",
    "epochs",
    "published_epochs",
    "dataset",
    "data_label",
    "best",
    "detail",
    "device",
    "engine",
    "benchmark",
    "predicted",
    "paper",
    "network",
    "modules",
    "published_dataset",
    "method",
    "options",
    "seeds",
    "mean",
    "published_mean",
    "own",
)
"""``device`` to ``predicted`` are of measured costs alone.

What a cell is, by its table, follows: ``modules`` is K, empty where every local layer is a module.
``mean`` and ``published_mean`` hold the numbers of ``measured`` and ``published``, which hold texts
too. ``seeds`` has blanks between them. ``own`` says that nothing is published of the place.
"""

WHOLE = ("n", "epochs", "published_epochs", "modules")
"""Columns of whole numbers."""


def tidy_rows(table: Table, comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Return one mapping per entry and then one per measured figure, with the keys of `COLUMNS`."""
    rows = [_row(comparison, entry) for comparison in comparisons for entry in comparison.entries]
    for cost in comparisons[0].measured if comparisons else ():
        rows += _measured(comparisons[0].table, cost)
    cells = {(cell.row, cell.column): cell_words(table, cell) for cell in table.cells}
    paper = {"paper": paper_name(table)}
    return [
        paper | row | cells.get((row["row"], row["column"]), {}) | _numbers(row) for row in rows
    ]


def cell_words(table: Table, cell: Cell) -> dict[str, Any]:
    """Return what a cell is, before presets change it; of a detector, its backbone's method."""
    settings = table.settings(cell)
    trained = settings.get("backbone") or settings
    return {
        "network": settings.get("network"),
        "modules": trained.get("modules"),
        "published_dataset": settings.get("dataset"),
        "method": trained.get("method"),
        "options": setting_words(trained.get("options", {})),
        "own": cell.own,
    }


def _numbers(row: Mapping[str, Any]) -> dict[str, float | None]:
    """Return what a row measured and what is printed, where these are numbers."""
    found = {"mean": row.get("measured"), "published_mean": row.get("published")}
    return {name: None if isinstance(value, str) else value for name, value in found.items()}


def tidy_csv(found: Sequence[TableComparisons]) -> str:
    """Return the comparisons of tables as one CSV with one header."""
    import pandas as pd  # takes a second to import

    rows = [row for table, comparisons in found for row in tidy_rows(table, comparisons)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    for name in WHOLE:
        frame[name] = frame[name].astype("Int64")
    return str(frame.map(as_cell).to_csv(index=False, lineterminator="\n"))


_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def as_cell(value: Any) -> Any:
    """Return a value that no spreadsheet takes for a formula: an apostrophe goes before those."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _row(comparison: Comparison, entry: Entry) -> dict[str, Any]:
    values = {name: getattr(entry, name) for name in COLUMNS if name in Entry.__struct_fields__}
    printed = entry.published
    number = (
        None if printed is None else printed.value if printed.value is not None else printed.text
    )
    return values | {
        "table": comparison.table,
        "published": number,
        "published_text": "" if printed is None else printed.text,
        "published_std": None if printed is None else printed.std,
        "reduced": comparison.reduced,
        "how": comparison.how,
        "seeds": " ".join(map(str, entry.seeds)),
    }


def _measured(table: str, cost: MeasuredCost) -> Iterator[dict[str, Any]]:
    for benchmark, reading in ((False, cost.off), (True, cost.on)):
        if reading is not None:
            common = {
                "table": table,
                "row": cost.row,
                "column": cost.column,
                "kind": "measured",
                "n": reading.steps,
                "reduced": False,
                "how": step_words(cost),
                "detail": reading.error,
                "device": cost.device,
                "engine": cost.engine,
                "benchmark": benchmark,
            }
            yield from (common | figure for figure in _figures(cost, reading))


def _figures(cost: MeasuredCost, reading: MeasurementSummary) -> Iterator[dict[str, Any]]:
    """Yield the figures of a reading under names of their own, which no prediction has."""
    cuda, failed = cost.meter == "cuda allocator", bool(reading.error)
    figures = (
        (
            "max_memory_allocated" if cuda else "cpu_allocated_peak",
            "GB",
            _gigabytes(reading.allocated_bytes),
        ),
        ("max_memory_reserved", "GB", _gigabytes(reading.reserved_bytes)),
        ("first_steps_allocated", "GB", _gigabytes(reading.first_allocated_bytes)),
        ("step_time", "ms", reading.milliseconds),
        ("measured_wall_clock_overhead", "%", reading.overhead),
    )
    for metric, unit, value in figures:
        if metric == figures[0][0] or (value is not None and not failed):
            yield {"metric": metric, "unit": unit, "measured": None if failed else value} | _beside(
                cost, metric
            )


def _beside(cost: MeasuredCost, metric: str) -> dict[str, Any]:
    memory = metric in ("max_memory_allocated", "cpu_allocated_peak")
    overhead = metric == "measured_wall_clock_overhead"
    printed = cost.published_memory if memory else cost.published_overhead if overhead else None
    known = {} if printed is None else {"published": printed.value, "published_text": printed.text}
    return known | ({"predicted": _gigabytes(cost.predicted_bytes)} if memory else {})


def _gigabytes(count: float | None) -> float | None:
    return None if count is None else count / 1e9


def document(table: Table, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return a table's report as plain types.

    What was measured on devices stands once, apart from the comparisons.
    """
    measured = comparisons[0].measured if comparisons else ()
    return {
        "table": table.id,
        "heading": heading(table),
        "paper": msgspec.to_builtins(table.paper),
        "extends": table.extends,
        "source": table.source,
        "trials": table.trials,
        "notes": table_notes(table),
        "comparisons": [_comparison(each) for each in comparisons],
        "measured": [
            msgspec.to_builtins(each) | {"predicted_percent_of_allocated": each.predicted_share}
            for each in measured
        ],
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    entry: dict[str, Any] = msgspec.to_builtins(comparison)
    entry |= {"counts": comparison.counts, "text_counts": comparison.text_counts}
    del entry["measured"]
    return entry


def json_text(found: Sequence[TableComparisons]) -> str:
    """Return a table's report as indented JSON.

    Of several tables, or of none, a list of such reports.
    """
    documents = [document(table, comparisons) for table, comparisons in found]
    whole = documents[0] if len(documents) == 1 else documents
    return indented_json(whole).decode()


def claims_csv(found: Sequence[TableComparisons]) -> str:
    """Return one line per claim and kind of runs as CSV."""
    import pandas as pd  # takes a second to import

    lines = [line for table, comparisons in found for line in claim_lines(table, comparisons)]
    rows = [_flat(line) for line in lines]
    names = ["table", *JudgedClaim.__struct_fields__, "runs", "how"]
    frame = pd.DataFrame(rows, columns=names)
    return str(frame.map(as_cell).to_csv(index=False, lineterminator="\n"))


def claims_json(found: Sequence[TableComparisons]) -> str:
    """Return a list of tables with their claims, each with its judgements, as indented JSON."""
    documents = [
        {"table": table.id, "heading": heading(table), "claims": _claims(table, comparisons)}
        for table, comparisons in found
    ]
    return indented_json(documents).decode()


_OF_CLAIM = (
    "text",
    "section",
    "metrics",
    "expect",
    "note",
    "published_as_claimed",
    "published_comparisons",
)


def _claims(table: Table, comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    documents: list[dict[str, Any]] = []
    for line in claim_lines(table, comparisons):
        values = msgspec.to_builtins(line.claim)
        known = {name: values.pop(name) for name in _OF_CLAIM}
        if not documents or documents[-1]["text"] != known["text"]:
            documents.append(known | {"judged": []})
        documents[-1]["judged"].append({"runs": line.runs, "how": line.how} | values)
    return documents


def _flat(line: ClaimLine) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(line.claim)
    joined = {name: "; ".join(values[name]) for name in ("metrics", "expect", "against")}
    return values | joined | {"table": line.table, "runs": line.runs, "how": line.how}
