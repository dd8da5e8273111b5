"""Reports as blocks: grids are whole, and every format shows their values."""

from __future__ import annotations

import io

import pytest
from report_builders import make_record, make_table, recipe_at, reduced
from rich.console import Console

from locbench.report.compare import compare
from locbench.report.document import Block, Grid, Heading
from locbench.report.latex import latex
from locbench.report.markdown import markdown
from locbench.report.sections import report_blocks
from locbench.spec.table_files import load_tables
from locbench.spec.tables import Claim, Derived
from locbench.terminal.comparison import print_blocks


def blocks() -> list[Block]:
    """A full run of 91.25 and a reduced one of 40.5, a claim, and a derived value of both."""
    drop = Derived("drop", "test_acc", "pp", "difference", {"CIFAR-10 / DGL": "CIFAR-10 / BP"}, {})
    claim = Claim("BP beats DGL", "3.1", "test_acc", "BP > DGL")
    table = make_table(derived=[drop], claims=[claim])
    dgl, bp = recipe_at(table, "DGL"), recipe_at(table, "BP")
    records = [make_record(dgl, 91.25), make_record(bp, 93.0)]
    records += [make_record(reduced(recipe, "quick"), 40.5) for recipe in (dgl, bp)]
    return report_blocks(table, compare(table, records))


def test_a_cell_has_its_value_and_what_is_published() -> None:
    grid = next(block for block in blocks() if isinstance(block, Grid))
    cell = grid.rows[0].cells[2]
    assert cell.entry is not None
    assert cell.entry.published is not None
    assert (cell.entry.measured, cell.entry.published.value) == (91.25, 90.0)
    assert (cell.text, cell.verdict) == ("91.25 (1) unconfirmed, +1.25", "unconfirmed")
    assert grid.rows[1].kind == "paper"


def test_sections_follow_the_runs() -> None:
    titles = [block.text for block in blocks() if isinstance(block, Heading) and block.level == 2]
    assert titles[0] == "Full runs: the published schedule"
    assert titles[1].startswith("Reduced run: 12 of 160 epochs")


def test_every_grid_is_whole_and_has_a_label_of_its_own() -> None:
    found = [block for block in blocks() if isinstance(block, Grid)]
    for table in load_tables():
        found += [
            block
            for block in report_blocks(table, compare(table, [], {("", ""): {}}))
            if isinstance(block, Grid)
        ]
    assert len({grid.label for grid in found}) == len(found) > 27
    for grid in found:
        assert len(grid.header) == len(grid.align)
        for row in grid.rows:
            assert len(row.cells) == (1 if row.kind == "group" else len(grid.header))


@pytest.mark.parametrize("text", ["91.25", "90.00", "40.50", "1.75", "BP beats DGL", "drop"])
def test_every_format_shows_every_value(text: str) -> None:
    console = Console(file=io.StringIO(), width=120)
    print_blocks(console, blocks())
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    for shown in (printed, markdown(blocks()), latex(blocks())):
        assert text in shown
