"""`locbench splits`, its store, and tables of splits."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_table import Bench
from specimens import recipe

from locbench.costs.splits.cuts import (
    ModuleSpan,
    SortedPeaks,
)
from locbench.costs.splits.module_memory import ModuleMemory
from locbench.costs.splits.store import SplitStore, split_text
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table

SMALL = ("splits", "--dataset", "digits", "--batch-size", "8", "--network")


TABLE = """\
id = "blocks"
paper = "swin"
number = "Table 1"
title = "Blocks"
source = "Nobody 2024, Table 1"

[recipe]
network = "swin-micro"
dataset = "digits"
epochs = 1
batch_size = 8
lr = 0.05

[metrics.split]
unit = ""
kind = "text"
better = "none"

[[rows]]
label = "Micro"

[[columns]]
label = "Configuration"
recipe = { method = "bp" }

[[columns]]
label = "K=2"
recipe = { modules = 2, method = "swin-greedy" }

[published.split]
"Micro" = ["2,2,6,2", "12,0"]
"""


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def best_of(one: Recipe) -> list[tuple[SortedPeaks, tuple[int, ...]]]:
    """Return all divisions of a network of four local layers into two, each module traced."""
    segments = ModuleMemory(one)
    return sorted(
        (
            tuple(
                sorted(
                    (
                        segments.peak(ModuleSpan(0, 0, end)),
                        segments.peak(ModuleSpan(1, end + 1, 3)),
                    ),
                    reverse=True,
                )
            ),
            (end,),
        )
        for end in range(3)
    )


def test_the_command_prints_and_keeps_what_it_finds(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = bench.call(*SMALL, "resnet8", "--modules", "2", "--json")
    assert called.code == 0
    wanted = best_of(recipe("dgl", modules=2))
    found = called.json["best"]
    assert [each["split"] for each in found] == [[end + 1, 3 - end] for _, (end,) in wanted]
    assert [each["largest_bytes"] for each in found] == [order[0] for order, _ in wanted]
    assert [each["behind_percent"] for each in found] == [
        pytest.approx(100 * (order[0] / wanted[0][0][0] - 1)) for order, _ in wanted
    ]
    assert (called.json["divisions"], called.json["unit"], called.json["method"]) == (
        3,
        "local layers",
        "dgl",
    )
    trained = called.json["trained"]
    assert (trained["split"], trained["published"]) == ([2, 2], False)
    assert trained["rank"] == 1 + [end for _, (end,) in wanted].index(1)
    # Would fail if anything were traced.
    monkeypatch.setattr("locbench.costs.splits.module_memory.ModuleMemory", None)
    shown = bench.call(*SMALL, "resnet8", "--modules", "2")
    assert shown.code == 0
    assert "resnet8, dgl, K = 2, batch 8 of 16 x 16 pixels: 3 divisions" in shown.out
    assert f"{wanted[0][0][0] / 2**20:,.1f}" in shown.out
    assert "Traceback" not in shown.err


def test_more_divisions_than_were_kept_are_worked_out(bench: Bench) -> None:
    command = (*SMALL, "resnet8", "--modules", "3", "--method", "predsim", "--json", "--top")
    few, many = (bench.call(*command, count).json["best"] for count in ("1", "9"))
    assert (len(few), len(many)) == (1, 3)
    assert many[:1] == few
    assert all(sum(each["split"]) == 4 for each in many)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("swin-tiny", "--modules", "7"), "Choose K from 2 to 6."),
        (("swin-tiny", "--modules", "1"), "5 places for a cut, after every second block"),
        (("resnet8", "--modules", "5"), "Choose K from 2 to 4."),
        (("resnet8", "--modules", "2", "--method", "auglocal", "--set", "depth=5"), "0 places"),
        (("resnet9", "--modules", "2"), "unknown network 'resnet9'"),
        (("resnet8", "--modules", "2", "--method", "dlg"), "unknown method 'dlg'"),
        (("resnet8", "--modules", "2", "--method", "bp"), "no isolated modules"),
        (("resnet8", "--modules", "2", "--top", "0"), "--top is 0"),
        (("swin-tiny", "--modules", "2", "--image-size", "250"), "250 pixels"),
        (("resnet8",), "--modules"),
    ],
)
def test_wrong_usage_is_refused(bench: Bench, arguments: tuple[str, ...], said: str) -> None:
    called = bench.call(*SMALL, *arguments)
    assert called.code == 2
    assert said in called.err
    assert not called.out


def test_a_table_of_splits_is_computed(bench: Bench) -> None:
    bench.write(TABLE, "blocks")
    assert bench.call("table", "blocks").code == 0
    kept = [path.name for path in (bench.results / "costs").iterdir()]
    assert len([name for name in kept if name.startswith("splits-swin-micro")]) == 1
    called = bench.call("report", "blocks", "--format", "json")
    one = next(each.recipe for each in load_table("blocks").cells if each.column == "K=2")
    assert one is not None
    splits = SplitStore(bench.results).splits(one)
    assert splits is not None
    found = split_text("swin-micro", splits.best[0].units)
    (comparison,) = called.json["comparisons"]
    values = {
        entry["column"]: (entry["measured"], entry["verdict"]) for entry in comparison["entries"]
    }
    assert values == {"Configuration": ("2,2,6,2", "match"), "K=2": (found, "off")}


def test_without_traces_a_report_leaves_splits_out(tmp_path: Path) -> None:
    assert SplitStore(tmp_path).splits(recipe("dgl", modules=2)) is None
    assert not any(tmp_path.iterdir())
