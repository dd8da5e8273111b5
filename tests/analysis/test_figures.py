"""Published figures: their files, their trends, and the command from runs to pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from small_table import Bench

from locbench.analysis.trends import trends_seen
from locbench.errors import FailureError, UsageError
from locbench.spec.figures import Figure, Trend, load_figure, load_figures, read_figure

SMALL = """\
id = "small"
paper = "pgl"
number = "Figure 9"
title = "A small one"
source = "Nobody 2024, Figure 9"
kind = "curves"

[[trends]]
text = "The loss falls"
section = "4"
along = "falling"

[grid.recipe]
network = "resnet8"
dataset = "digits"
epochs = 2
batch_size = 32
lr = 0.05
train_limit = 64
test_limit = 50

[[grid.rows]]
label = "ResNet-8 / BP"
recipe = { method = "bp" }

[[grid.rows]]
label = "ResNet-8 / DGL"
recipe = { method = "dgl" }

[[grid.columns]]
label = "Digits"
"""


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "small.toml").write_text(SMALL)
    (folder / "similar.toml").write_text(
        SMALL.replace('"small"', '"similar"')
        .replace('kind = "curves"', 'kind = "cka"\nreference = "BP"')
        .replace("falls", "rises")
    )
    monkeypatch.setattr("locbench.spec.figures.figures_folder", lambda: folder)
    return Bench(tmp_path, monkeypatch, capsys)


def test_the_ten_figures_of_the_papers_with_data() -> None:
    """HPFF's Figure 2 and AugLocal's Figure 2 are diagrams, and so are all of the other papers."""
    found = {(figure.paper, figure.number): figure.kind for figure in load_figures()}
    assert found == {
        ("auglocal", "Figure 1"): "accuracy",
        ("auglocal", "Figure 3"): "cka",
        ("auglocal", "Figure 4"): "probe",
        ("auglocal", "Figure 5"): "reduction",
        ("auglocal", "Figure 6"): "curves",
        ("hpff", "Figure 1"): "accuracy",
        ("hpff", "Figure 3"): "tsne",
        ("hpff", "Figure 4"): "probe",
        ("hpff", "Figure 5"): "cka",
        ("hpff", "Figure 6"): "features",
    }


def test_figures_share_their_runs_with_the_tables() -> None:
    from locbench.spec.table_files import load_table

    depth = {cell.recipe.key for cell in load_table("auglocal-depth").cells if cell.recipe}
    for name in ("auglocal-fig1", "auglocal-fig3", "auglocal-fig4", "auglocal-fig6"):
        cells = load_figure(name).table().cells
        assert len(cells) == 18
        assert {cell.recipe.key for cell in cells if cell.recipe} <= depth
    benchmarks = load_table("hpff-benchmarks").cells
    published = {cell.recipe.key for cell in benchmarks if cell.recipe}
    own = {
        cell.row: cell.recipe.key for cell in load_figure("hpff-fig5").table().cells if cell.recipe
    }
    shared = [row for row, key in own.items() if key in published]
    assert shared == [row for row in own if "HiLo" not in row]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "small"', 'id = "large"', "key id"),
        ("[grid.recipe]", 'of = "x"\n[grid.recipe]', "unexpected|unknown|not both"),
        ('along = "falling"', 'order = ["BP", "DLG"]', "no label 'DLG'; Did you mean 'DGL'"),
        ('along = "falling"', 'along = "falling"\norder = ["BP"]', "not both"),
        ('along = "falling"', 'along = "falling"\npanel = "x"', "no panel 'x'"),
        ('kind = "curves"', 'kind = "cka"', "key reference"),
        ('kind = "curves"', 'kind = "curve"', "kind"),
        ('method = "bp"', 'method = "pb"', "unknown method 'pb'"),
        ("[[trends]]", "[[trend", "small.toml"),
    ],
)
def test_faults_of_a_figures_file(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "small.toml"
    path.write_text(SMALL.replace(old, new, 1))
    with pytest.raises(FailureError, match=message) as caught:
        read_figure(path)
    assert str(path) in caught.value.message


def test_unknown_figure_has_a_suggestion() -> None:
    with pytest.raises(UsageError, match="unknown figure 'auglocal-fig33'") as caught:
        load_figure("auglocal-fig33")
    assert "auglocal-fig3" in caught.value.remedy


def frame(**lines: list[float]) -> pd.DataFrame:
    rows = [
        {"panel": "", "label": label, "seed": 0, "key": label, "layer": layer, "value": value}
        for label, values in lines.items()
        for layer, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def figure(*trends: Trend) -> Figure:
    return Figure("x", "pgl", "Figure 9", "x", "x", kind="probe", trends=list(trends))


def test_trends_by_hand() -> None:
    data = frame(a=[1, 2, 9], b=[2, 2, 2], c=[6, 5, 4])
    rising, early, along, absent = trends_seen(
        figure(
            Trend("means rise", "1", order=["a", "b", "c"]),
            Trend("early rise", "1", order=[["a", "b"], "c"], measure="early"),
            Trend("lines fall", "1", along="falling"),
            Trend("others rise", "1", order=["x", "y"]),
        ),
        data,
    )
    assert rising.values == (("a", 4.0), ("b", 2.0), ("c", 5.0))
    assert rising.tau == pytest.approx(1 / 3)  # of three pairs two are in order
    assert rising.slope == pytest.approx(0.5)
    assert early.values == (("a, b", 1.5), ("c", 6.0))
    assert early.tau == 1
    # a rises by 4 per layer and c falls by 1; b says nothing. Falling is stated.
    assert along.tau == pytest.approx(-(1 - 1) / 2)
    assert along.slope == pytest.approx((4 - 1) / 2)
    assert (absent.tau, absent.slope, absent.values) == (None, None, ())


def test_a_figure_trains_what_is_missing_and_draws(bench: Bench) -> None:
    called = bench.call("figure", "small", "--plan")
    assert called.code == 0
    assert not bench.records()
    called = bench.call("figure", "small", "--out", "small.svg", "--data", "small.csv")
    assert called.code == 0, called.err
    assert "The loss falls (section 4). Ours: tau" in " ".join(called.out.split())
    keys = {record.key for record in bench.records()}
    data = pd.read_csv(bench.folder / "small.csv")
    assert set(data["key"]) == keys
    assert set(data["panel"]) == {"ResNet-8"}
    assert (bench.folder / "small.svg").read_text().lstrip().startswith("<?xml")
    assert not list((bench.results / "weights").glob("*"))
    before = bench.files()
    entry = json.loads(bench.call("figure", "similar", "--images", "40", "--json").out)
    assert [each["label"] for each in entry["summaries"]] == ["DGL"]
    assert bench.files().keys() == before.keys()
    assert len(list((bench.results / "weights").glob("*"))) == 2
    again = bench.files()
    assert bench.call("figure", "similar", "--images", "40").code == 0
    assert bench.files() == again


def test_figures_are_listed(bench: Bench) -> None:
    assert "similar" in bench.call("figure").out
    assert [each["id"] for each in json.loads(bench.call("figure", "--json").out)] == [
        "similar",
        "small",
    ]
    called = bench.call("figure", "--out", "x.png")
    assert called.code == 2
