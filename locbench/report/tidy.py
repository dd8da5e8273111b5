"""Reports as CSV: one line per published value and kind of schedule. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from locbench.report.comparison import Comparison, Entry
from locbench.tables import Table

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
)


def tidy_rows(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Return one mapping per entry, with the keys of `COLUMNS`."""
    return [_row(comparison, entry) for comparison in comparisons for entry in comparison.entries]


def tidy_csv(table: Table, comparisons: Sequence[Comparison]) -> str:  # noqa: ARG001 - as every format
    """Return a table's comparisons as CSV."""
    import pandas as pd  # takes a second to import

    frame = pd.DataFrame(tidy_rows(comparisons), columns=list(COLUMNS))
    for name in ("n", "epochs", "published_epochs"):
        frame[name] = frame[name].astype("Int64")
    return str(frame.to_csv(index=False, lineterminator="\n"))


def _row(comparison: Comparison, entry: Entry) -> dict[str, Any]:
    values = {name: getattr(entry, name) for name in COLUMNS if name in Entry.__struct_fields__}
    printed = entry.published
    number = None if printed is None else printed.value if printed.value is not None else printed.text
    return values | {
        "table": comparison.table,
        "published": number,
        "published_text": "" if printed is None else printed.text,
        "published_std": None if printed is None else printed.std,
        "reduced": comparison.reduced,
        "how": comparison.how,
    }
