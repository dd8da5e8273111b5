"""The store: a record is there whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest
from report_builders import make_record, make_table, recipe_at

from locbench import files as module
from locbench.errors import FailureError
from locbench.files import write_atomically
from locbench.results.record import Record
from locbench.results.store import Store


def record(row: str = "DGL", **changes: Any) -> Record:
    return make_record(recipe_at(make_table(), row), **changes)


def failing(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*arguments: object, **options: object) -> NoReturn:
        raise error

    return fail


def parts(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.name.endswith(".part") or path.name.startswith(".probe")
    ]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "results")
    made.prepare()
    return made


def test_saved_record_is_found_and_equal(store: Store) -> None:
    made = record()
    path = store.save(made)
    assert path.name == f"{made.recipe.name}.json"
    assert store.find(made.key) == made
    assert list(store.all()) == [made]
    assert parts(store.folder) == []


def test_empty_folder_holds_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "never made")
    assert list(store.all()) == []
    assert store.find("0" * 12) is None


def test_saving_replaces_a_file_of_the_same_key_under_another_name(store: Store) -> None:
    made = record()
    store.save(made)
    renamed = msgspec.structs.replace(
        made, recipe=msgspec.structs.replace(made.recipe, method="renamed")
    )
    store.save(renamed)
    assert [path.name for path in store.records.iterdir()] == [store.path(renamed).name]


@pytest.mark.parametrize("accuracy", [90.0, None])
def test_saving_a_finished_run_removes_its_checkpoint(store: Store, accuracy: float | None) -> None:
    made = record(accuracy=accuracy)
    store.checkpoint(made.key).write_bytes(b"state")
    store.save(made)
    assert store.checkpoint(made.key).exists() == (made.status == "failed")


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_failing_write_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    path = tmp_path / "folder" / "record.json"
    write_atomically(path, b"old")
    error = OSError(code, os.strerror(code))
    monkeypatch.setattr(os if step == "fsync" else Path, step, failing(error))
    with pytest.raises(FailureError, match=os.strerror(code)) as raised:
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert str(path) in raised.value.message
    assert raised.value.remedy
    assert path.read_bytes() == b"old"
    assert parts(tmp_path) == []


def test_interrupted_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.json"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert parts(tmp_path) == []


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("not a folder")
    with pytest.raises(FailureError, match="cannot write to the results folder") as raised:
        Store(tmp_path / "results").prepare()
    assert "--results DIR" in raised.value.remedy


def test_prepare_removes_old_parts_alone(store: Store) -> None:
    old, young = store.checkpoints / ".tmp0ld_1.part", store.records / f".locbench-{16 * '0'}.part"
    weights = store.weights("key").with_name(".probe-abcdefgh")
    weights.parent.mkdir()
    for path in (old, weights, young):
        path.write_bytes(b"half")
    yesterday = time.time() - 25 * 3600
    for path in (old, weights):
        os.utime(path, (yesterday, yesterday))
    store.prepare()
    assert parts(store.folder) == [young]
    assert list(store.all()) == []


def test_the_parent_folder_is_synchronised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synchronised: list[Path] = []
    monkeypatch.setattr(module, "_sync_folder", synchronised.append)
    write_atomically(tmp_path / "record.json", b"new")
    assert synchronised == [tmp_path]
