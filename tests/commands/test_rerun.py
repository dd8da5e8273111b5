"""A record's run made again: equal numbers, other numbers, and runs that cannot be made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from image_folders import make
from small_table import Bench

from locbench.spec.recipe import Recipe

RUN = ("run", "--network", "resnet8", "--method", "dgl", "--limit", "64", "--epochs", "2")


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def recorded(bench: Bench, *options: str) -> Path:
    called = bench.call(*RUN, "--seed", "7", "--device", "cpu", *options)
    assert called.code == 0, called.err
    (path,) = (bench.results / "records").glob("*.json")
    return path


def edit(path: Path, **changes: Any) -> None:
    """Change a record's fields, and those below a field that is given as a dictionary."""
    plain = msgspec.json.decode(path.read_bytes())
    for name, value in changes.items():
        plain[name] = plain[name] | value if isinstance(value, dict) else value
    path.write_bytes(msgspec.json.encode(plain))


def again(bench: Bench, path: Path, *options: str) -> Any:
    return bench.call("rerun", str(path), "--device", "cpu", *options)


def test_the_same_code_gives_the_same_numbers(bench: Bench) -> None:
    path = recorded(bench)
    before = path.read_bytes()
    called = again(bench, path)
    assert called.code == 0, called.err
    assert f"equal: all numbers of 2 epochs are those of {path}" in called.out
    assert path.read_bytes() == before
    (new,) = (bench.folder / "reruns" / "records").iterdir()
    assert new.name == path.name
    assert f"reruns/records/{path.name}" in called.out
    plain = msgspec.json.decode(new.read_bytes())
    assert (plain["recipe"]["seed"], plain["key"]) == (7, path.stem[-12:])


def test_other_numbers_are_told_and_fail(bench: Bench) -> None:
    path = recorded(bench)
    plain = msgspec.json.decode(path.read_bytes())
    loss = plain["metrics"]["train_loss"]
    history = [plain["history"][0], plain["history"][1] | {"train_loss": loss + 0.5}]
    edit(
        path,
        metrics={"train_loss": loss + 0.5},
        history=history,
        provenance={"device": "another", "engine": "graphed", "seconds": 9.0},
    )
    called = again(bench, path)
    assert called.code == 1
    assert f"error: the numbers differ from those of {path}" in called.err
    assert "The first epoch that differs is 2." in called.out
    assert f"train_loss: {loss + 0.5} then, {loss} now (-0.5)" in called.out
    assert "test_acc" not in called.out
    assert "device: another then" in called.out
    assert "engine: graphed then, eager now" in called.out
    found = again(bench, path, "--json")
    assert found.code == 1
    assert (found.json["equal"], found.json["first_epoch"]) == (False, 2)
    assert found.json["differences"] == [
        {"name": "train_loss", "before": loss + 0.5, "after": loss}
    ]
    assert sorted(found.json["circumstances"]) == ["device", "engine"]


def test_numbers_that_an_earlier_version_did_not_record_are_passed_over(bench: Bench) -> None:
    path = recorded(bench)
    plain = msgspec.json.decode(path.read_bytes())
    shorter = [
        {name: value for name, value in row.items() if name != "global_share"}
        for row in plain["history"]
    ]
    edit(path, history=shorter, local_losses=[], parameters={})
    assert again(bench, path).code == 0


def test_the_record_itself_is_never_replaced(bench: Bench) -> None:
    path = recorded(bench)
    for folder in ("results", str(bench.results), "results/../results"):
        called = again(bench, path, "--results", folder)
        assert called.code == 2
        assert f"the new record would replace {path}" in called.err
        assert "--results DIR" in called.err


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"schema": 2}, 2, ["is no record: a newer locbench made it"]),
        ({"recipe": {"network": "theirs"}}, 2, ["is no record: recipe: unknown network 'theirs'"]),
        ({"recipe": {"lr": 0.5}}, 2, ["is no record: its recipe has the key"]),
    ],
)
def test_what_is_no_record_here_is_refused(
    bench: Bench, changes: dict[str, Any], code: int, words: list[str]
) -> None:
    path = recorded(bench)
    edit(path, **changes)
    called = again(bench, path)
    assert called.code == code
    assert [word for word in [str(path), *words] if word not in called.err] == []
    assert not (bench.folder / "reruns").exists()


def rekeyed(path: Path, **settings: Any) -> Path:
    """Change a record's recipe, its key and its name."""
    edit(path, recipe=settings)
    plain = msgspec.json.decode(path.read_bytes())
    key = msgspec.convert(plain["recipe"], Recipe).key
    edit(path, key=key)
    return path.rename(path.with_name(f"changed-{key}.json"))


def test_a_run_of_several_processes_needs_as_many(bench: Bench) -> None:
    called = again(bench, rekeyed(recorded(bench), processes=2))
    assert called.code == 2
    assert "shared by 2 processes, and this is 1" in called.err
    assert "torchrun --nproc-per-node 2 -m locbench rerun" in called.err


def test_weights_have_to_be_those_of_the_run(bench: Bench) -> None:
    path = recorded(bench)
    (bench.folder / "file.pt").write_bytes(b"weights")
    called = again(bench, path, "--weights", "file.pt")
    assert called.code == 2
    assert "did not start from a file of weights" in called.err


def test_a_missing_file(bench: Bench) -> None:
    missing = again(bench, bench.folder / "nowhere.json")
    assert missing.code == 2
    assert "nowhere.json is no record: there is no such file" in missing.err


def test_images_that_have_changed_are_refused(bench: Bench) -> None:
    folder = bench.folder / "set"
    make(folder)
    path = recorded(bench, "--dataset", f"imagefolder:{folder}", "--batch-size", "4")
    assert again(bench, path).code == 0
    image = sorted(folder.rglob("*.png"))[0]
    image.write_bytes(sorted(folder.rglob("*.png"))[-1].read_bytes())
    called = again(bench, path)
    assert called.code == 1
    assert "are not those that the run saw" in called.err
