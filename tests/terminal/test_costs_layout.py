"""The layout of `locbench costs` at any width."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from locbench.costs.calibration import Calibrated
from locbench.costs.table_rows import CostRow
from locbench.report.cost_rows import JudgedRow
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table, table_ids
from locbench.spec.tables import Table
from locbench.terminal.columns import LABELS, Column, Group, Labels, pack
from locbench.terminal.costs import ABOUT, labels_of, print_rows


def row_of(row: str, column: str, recipe: Recipe, **changes: Any) -> CostRow:
    """Return a row with figures as long as any: those of the largest published network."""
    known: dict[str, Any] = {
        "row": row,
        "column": column,
        "places": ((row, column),),
        "recipe": recipe,
        "params_primary": 123_456_000,
        "params_auxiliary": 23_456_000,
        "macs": 12_345_000_000,
        "flops": 12_678_000_000,
        "extra_macs": 0,
        "memory_peak_bytes": 157_123_000_000,
        "memory_local_bytes": None,
        "memory_guided_bytes": None,
        "memory_lean_bytes": 97_654_000_000,
        "bp_peak_bytes": 158_000_000_000,
        "published": {},
        "published_bp": None,
        "unit": "GB",
        "seconds": 0.0,
    }
    return CostRow(**known | changes)


def rows_of(table: Table) -> list[CostRow]:
    first: dict[str, CostRow] = {}
    for cell in table.cells:
        if cell.recipe is not None:
            first.setdefault(
                cell.recipe.key,
                row_of(cell.row, cell.column, cell.recipe, published=cell.published),
            )
    return list(first.values())


FIGURES = ("123.456", "23.456", "12.345", "12.678", "157.123", "99%", "97.654")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("table_id", table_ids())
def test_no_number_is_folded(table_id: str, width: int) -> None:
    table, out = load_table(table_id), io.StringIO()
    rows = rows_of(table)
    calibrated = Calibrated(
        table.paper, table.id, "", "", 157.12, 157.123, 160.456, "unfit", "because"
    )
    judged = [JudgedRow(row, calibrated=calibrated) for row in rows]
    print_rows(Console(file=out, width=width), table.id, labels_of(rows), judged)
    lines = out.getvalue().splitlines()
    words = [word.removeprefix(ABOUT) for line in lines for word in line.split()]
    for figure in (*FIGURES, "160.456", "+3.336"):
        assert words.count(figure) >= len(rows)
    assert max(map(len, lines)) <= width


def test_labels_are_what_distinguishes_the_recipes() -> None:
    transposed = labels_of(rows_of(load_table("auglocal-costs")))
    assert transposed.own[:2] == ("BP", "Gradient Checkpoint")
    assert set(transposed.groups) == {""}
    grid = labels_of(rows_of(load_table("pgl-costs")))
    assert grid.own[0] == "DGL (Baseline), J=16"
    assert (grid.groups[0], grid.own[-1], grid.groups[-1]) == (
        "CIFAR-10 / ResNet-32",
        "Backprop",
        "",
    )
    alone = labels_of(rows_of(load_table("auglocal-memory")))
    assert "AugLocal" in alone.own
    assert "GPU Memory" not in " ".join(alone.own)


def column(width: int, *, filled: bool = True) -> Column:
    return Column(("x" * width, ""), (Text("1" if filled else ""),))


def test_groups_stand_side_by_side_where_they_fit() -> None:
    one, two, three = column(8), column(8), column(8)  # ten characters each with their gaps
    groups = [Group((one,)), Group((two,)), Group((three,), before=(one,))]
    assert pack(groups, 30) == [[one, two, three]]
    assert pack(groups, 29) == [[one, two], [one, three]]
    assert pack(groups, 3) == [[one], [two], [one, three]]
    assert pack([Group((column(8, filled=False),))], 30) == []


def test_labels_give_way_to_numbers_down_to_a_least_width() -> None:
    labels = Labels("", ("",), ("a label of more than thirty characters",))
    least, most = LABELS
    assert [labels.width(room) for room in (100, 20, 3)] == [most, 20, least]
