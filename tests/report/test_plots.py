"""Tables as pictures: which plot suits which metric, and what is in it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from report_builders import make_record, reduced
from small_table import ONE_CELL, Bench

from locbench.commands.report import Selection, compared
from locbench.errors import UsageError
from locbench.report.compare import compare
from locbench.report.plots import (
    Panel,
    chosen_comparison,
    numbered,
    plot_table,
    plottable,
    table_panels,
)
from locbench.spec.table_files import load_table

RESULTS = Path(__file__).resolve().parents[2] / "results"


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("AugLocal d=2", ("AugLocal", "d", 2.0)),
        (
            "CIFAR-10 / ResNet-32 J=16 / PGL (Aux-Adapt) Q=3",
            ("CIFAR-10 / ResNet-32 J=16 / PGL (Aux-Adapt)", "Q", 3.0),
        ),
        ("tau=0.6", ("", "tau", 0.6)),
        ("ResNet-32 K=16 / DGL", None),
        ("BP", None),
    ],
)
def test_numbers_of_labels(label: str, found: tuple[str, str, float] | None) -> None:
    assert numbered(label) == found


def panels_of(table_id: str) -> list[Panel]:
    """Return the panels of a table of which one cell was run, on a reduced schedule."""
    table = load_table(table_id)
    first = next(cell.recipe for cell in table.cells if cell.recipe)
    (comparison,) = compare(table, [make_record(reduced(first, "quick"), 50.0)])
    return table_panels(table, comparison)


def test_two_numeric_axes_are_heat_maps() -> None:
    found = [(each.kind, each.title, len(each.entries)) for each in panels_of("pgl-period")]
    assert found == [
        ("heat", "Test accuracy (%), ours", 12),
        ("heat", "Test accuracy (%), paper", 12),
    ]


def test_one_numeric_axis_is_lines_with_the_others_beside() -> None:
    ours, paper = panels_of("auglocal-depth")  # parts of which nothing was run are left out
    assert [ours.title, paper.title] == ["ResNet-32, CIFAR-10, ours", "ResNet-32, CIFAR-10, paper"]
    assert (ours.sides, paper.sides) == (("ours",), ("paper",))
    assert [label for label, _ in ours.beside] == ["BP", "PredSim", "InfoPro", "DGL"]
    assert ours.places == tuple((float(d), "AugLocal") for d in range(2, 7))
    columns = panels_of("auglocal-aux")  # d stands in the columns' labels
    assert [(each.kind, len(each.entries)) for each in columns] == [("lines", 40)] * 2


def test_costs_are_bars_and_words_are_not_drawn(tmp_path: Path) -> None:
    ((table, comparisons),) = compared(["hpff-memory"], [RESULTS], Selection())
    (panel,) = table_panels(table, comparisons[0])
    assert (panel.kind, len(panel.entries), panel.ours) == ("bars", 14, 14)
    table = load_table("swin-splits")
    assert not plottable(table)
    ((table, comparisons),) = compared(["swin-splits"], [RESULTS], Selection())
    with pytest.raises(UsageError, match="prints words alone"):
        plot_table(table, comparisons, tmp_path / "no.png")
    with pytest.raises(UsageError, match="nothing of pgl-blocks to draw"):
        plot_table(load_table("pgl-blocks"), [], tmp_path / "no.png")


def test_ours_is_compared_with_the_paper_where_both_have_five_numbers(tmp_path: Path) -> None:
    table = load_table("pgl-period")
    recipes = {cell.recipe.key: cell.recipe for cell in table.cells if cell.recipe}
    records = [
        make_record(reduced(recipe, "quick"), 40.0 + index, seed)
        for index, recipe in enumerate(recipes.values())
        for seed in (0, 1)
    ]
    comparisons = compare(table, records)
    found = table_panels(table, comparisons[0])
    assert [(each.kind, each.title.rpartition(", ")[2]) for each in found[:2]] == [
        ("heat", "ours"),
        ("heat", "paper"),
    ]
    assert found[2].kind == "scatter"
    assert found[2].ours == 13
    assert "tau" in found[2].title
    path = tmp_path / "new" / "plot.svg"
    plot_table(table, comparisons, path)
    text = path.read_text()
    assert "40" in text
    assert "Ours are reduced runs" in text


@pytest.mark.parametrize("table_id", ["auglocal-depth", "auglocal-pyramid", "pgl-costs"])
def test_committed_tables_are_drawn(tmp_path: Path, table_id: str) -> None:
    ((table, comparisons),) = compared([table_id], [RESULTS], Selection())
    plot_table(table, comparisons, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000


def test_the_command_draws_one_table_or_all(bench: Bench) -> None:
    assert bench.call("table", "mini", *ONE_CELL).code == 0
    assert bench.call("report", "mini", "--plot", "mini.pdf").code == 0
    assert (bench.folder / "mini.pdf").read_bytes().startswith(b"%PDF")
    called = bench.call("report", "--plot", "plots")
    assert called.code == 0
    assert (bench.folder / "plots" / "mini.png").is_file()
    called = bench.call("report", "--plot", "plots.png")
    assert called.code == 2
    assert "do not fit into the one file" in called.err


def test_most_filled_runs_are_drawn() -> None:
    table = load_table("pgl-period")
    recipes = [cell.recipe for cell in table.cells if cell.recipe]
    few = [make_record(msgspec.structs.replace(recipes[0], epochs=160), 80.0)]
    many = [make_record(reduced(each, "quick"), 50.0) for each in recipes[:4]]
    assert chosen_comparison(compare(table, [*few, *many])).reduced
