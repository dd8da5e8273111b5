"""A results folder: names that file systems take, what is tried before training, and whose records
are in it.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from report_builders import make_record, make_table, recipe_at
from small_table import ONE_CELL, Bench

from locbench.costs.measured.store import MeasurementStore
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.store import PredictionStore
from locbench.costs.splits.store import SplitStore
from locbench.errors import FailureError
from locbench.results import provenance
from locbench.results.provenance import tracked
from locbench.results.store import Store
from locbench.spec.recipe import Recipe

DEEP = "imagefolder:" + "/".join(120 * letter for letter in "xyz")
TABLE = ("table", "mini")


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def deep_recipe(**changes: Any) -> Recipe:
    return msgspec.structs.replace(recipe_at(make_table(), "DGL"), **{"dataset": DEEP} | changes)


# Names


@pytest.mark.parametrize("method", ["dgl", "hpff+" * 60 + "dgl"])
def test_a_record_of_a_long_path_is_kept_and_found(tmp_path: Path, method: str) -> None:
    recipe = deep_recipe(method=method)
    assert len(os.fsencode(f"{recipe.name}.json")) < 255
    assert recipe.name.endswith(recipe.key)
    store = Store(tmp_path)
    store.prepare([recipe])
    made = make_record(recipe, 50.0)
    store.save(made)
    assert store.find(recipe.key) == made


def test_a_long_name_of_an_earlier_version_is_found_and_replaced(tmp_path: Path) -> None:
    recipe = deep_recipe(dataset="imagefolder:" + 200 * "x")
    made, store = make_record(recipe, 50.0), Store(tmp_path)
    store.prepare()
    old = store.records / f"resnet32-k16-dgl-imagefolder-{200 * 'x'}-s0-{recipe.key}.json"
    old.write_bytes(msgspec.json.encode(made))
    assert store.find(recipe.key) == made
    assert store.save(made) != old
    assert not old.exists()


def test_names_of_predictions_and_measurements_are_short_enough(tmp_path: Path) -> None:
    recipe = deep_recipe()
    measured = MeasurementStore(tmp_path).path(recipe, TraceOptions(), "GPU " * 9, benchmark=True)
    for path in (
        PredictionStore(tmp_path).path(recipe, TraceOptions()),
        SplitStore(tmp_path).path(recipe),
        measured,
    ):
        assert len(os.fsencode(path.name)) < 255
    assert measured.name.endswith("-GPU-GPU-eager-benchmark.json")


# What is tried before training


def short_names(limit: int) -> Any:
    """A file system that takes no names of more bytes, such as one that encrypts them."""
    opened = Path.open

    def open_short(path: Path, *arguments: Any, **options: Any) -> Any:
        if len(os.fsencode(path.name)) > limit:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(path))
        return opened(path, *arguments, **options)

    return open_short


def test_the_longest_name_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", short_names(100))
    Store(tmp_path).prepare([recipe_at(make_table(), "DGL")])
    with pytest.raises(FailureError, match="too long"):
        Store(tmp_path).prepare([recipe_at(make_table(), "DGL"), deep_recipe()])


def test_every_folder_that_will_be_written_is_tried(tmp_path: Path) -> None:
    for name, weights in ((".checkpoints", False), ("weights", True)):
        results = tmp_path / name
        results.mkdir()
        (results / name).write_text("not a folder")
        with pytest.raises(FailureError, match="cannot write to the results folder"):
            Store(results).prepare(weights=weights)
    Store(tmp_path / "weights").prepare()  # no weights will be kept


@pytest.mark.parametrize("what", ["checkpoint", "weights"])
def test_a_folder_in_the_place_of_a_file_is_met_first(tmp_path: Path, what: str) -> None:
    store, recipe = Store(tmp_path), recipe_at(make_table(), "DGL")
    path: Path = getattr(store, what)(recipe.key)
    path.mkdir(parents=True)
    with pytest.raises(FailureError, match=r"is a folder, and a file will be put there"):
        store.prepare([recipe])


def test_nothing_is_trained_that_could_not_be_recorded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "open", short_names(20))
    monkeypatch.setattr("locbench.execution.sweep.Sweep.run_job", None)
    called = bench.call(*TABLE, *ONE_CELL, "--epochs", "1")
    assert called.code == 1
    assert "cannot write to the results folder results: File name too long" in called.err


# Whose records there are


def git(folder: Path, *arguments: str) -> None:
    own = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    subprocess.run(["git", "-C", str(folder), *own, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that ships two records; it is taken for that of the code."""
    root = tmp_path / "checkout"
    store = Store(root / "results")
    store.prepare()
    for row in ("DGL", "BP"):
        store.save(make_record(recipe_at(make_table(), row), 50.0))
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "Records")):
        git(root, *command)
    monkeypatch.setattr(provenance, "_ROOT", root)
    return root


def test_records_that_came_with_the_repository_are_told_apart(
    checkout: Path, tmp_path: Path
) -> None:
    store = Store(checkout / "results")
    dgl, bp, own = (
        make_record(recipe_at(make_table(), row), 40.0) for row in ("DGL", "BP", "PredSim")
    )
    store.save(own)
    assert store.shipped() == 2
    assert store.shipped([dgl.key, own.key, "0" * 12]) == 1
    store.save(dgl)  # made anew here
    assert store.shipped() == 1
    assert tracked(store.records) == {store.path(bp).name}
    shutil.copytree(store.records, tmp_path / "elsewhere" / "records")
    assert Store(tmp_path / "elsewhere").shipped() == 0


def test_where_git_does_not_answer_nothing_is_said(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert Store(checkout / "results").shipped() == 0


def test_the_commands_say_whose_records_there_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (*TABLE, *ONE_CELL, "--epochs", "1")
    bench.call(*command)
    said = "1 of the recorded runs came with the repository and were not made here: --results DIR"
    assert said not in bench.call(*command, "--plan").out
    for step in (("init", "-q"), ("add", "results/records"), ("commit", "-qm", "A record")):
        git(bench.folder, *step)
    monkeypatch.setattr(provenance, "_ROOT", bench.folder)
    for again in (command, (*command, "--plan")):
        called = bench.call(*again)
        assert said in called.out
        assert "--rerun all replaces them" in called.out
    campaign = bench.call("campaign", "mini::J=2", "--plan", "--epochs", "1", "--seeds", "1")
    assert said in campaign.out
    assert "--rerun" not in campaign.out
    assert "1 of the 1 records came with the repository" in bench.call("list").out
    assert bench.call(*command, "--rerun", "all").code == 0
    assert said not in bench.call(*command, "--plan").out
    assert "came with" not in bench.call("list").out


def test_an_unreadable_folder_leaves_reports_as_they_are(bench: Bench) -> None:
    bench.call(*TABLE, *ONE_CELL, "--epochs", "1")
    assert bench.call("report", "mini", "--out", "out").code == 0
    before = (bench.folder / "out" / "mini.md").read_bytes()
    (path,) = (bench.results / "records").iterdir()
    content = path.read_bytes()
    path.write_bytes(b"")
    called = bench.call("report", "mini", "--out", "out")
    assert called.code == 1
    assert "no file in results/records can be used as a record" in called.err
    path.unlink()
    (bench.results / "records").rmdir()
    (bench.results / "records").write_bytes(content)
    for command in (("report", "mini", "--out", "out"), ("list",), (*TABLE, "--plan")):
        called = bench.call(*command)
        assert called.code == 1
        assert "cannot read the records in results/records: Not a directory" in called.err
    assert (bench.folder / "out" / "mini.md").read_bytes() == before
