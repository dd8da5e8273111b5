"""What ``locbench list`` says of reduced runs and of runs that belong to no table."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from report_builders import make_record
from small_table import Bench

from locbench.results.store import Store
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def recipe_of(column: str) -> Recipe:
    cells = load_table("mini").cells
    recipe = next(
        cell.recipe for cell in cells if (cell.row, cell.column) == ("Digits / DGL", column)
    )
    assert recipe is not None
    return recipe


def test_reduced_runs_are_counted_apart(bench: Bench) -> None:
    store = Store(bench.results)
    store.save(make_record(recipe_of("J=2"), 85.0))
    # Beside the full one.
    store.save(make_record(msgspec.structs.replace(recipe_of("J=2"), epochs=1), 50.0))
    store.save(make_record(msgspec.structs.replace(recipe_of("J=4"), epochs=1), 40.0))
    (entry,) = bench.call("list", "--json").json
    assert (entry["recorded"], entry["reduced"]) == (2, 1)
    lines = bench.call("list").out.splitlines()
    assert lines[1].split()[-4:] == ["2", "of", "5", "1"]
    assert not any("no table" in line for line in lines)


def test_runs_of_no_table_are_listed(bench: Bench) -> None:
    store = Store(bench.results)
    store.save(make_record(recipe_of("J=2"), 85.0))
    other = msgspec.structs.replace(recipe_of("J=2"), momentum=0.5)
    store.save(make_record(other, 61.25, provenance={"started": "2024-06-01T00:00:00"}))
    store.save(make_record(other, None, 1, error="loss is nan\x1b[31m"))
    assert "1 run of no table: locbench list --runs" in bench.call("list").out
    lines = bench.call("list", "--runs").out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(
        "2024-05-01  failed: resnet8 by dgl on digits, seed 1: loss is nan␛[31m"
    )
    assert lines[1].startswith(
        "2024-06-01  done: resnet8 by dgl on digits, seed 0: 61.25 % test accuracy (38.75 % error)"
    )
    failed, done = bench.call("list", "--runs", "--json").json
    assert (failed["status"], done["status"], done["metrics"]["test_acc"]) == (
        "failed",
        "done",
        61.25,
    )
    assert Path(done["file"]).is_file()
    assert done["key"] == msgspec.structs.replace(other, seed=0).key


def test_a_folder_without_records_has_no_runs(bench: Bench) -> None:
    assert bench.call("list", "--runs", "--json").json == []
    assert "0 runs of no table" in bench.call("list", "--runs").out
