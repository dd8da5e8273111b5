"""What a reader sees: lists, tables, plans and data sets on terminals of two widths, and their
JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_table import CELLS, MINI, ONE_CELL, Bench

from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table, table_ids

HEAVY = ["torch", "torchvision", "numpy", "pandas", "scipy", "sklearn", "PIL"]
WIDTHS = [80, 120]


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


@pytest.fixture
def published(bench: Bench) -> Bench:
    bench.ship()
    return bench


@pytest.fixture
def planned(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("locbench.costs.time_estimate.measured_rate", lambda *_: 1e9)
    return bench


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["table", "--help"], 0),
        (["list"], 0),
        (["list", "--json"], 0),
        (["list", "--methods"], 0),
        (["show", "auglocal-depth"], 0),
        (["show", "auglocal-depth", "--json"], 0),
        (["data"], 0),
        (["table", "pgl-perio"], 2),
        (["table", "pgl-period", "--rows", "nothing"], 2),
        (["run", "--network", "resnet32", "--method", "auglocal", "--set", "dept=3"], 2),
    ],
)
def test_answers_without_torch(arguments: list[str], code: int, tmp_path: Path) -> None:
    script = (
        "import json, sys\n"
        "from locbench.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as stopped:\n"
        f"    print(json.dumps([stopped.code, [name for name in {HEAVY} if name in "
        "sys.modules]]), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert json.loads(done.stderr.splitlines()[-1]) == [code, []]


# list


@pytest.mark.parametrize("width", WIDTHS)
def test_list_is_one_line_a_table(
    published: Bench, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = published.call("list").out.splitlines()
    assert all(len(line) <= width for line in lines)
    assert lines[0].split()[0] == "id"
    assert [line.split()[0] for line in lines[1:-1]] == table_ids()
    assert lines[-1].startswith("recorded:")


def test_list_cuts_a_long_title(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "A small one whose title is so long" in bench.call("list").out
    assert "room for it" not in bench.call("list").out
    assert "..." in bench.call("list").out
    monkeypatch.setenv("COLUMNS", "200")
    assert "room for it" in bench.call("list").out


def test_list_counts_cells_with_a_record(bench: Bench) -> None:
    assert f"0 of {CELLS}" in bench.call("list").out
    bench.call(
        "table", "mini", "--seeds", "2", "--rows", "DGL", "--columns", "J=2", "--epochs", "1"
    )
    assert f"1 of {CELLS}" in bench.call("list").out
    assert "0 of 5" in bench.call("list", "--results", "elsewhere").out


def test_list_json(bench: Bench) -> None:
    bench.call("table", "mini", *ONE_CELL, "--epochs", "1")
    (entry,) = bench.call("list", "--json").json
    assert entry.pop("title").startswith("A small one")
    expected = {"id": "mini", "paper": "pgl", "number": "Table 9", "cells": CELLS, "values": CELLS}
    assert entry == expected | {"recorded": 1, "reduced": 1}


# show


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("table_id", table_ids())
def test_show_fits_the_terminal(
    published: Bench, monkeypatch: pytest.MonkeyPatch, table_id: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = published.call("show", table_id).out.splitlines()
    assert [line for line in lines if len(line.rstrip()) > width] == []


@pytest.mark.parametrize("table_id", table_ids())
def test_show_has_every_published_text_and_every_note(published: Bench, table_id: str) -> None:
    table = load_table(table_id)
    out = published.call("show", table_id).out
    words = " ".join(out.split())
    for grid in table.published.values():
        assert all(text in out for texts in grid.values() for text in texts if text)
    assert all(" ".join(note.split()) in words for note in table.notes)
    assert table.source in words


def test_show_lays_the_table_out(bench: Bench) -> None:
    out = bench.call("show", "mini").out
    lines = [line.split() for line in out.splitlines()]
    assert ["J=4", "J=2"] in lines
    assert ["DGL", "83.63", "85.70", "±", "0.12"] in lines
    assert ["Backprop", "93.0", "—"] in lines
    assert "method=hpff+dgl, pff=0" in out
    assert "modules=4" in out
    assert "- The paper contradicts itself." in out


def test_show_says_what_cannot_run(bench: Bench) -> None:
    bench.write(
        MINI.replace('label = "Backprop"', 'label = "Backprop"\nblocked = "needs a supercomputer"')
    )
    assert "Not runnable: needs a supercomputer (Backprop)" in bench.call("show", "mini").out


def test_show_json(bench: Bench) -> None:
    shown = bench.call("show", "mini", "--json").json
    assert {name: shown[name] for name in ("id", "paper", "number")} == {
        "id": "mini",
        "paper": "pgl",
        "number": "Table 9",
    }
    assert len(shown["cells"]) == CELLS
    first, second = shown["cells"][:2]
    place = {"row": "Digits / DGL", "metric": "test_acc", "unit": "%"}
    assert place.items() | {("column", "J=4"), ("published", 83.63), ("std", None)} <= scalars(
        first
    )
    assert place.items() | {("column", "J=2"), ("published", 85.70), ("std", 0.12)} <= scalars(
        second
    )
    assert first["recipe"]["composition"]["branches"][0]["kind"] == "mlp"
    assert first["recipe"]["modules"] == 4


def scalars(entry: dict[str, Any]) -> set[tuple[str, Any]]:
    return {(name, value) for name, value in entry.items() if not isinstance(value, dict)}


@pytest.mark.parametrize("table_id", table_ids())
def test_show_json_of_every_table(published: Bench, table_id: str) -> None:
    shown = published.call("show", table_id, "--json").json
    table = load_table(table_id)
    assert len(shown["cells"]) == table.values
    for entry in shown["cells"]:
        assert entry["unit"] == table.metrics[entry["metric"]].unit
        assert isinstance(
            entry["published"], str if table.metrics[entry["metric"]].kind == "text" else float
        )
        assert (entry["recipe"] is None) == bool(entry["blocked"])
        assert entry["recipe"] is None or set(Recipe.__struct_fields__) <= set(entry["recipe"])


# plan


@pytest.mark.parametrize("width", WIDTHS)
def test_plan_is_one_line_a_cell(
    planned: Bench, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    planned.call("table", "mini", *ONE_CELL)
    before = planned.files()
    out = planned.call("table", "mini", "--plan").out
    lines = [line.rstrip() for line in out.splitlines()]
    assert "10 runs, 9 to do" in " ".join(out.split())
    grid = [line for line in lines if " M " in line]
    assert [line.split()[:2] for line in grid[:2]] == [["DGL", "J=4"], ["DGL", "J=2"]]
    assert len(grid) == CELLS
    assert grid[0].endswith("2 to do")
    assert grid[1].endswith("1 done, 1 to do")
    assert ("hpff+dgl" in out) == (width >= 100)
    assert all(len(line) <= width for line in lines)
    assert "left on this device" in out
    assert planned.files() == before


def test_plan_of_a_published_table_does_not_fold_its_labels(planned: Bench) -> None:
    planned.ship()
    lines = planned.call("table", "pgl-period", "--plan").out.splitlines()
    cells = [line for line in lines if " M " in line]
    assert all(line[0] != " " and line.rstrip().endswith("to do") for line in cells)
    assert len(lines) <= len(cells) + 8


def test_plan_writes_nothing(planned: Bench) -> None:
    planned.call("table", "mini", "--plan")
    assert not planned.results.exists()


def test_plan_json(planned: Bench) -> None:
    planned.call("table", "mini", *ONE_CELL)
    plan = planned.call("table", "mini", "--plan", "--json", "--seeds", "1").json
    assert [run["state"] for run in plan["runs"]] == ["to do", "done", "to do", "to do", "to do"]
    first = plan["runs"][0]
    assert first["cells"] == [{"row": "Digits / DGL", "column": "J=4"}]
    assert first["parameters"]["primary"] == 78_042
    assert first["recipe"]["seed"] == first["seed"] == 0
    left = sum(run["estimated_seconds"] for run in plan["runs"] if run["state"] == "to do")
    assert plan["estimated_seconds_left"] == pytest.approx(left, abs=0.1)


def test_plan_of_a_single_run(planned: Bench) -> None:
    out = planned.call(
        "run", "--network", "resnet8", "--method", "auglocal", "--seeds", "2", "--plan"
    ).out
    assert "2 runs, 2 to do" in out
    assert "auglocal" in out
    assert not planned.results.exists()


# table and run


def test_table_prints_plain_lines_where_there_is_no_terminal(bench: Bench) -> None:
    out = bench.call("table", "mini", *ONE_CELL).out
    assert "[1/1] Digits / DGL, J=2, seed 0" in out
    assert "done: dgl on digits, seed 0:" in out
    assert "\x1b" not in out
    assert "━" not in out
    assert "Records: results/records" in out


def test_bars_name_the_cell_that_is_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    bench.write(MINI.replace("Digits / DGL", "Digits [16] / DGL"))
    out = bench.call("table", "mini", *ONE_CELL).out
    assert "done: Digits [16] / DGL, J=2, seed 0: " in out


def test_table_shows_the_selected_cells_alone(bench: Bench) -> None:
    out = bench.call("table", "mini", *ONE_CELL).out
    assert "DGL*" not in out
    assert "Backprop" not in out
    assert "85.70" in out
    assert "83.63" not in out


@pytest.mark.parametrize("width", WIDTHS)
def test_table_does_not_fold_short_labels(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = bench.call("table", "mini", "--rows", "Backprop", "--seeds", "2").out
    assert any(line.split()[:2] == ["Backprop", "J=4"] for line in out.splitlines())


def test_table_json_is_json_alone(bench: Bench) -> None:
    called = bench.call("table", "mini", *ONE_CELL, "--json")
    assert called.json["table"] == "mini"
    assert [entry["verdict"] for entry in called.json["comparisons"][0]["entries"]] == [
        "unconfirmed"
    ]
    assert "[1/1]" in called.err


def test_a_second_call_computes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench.call("table", "mini", *ONE_CELL)
    before = bench.files()
    monkeypatch.setattr("locbench.execution.sweep.Sweep.run", lambda *arguments: 1 / 0)
    second = bench.call("table", "mini", *ONE_CELL)
    assert "1 runs, 1 recorded" in second.out
    assert bench.files() == before
    assert second.out.splitlines()[-3:] == first.out.splitlines()[-3:]


def test_run_says_each_record_once(bench: Bench) -> None:
    command = (
        "run",
        "--network",
        "resnet8",
        "--method",
        "dgl",
        "--limit",
        "64",
        "--epochs",
        "1",
        "--seeds",
        "2",
    )
    first = bench.call(*command)
    assert first.out.count("done: dgl on digits, seed 0") == 1
    assert first.out.count("results/records/resnet8-dgl-digits-e1-s1-") == 1
    assert "after 1 epoch," in first.out
    second = bench.call(*command)
    assert "[1/" not in second.out
    assert second.out.count("done: dgl on digits") == 2


def test_run_json(bench: Bench) -> None:
    command = (
        "run",
        "--network",
        "resnet8",
        "--method",
        "dgl",
        "--limit",
        "64",
        "--epochs",
        "1",
        "--json",
    )
    (record,) = bench.call(*command).json
    assert record["status"] == "done"
    assert record["described"]["momentum"] == 0.9
    assert len(record["history"]) == 1


# report and data


def test_report_writes_a_site_of_a_run(bench: Bench) -> None:
    assert bench.call("table", "mini", *ONE_CELL, "--preset", "smoke").code == 0
    called = bench.call("report", "--format", "html", "--out", "site")
    assert (called.code, called.out) == (0, "site/index.html\n")
    (record,) = bench.records()
    page = (bench.folder / "site" / "records" / f"{record.recipe.name}.html").read_text("utf-8")
    command = f"locbench rerun results/records/{record.recipe.name}.json"
    assert command in page
    assert bench.call(*command.split()[1:]).code == 0
    (bench.folder / "file").write_text("no folder")
    called = bench.call("report", "--format", "html", "--out", "file/site")
    assert called.code == 1
    assert called.err.count("cannot write") == 1


def test_report_writes_every_format(bench: Bench) -> None:
    bench.call("table", "mini", *ONE_CELL)
    called = bench.call("report", "--out", "written")
    assert sorted(path.name for path in (bench.folder / "written").iterdir()) == [
        "README.md",
        "mini.csv",
        "mini.json",
        "mini.md",
        "mini.tex",
    ]
    assert len(called.out.splitlines()) == 5
    assert bench.call("report", "mini", "--format", "json").json["table"] == "mini"
    assert bench.call("report", "mini", "--format", "latex").out.count("\\toprule") == 1


def test_data(bench: Bench) -> None:
    out = bench.call("data").out
    assert "digits        ready" in out
    assert "looked in :" not in out
    assert f"no files in {bench.folder / 'data' / 'svhn'}" in out
    states = {each["name"]: each["state"] for each in bench.call("data", "--json").json}
    assert states["digits"] == "ready"
    assert states["cifar10"] == "missing"
