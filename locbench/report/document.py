"""Reports as JSON: everything that the other formats show. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from locbench.report.comparison import Comparison
from locbench.report.sentences import heading, table_notes
from locbench.tables import Table


def document(table: Table, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return a table's report as plain types."""
    return {
        "table": table.id,
        "heading": heading(table),
        "source": table.source,
        "trials": table.trials,
        "notes": table_notes(table),
        "comparisons": [msgspec.to_builtins(each) | {"counts": each.counts} for each in comparisons],
    }


def json_text(table: Table, comparisons: Sequence[Comparison]) -> str:
    """Return a table's report as JSON, indented."""
    return msgspec.json.format(msgspec.json.encode(document(table, comparisons)), indent=1).decode() + "\n"
