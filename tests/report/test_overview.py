"""The page of all tables and figures beside the reports."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_builders import make_record, make_table, reduced
from small_table import ONE_CELL, Bench

from locbench.report.compare import compare
from locbench.report.overview import MARK, overview, write_overview


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def test_what_is_run_and_what_is_not_by_hand(tmp_path: Path) -> None:
    """Eight published numbers: DGL's two and BP's, which is one run for both columns, in full."""
    table = make_table()
    recipes = [cell.recipe for cell in table.cells if cell.recipe]
    assert len(recipes) == 8
    records = [make_record(each, 90.0 - index) for index, each in enumerate(recipes[:3])]
    records.append(make_record(reduced(recipes[4], "quick"), 50.0))
    other = make_table(id="untouched", number="Table 2")
    text = overview([(table, compare(table, records)), (other, [])], records, tmp_path)
    assert text.startswith(f"{MARK}\n# Results\n")
    assert "Of 16 numbers in 2 tables, 4 are trained on" in text
    assert "1 on a reduced one, and 0 are computed; 0 of 0 counted" in text
    first, second = (line for line in text.splitlines() if "| PGL, Table" in line)
    assert first.startswith("| PGL, Table 2 | untouched | 8 |  |  |  |  |  |  |")
    assert second.startswith("| PGL, Table 9 | example | 8 | 4 | 1† |  |  |")
    assert "* `locbench table example`: 3 runs" in text


def test_a_page_of_somebody_else_stays(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Mine\n")
    assert write_overview([], [], tmp_path) is None
    assert (tmp_path / "README.md").read_text() == "# Mine\n"
    (tmp_path / "README.md").unlink()
    assert write_overview([], [], tmp_path) == tmp_path / "README.md"
    assert write_overview([], [], tmp_path) is not None


def test_the_report_of_all_tables_writes_it(bench: Bench) -> None:
    assert bench.call("table", "mini", *ONE_CELL).code == 0
    assert bench.call("report", "mini", "--out", "one").code == 0
    assert not (bench.folder / "one" / "README.md").exists()
    assert bench.call("report", "--out", "all").code == 0
    text = (bench.folder / "all" / "README.md").read_text()
    assert "[mini](mini.md)" in text
    assert "`locbench table mini`: 1 run" in text
    assert "{{" not in text
