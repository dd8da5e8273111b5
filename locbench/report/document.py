"""Reports as JSON: everything that the other formats show. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from locbench.report.comparison import Comparison
from locbench.report.sentences import heading, table_notes
from locbench.tables import Table


def document(table: Table, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return a table's report as plain types; what was measured on devices stands once, apart from the comparisons."""
    measured = comparisons[0].measured if comparisons else ()
    return {
        "table": table.id,
        "heading": heading(table),
        "source": table.source,
        "trials": table.trials,
        "notes": table_notes(table),
        "comparisons": [_comparison(each) for each in comparisons],
        "measured": [
            msgspec.to_builtins(each) | {"predicted_percent_of_allocated": each.predicted_share} for each in measured
        ],
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    entry: dict[str, Any] = msgspec.to_builtins(comparison)
    entry |= {"counts": comparison.counts, "text_counts": comparison.text_counts}
    del entry["measured"]
    return entry


def json_text(found: Sequence[tuple[Table, Sequence[Comparison]]]) -> str:
    """Return a table's report as indented JSON; of several tables, or of none, a list of such reports."""
    documents = [document(table, comparisons) for table, comparisons in found]
    whole = documents[0] if len(documents) == 1 else documents
    return msgspec.json.format(msgspec.json.encode(whole), indent=1).decode() + "\n"
