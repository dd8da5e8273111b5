"""What tells a table's recipes apart, in few words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from locbench.costs.rows import CostRow
from locbench.launch.cost_grids import Labels
from locbench.report.sentences import split_label


def labels_of(rows: Sequence[CostRow]) -> Labels:
    """Return what distinguishes every row: its column alone where a table's rows are metrics, else its row.

    The column joins the row's label where several recipes share that; a recipe outside a table has its network and
    method. A group that all rows share is the head.
    """
    in_rows, in_columns = Counter(row.row for row in rows), Counter(row.column for row in rows)
    transposed = len(in_columns) == len(rows) > len(in_rows)
    found = [_label(row, transposed, alone=in_rows[row.row] == 1) for row in rows]
    groups = tuple(group for group, _ in found)
    head = groups[0] if len(set(groups)) == 1 else ""
    return Labels(head, groups, tuple(own for _, own in found))


def full_label(labels: Labels, index: int) -> str:
    """Return a row's label with its group."""
    return " / ".join(filter(None, (labels.groups[index], labels.own[index])))


def _label(row: CostRow, transposed: bool, alone: bool) -> tuple[str, str]:
    if not row.places:
        return "", f"{row.recipe.network} {row.recipe.method}"
    if transposed:
        return "", row.column
    group, own = split_label(row.row)
    return group, own if alone else f"{own}, {row.column}"
