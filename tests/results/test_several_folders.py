"""Several folders of records that are read as one: a colleague's, another machine's, a newer
version's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from report_builders import make_record
from small_table import ONE_CELL, Bench

from locbench.results.record import Record
from locbench.results.store import Store
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table

BOTH = ("--results", "results", "--results", "theirs")


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def recipe(row: str, column: str = "J=2") -> Recipe:
    cells = (cell for cell in load_table("mini").cells if cell.column == column)
    found = next(cell.recipe for cell in cells if cell.row == f"Digits / {row}")
    assert found is not None
    return found


def kept(bench: Bench, folder: str, row: str, accuracy: float | None, **changes: Any) -> Record:
    """Put a record of a cell of the small table into a folder."""
    record = make_record(recipe(row), accuracy, **changes)
    store = Store(bench.folder / folder)
    store.prepare()
    store.save(record)
    return record


def entry(bench: Bench, row: str, *options: str) -> dict[str, Any]:
    report = bench.call("report", "mini", "--json", *options)
    assert report.code == 0, report.err
    (comparison,) = report.json["comparisons"]
    found: dict[str, Any] = next(
        each
        for each in comparison["entries"]
        if each["row"] == f"Digits / {row}" and each["column"] == "J=2"
    )
    return found


def recorded(bench: Bench, *options: str) -> int:
    (table,) = bench.call("list", "--json", *options).json
    count: int = table["recorded"]
    return count


def test_records_of_both_folders_count(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(bench, "results", "DGL", 80.0)
    kept(bench, "theirs", "DGL*", 90.0)
    assert (recorded(bench), recorded(bench, "--results", "theirs")) == (1, 1)
    assert recorded(bench, *BOTH) == 2
    monkeypatch.setenv("LOCBENCH_RESULTS", os.pathsep.join(("results", "theirs")))
    assert recorded(bench) == 2
    assert entry(bench, "DGL")["measured"] == 80.0
    assert entry(bench, "DGL*")["measured"] == 90.0
    assert bench.call("costs", "mini").code == 0  # its traces go into the first one
    assert (bench.folder / "results" / "costs").is_dir()


def test_seeds_of_two_machines_are_one_mean(bench: Bench) -> None:
    kept(bench, "results", "DGL", 80.0)
    kept(bench, "theirs", "DGL", 90.0, seed=1)
    found = entry(bench, "DGL", *BOTH)
    assert (found["measured"], found["n"], found["values"]) == (85.0, 2, [80.0, 90.0])


def test_a_run_of_another_folder_is_not_run_again_and_nothing_is_written_there(
    bench: Bench,
) -> None:
    bench.call("table", "mini", *ONE_CELL, "--device", "cpu", "--results", "theirs")
    before = {path: path.read_bytes() for path in bench.folder.joinpath("theirs").rglob("*.json")}
    more = ("--columns", "J=2", "--seeds", "1", "--device", "cpu")
    called = bench.call("table", "mini", *more, *BOTH)
    assert called.code == 0
    assert "2 runs, 1 recorded" in called.out
    assert "Report: locbench report mini --results results --results theirs" in called.out
    assert [record.recipe.method for record in bench.records()] == ["hpff+dgl"]
    plan = bench.call("campaign", "mini::J=2", "--seeds", "1", "--plan", "--json", *BOTH).json
    assert (plan[0]["recorded"], plan[0]["to do"]) == (2, 0)
    again = bench.call("table", "mini", *ONE_CELL, "--rerun", "all", "--device", "cpu", *BOTH)
    assert again.code == 0
    assert len(bench.records()) == 2
    assert "different numbers" not in again.err  # on one machine the same numbers come again
    after = {path: path.read_bytes() for path in bench.folder.joinpath("theirs").rglob("*.json")}
    assert after == before


def test_different_numbers_of_one_run_are_shown(bench: Bench) -> None:
    own = kept(bench, "results", "DGL", 80.0)
    kept(bench, "theirs", "DGL", 90.0)
    said = f"{own.recipe.name} has best_acc 80.5, test_acc 80, test_err 20 in results, which counts"
    theirs = "and best_acc 90.5, test_acc 90, test_err 10 in theirs"
    for command in (("list",), ("report", "mini"), ("table", "mini", "--plan")):
        called = bench.call(*command, *BOTH)
        assert called.code == 0
        assert f"different numbers: {said}, {theirs}" in " ".join(called.err.split())
    found = entry(bench, "DGL", *BOTH)
    assert (found["measured"], found["n"]) == (80.0, 1)
    assert found["detail"] == f"{said}, {theirs}"
    assert theirs in bench.call("report", "mini", *BOTH).out.replace("\\", "")
    turned = entry(bench, "DGL", "--results", "theirs", "--results", "results")
    assert turned["measured"] == 90.0


def test_equal_numbers_of_one_run_are_one(bench: Bench) -> None:
    for folder, device in (("results", "a processor"), ("theirs", "another one")):
        kept(bench, folder, "DGL", 80.0, provenance={"device": device})
    called = bench.call("report", "mini", *BOTH)
    assert "different numbers" not in called.err
    found = entry(bench, "DGL", *BOTH)
    assert (found["n"], found["detail"]) == (1, "")


def test_a_finished_run_elsewhere_counts_before_a_failed_one(bench: Bench) -> None:
    kept(bench, "results", "DGL", None)
    kept(bench, "theirs", "DGL", 90.0)
    assert entry(bench, "DGL", *BOTH)["measured"] == 90.0
    assert "different numbers" not in bench.call("list", *BOTH).err


# What cannot be used here


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edited(path: Path) -> None:
        plain = msgspec.json.decode(path.read_bytes())
        change(plain)
        path.write_bytes(msgspec.json.encode(plain))

    return edited


def with_data_set(path: Path) -> None:
    """Let a record be of a set that is unknown here, with the key that it has where it is known."""
    edit(lambda plain: plain["recipe"].update(dataset="theirset"))(path)
    plain = msgspec.json.decode(path.read_bytes())
    key = msgspec.convert(plain["recipe"], Recipe).key
    edit(lambda plain: plain.update(key=key))(path)
    path.rename(path.with_name(f"theirset-{key}.json"))


FOREIGN: dict[str, tuple[Callable[[Path], None], str]] = {
    "schema": (edit(lambda plain: plain.update(schema=2)), "a newer locbench made it"),
    "field": (edit(lambda plain: plain.update(new=1)), "a newer locbench may have made it"),
    "setting": (edit(lambda plain: plain["recipe"].update(new=1)), "unknown field `new`"),
    "network": (
        edit(lambda plain: plain["recipe"].update(network="theirnet")),
        "unknown network 'theirnet'",
    ),
    "method": (
        edit(lambda plain: plain["recipe"]["composition"]["branches"][0].update(kind="theirs")),
        "theirs",
    ),
    "data set": (with_data_set, "unknown data set 'theirset'"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_records_that_are_not_of_here_are_set_aside_and_counted(bench: Bench, kind: str) -> None:
    kept(bench, "results", "DGL", 80.0)
    change, reason = FOREIGN[kind]
    for seed in (0, 1):
        change(Store(bench.folder / "theirs").path(kept(bench, "theirs", "DGL*", 90.0, seed=seed)))
    theirs = sorted((bench.folder / "theirs" / "records").iterdir())
    before = [path.read_bytes() for path in theirs]
    assert bench.call("table", "mini", "--plan", *BOTH).code == 0
    for command in (("list",), ("list", "--runs"), ("report",)):
        called = bench.call(*command, *BOTH)
        assert called.code == 0
        assert reason in called.err
        assert called.err.count("set aside:") in (1, 2)
        assert "elete" not in called.err
        assert "emove" not in called.err
    assert recorded(bench, *BOTH) == 1
    assert [path.read_bytes() for path in theirs] == before
    # Alone they are no error either: there is nothing to report, and a table shows what is printed.
    alone = ("--results", "theirs")
    assert bench.call("list", *alone).code == 0
    assert bench.call("report", "mini", *alone).code == 0
    nothing = bench.call("report", *alone)
    assert nothing.code == 2
    assert "no records below theirs that can be used here, and 2 that cannot" in nothing.err


def test_files_with_one_reason_are_one_line(bench: Bench) -> None:
    kept(bench, "results", "DGL", 80.0)
    for seed in range(8):
        path = Store(bench.folder / "theirs").path(kept(bench, "theirs", "DGL", 9.0, seed=seed))
        FOREIGN["schema"][0](path)
    told = [line for line in bench.call("list", *BOTH).err.splitlines() if "set aside" in line]
    assert len(told) == 2
    assert "and 7 more: a newer locbench made it" in told[0]


def test_a_broken_file_in_each_folder_is_named_and_nothing_else_is_lost(bench: Bench) -> None:
    for folder, row in (("results", "DGL"), ("theirs", "DGL*")):
        kept(bench, folder, row, 80.0)
        (bench.folder / folder / "records" / f"{folder}.json").write_bytes(b"{")
    called = bench.call("report", "mini", *BOTH)
    assert called.code == 0
    for folder in ("results", "theirs"):
        assert f"{folder}/records/{folder}.json" in called.err
    assert recorded(bench, *BOTH) == 2


def test_a_further_folder_has_to_be_there(bench: Bench) -> None:
    for command in (("list",), ("report",), ("table", "mini"), ("campaign", "mini")):
        called = bench.call(*command, "--results", "results", "--results", "nowhere")
        assert (called.code, called.out) == (2, "")
        assert "--results names no folder: nowhere" in called.err
    assert recorded(bench, "--results", "new", "--results", ".") == 0
