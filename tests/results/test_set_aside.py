"""Files among the records that are no records: set aside with a reason, never read for long,
replaced or removed.
"""

from __future__ import annotations

import contextlib
import copy
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from report_builders import make_record, make_table, recipe_at

from locbench.commands.report import read_records
from locbench.errors import FailureError, LocbenchError
from locbench.report.compare import compare
from locbench.results.json_store import NAMED, SetAside, UnusableError
from locbench.results.record import DataUsed, Record
from locbench.results.store import RecordFiles, Store
from locbench.results.validity import first_fault
from locbench.spec.recipe import Recipe
from locbench.terminal.progress import summary

RECORDS = Path(__file__).parents[2] / "results" / "records"
OLDER = Path(__file__).parent / "older"
"""Records of networks and detectors of all kinds, made by earlier versions."""


def record(row: str = "DGL", **changes: Any) -> Record:
    return make_record(recipe_at(make_table(), row), **{"accuracy": 50.0} | changes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "results")
    made.prepare()
    return made


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        plain = msgspec.json.decode(path.read_bytes())
        change(plain)
        path.write_bytes(msgspec.json.encode(plain))

    return edit


def text(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def put(path: Path) -> None:
        path.unlink()
        make(path)

    return put


def metric(**values: float) -> Callable[[Path], None]:
    return edited(lambda plain: plain["metrics"].update(values))


def row(number: int, **values: float) -> Callable[[Path], None]:
    return edited(lambda plain: plain["history"][number].update(values))


def made(**values: object) -> Callable[[Path], None]:
    return edited(lambda plain: plain["provenance"].update(values))


def recipe(**values: object) -> Callable[[Path], None]:
    return edited(lambda plain: plain["recipe"].update(values))


SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (text(b""), "Input data was truncated"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:300]) and None, "truncated"),
    "binary": (text(b"\xff\xfe\x00"), "no record"),
    "list": (text(b"[]"), "Expected `object`, got `array`"),
    "nested list": (text(b"[" * 100_000), "no record"),
    "nested object": (text(b'{"described": ' * 100_000), "no record"),
    "long number": (
        edited(lambda plain: plain.update(schema=0)),
        "no locbench made such: its schema is 0",
    ),
    "digits": (text(b'{"schema": ' + b"9" * 5000 + b"}"), "out of range"),
    "newer": (
        edited(lambda plain: plain.update(schema=2, new={})),
        "a newer locbench made it: its schema is 2",
    ),
    "unknown field": (
        edited(lambda plain: plain.update(new=1)),
        "a newer locbench may have made it",
    ),
    "unknown setting": (recipe(new=1), "a newer locbench may have made it"),
    "no metrics": (edited(lambda plain: plain.pop("metrics")), "missing required field `metrics`"),
    "status": (edited(lambda plain: plain.update(status="finished")), "status"),
    "network": (recipe(network="resnet33"), "unknown network 'resnet33'"),
    "dataset": (recipe(dataset="cifar12"), "has the key"),
    "other recipe": (recipe(lr=0.9), "its recipe has the key"),
    "other key": (edited(lambda plain: plain.update(key="0" * 12)), "it says '000000000000'"),
    "accuracy and error": (metric(test_err=49.0), "test_acc 50 and test_err 49 do not make 100"),
    "other than the history": (
        row(159, test_acc=51.0),
        "metrics.test_acc is 50, and 51 after the last epoch",
    ),
    "better than the history": (
        metric(best_acc=99.0),
        "metrics.best_acc is 99, and 50.5 is the best of the history",
    ),
    "done with an error": (
        edited(lambda plain: plain.update(error="out of memory")),
        "error is 'out of memory'",
    ),
    "done without data": (
        edited(lambda plain: plain.update(data=None)),
        "data is missing, and the run is done",
    ),
    "far future": (made(started="2999-01-01T00:00:00"), "which is yet to come"),
    "commit": (made(commit="HEAD"), "provenance.commit is 'HEAD'"),
    "no image": (edited(lambda plain: plain["data"].update(test=0)), "data.test is 0, not from 1"),
    "500 %": (metric(test_acc=500.0), "metrics.test_acc is 500, not from 0 to 100"),
    "negative error": (metric(test_err=-1.0), "metrics.test_err is -1"),
    "best epoch": (metric(best_epoch=161), "metrics.best_epoch is 161, not one of 160 epochs"),
    "half an epoch": (metric(best_epoch=1.5), "metrics.best_epoch is 1.5"),
    "no accuracy": (edited(lambda plain: plain["metrics"].pop("test_acc")), "test_acc is missing"),
    "no history": (
        edited(lambda plain: plain.update(history=[])),
        "history: 0 epochs of a run of 160",
    ),
    "short history": (
        edited(lambda plain: plain["history"].pop()),
        "history: 159 epochs of a run of 160",
    ),
    "long history": (
        edited(lambda plain: plain["history"].append({"epoch": 161})),
        "161 epochs of a run of 160",
    ),
    "gap": (edited(lambda plain: plain["history"].pop(0)), "not 1, 2, 3"),
    "accuracy of an epoch": (row(3, test_acc=100.5), "history, epoch 4: test_acc is 100.5"),
    "time of an epoch": (row(0, seconds=-1), "history, epoch 1: seconds is -1"),
    "share": (row(0, global_share=2), "global_share is 2, not from 0 to 1"),
    "negative time": (made(seconds=-0.5), "provenance.seconds is -0.5"),
    "endless time": (made(seconds=1e300), "provenance.seconds is 1e+300"),
    "threads": (made(threads=-1), "provenance.threads is -1"),
    "start": (made(started="yesterday"), "provenance.started is 'yesterday'"),
    "parameters": (
        edited(lambda plain: plain.update(parameters={"primary": -4})),
        "parameters.primary is -4",
    ),
    "other data": (
        edited(lambda plain: plain["data"].update(name="digits")),
        "data.name is 'digits'",
    ),
    "unknown data": (
        edited(lambda plain: plain["data"].update(name="cifar12")),
        "unknown data set 'cifar12'",
    ),
    "number of images": (edited(lambda plain: plain["data"].update(train=-1)), "data.train is -1"),
    "folder": (instead(Path.mkdir), "not a regular file"),
    "pipe": (instead(os.mkfifo), "not a regular file"),
    "device": (instead(lambda path: path.symlink_to("/dev/zero")), "not a regular file"),
    "dangling link": (instead(lambda path: path.symlink_to("nowhere")), "No such file"),
    "a gigabyte": (
        instead(lambda path: path.write_bytes(b"") or os.truncate(path, 1 << 30)),
        "1024 MB",
    ),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_foreign_file_is_set_aside_and_kept(store: Store, kind: str) -> None:
    other, own = record("BP"), record()
    store.save(other)
    path = store.save(own)
    spoil, reason = SPOILT[kind]
    spoil(path)
    with pytest.raises(UnusableError) as raised:
        RecordFiles(path.parent).load(path)
    assert reason in str(raised.value)
    before = path.lstat()
    assert list(store.all()) == [other]
    assert store.find(own.key) is None
    assert store.set_aside.why == {path: str(raised.value)}
    beside = store.save(own)  # the run was made again
    assert beside != path
    assert store.find(own.key) == own
    assert store.save(own) == beside
    after = path.lstat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    )


def test_a_recipe_out_of_range_is_no_record(store: Store) -> None:
    table = make_table()
    for change in (
        {"batch_size": 0},
        {"dataset": "cifar12"},
        {"memory": "lean", "drop_path": -1.0},
    ):
        spoilt = make_record(msgspec.structs.replace(recipe_at(table, "DGL"), **change), 50.0)
        spoilt = msgspec.structs.replace(spoilt, data=None)
        assert first_fault(spoilt).startswith("recipe: ")


def test_a_record_that_could_not_be_used_is_told_when_it_is_written(store: Store) -> None:
    own = record()
    store.checkpoint(own.key).write_bytes(b"state")
    with pytest.raises(FailureError, match="is not sound: metrics: test_acc is missing"):
        store.save(msgspec.structs.replace(own, metrics={}))
    assert store.checkpoint(own.key).exists()
    store.save(record(accuracy=100.0, metrics={"test_acc": 100 + 1e-9}))


@pytest.mark.parametrize(("part", "limit"), [("train", 49_999), ("test", 9_999)])
def test_more_images_than_the_recipe_allows_are_told(part: str, limit: int) -> None:
    own, used = (
        recipe_at(make_table(), "DGL"),
        DataUsed("cifar10", "CIFAR-10", "f00", 50_000, 10_000),
    )
    allowed, exceeded = (
        msgspec.structs.replace(own, **{f"{part}_limit": most}) for most in (limit + 1, limit)
    )
    assert not first_fault(make_record(allowed, 50.0, data=used))
    fault = first_fault(make_record(exceeded, 50.0, data=used))
    assert fault == f"data.{part} is {limit + 1}, and the recipe's limit {limit}"


def test_a_failed_run_needs_no_history(store: Store) -> None:
    failed = record(accuracy=None, history=[])
    store.save(failed)
    assert store.find(failed.key) == failed


def test_a_renamed_record_says_what_its_name_should_be(store: Store) -> None:
    path = store.save(record())
    copy = path.rename(path.with_name("copy.json"))
    assert list(store.all()) == []
    assert store.set_aside.why[copy] == f"its name does not end with its key, as {path.name} does"


def test_hidden_files_are_passed_over_in_silence(store: Store) -> None:
    own = record()
    path = store.save(own)
    path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7\0\2")
    (store.records / "README").write_text("no record")
    assert list(store.all()) == [own]
    assert store.find(own.key) == own
    assert store.set_aside.why == {}


def test_of_two_files_of_one_run_the_newest_finished_one_counts(store: Store) -> None:
    old = record(provenance={"started": "2024-05-01T00:00:00"})
    new = record(accuracy=60.0, provenance={"started": "2024-06-01T00:00:00"})
    failed = record(accuracy=None, provenance={"started": "2024-07-01T00:00:00"})
    for number, each in enumerate((new, failed, old)):
        (store.records / f"{number}-{each.key}.json").write_bytes(msgspec.json.encode(each))
    assert store.find(old.key) == new
    assert list(store.all()) == [new]
    assert sorted(path.name[0] for path in store.set_aside.why) == ["1", "2"]
    assert all("the same run is recorded in 0-" in why for why in store.set_aside.why.values())


@pytest.mark.parametrize("place", ["link to nowhere", "file", "refused"])
def test_a_folder_that_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    store = Store(tmp_path)
    if place == "link to nowhere":
        store.records.symlink_to(tmp_path / "unmounted")
    elif place == "file":
        store.records.write_text("")
    else:
        store.records.mkdir()
        monkeypatch.setattr(Path, "iterdir", refusing)
    for read in (
        lambda: list(store.all()),
        lambda: store.find("0" * 12),
        lambda: read_records(tmp_path),
    ):
        with pytest.raises(FailureError, match="cannot read the records in"):
            read()


def refusing(path: Path) -> list[Path]:
    raise PermissionError(13, "Permission denied", str(path))


def test_a_report_of_a_folder_without_one_usable_file_is_refused(store: Store) -> None:
    path = store.save(record())
    path.write_bytes(b"")
    with pytest.raises(
        FailureError, match=r"no file in .* can be used as a record, and there are 1"
    ):
        read_records(store.folder)


def test_what_another_process_records_is_seen(store: Store) -> None:
    first, second = record(), record("BP")
    store.save(first)
    for age in (0, 60):  # a listing of a folder that was changed long ago is kept
        os.utime(store.records, (time.time() - age, time.time() - age))
        assert store.find(second.key) is None
    Store(store.folder).save(second)
    assert store.find(second.key) == second
    store.path(second).unlink()
    assert store.find(second.key) is None


def test_the_folder_is_listed_once_for_many_keys(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = record()
    store.save(own)
    os.utime(store.records, (0, 0))
    assert store.find(own.key) == own
    monkeypatch.setattr(Path, "iterdir", refusing)
    assert store.find("0" * 12) is None
    assert store.find(own.key) == own


def test_many_files_are_named_in_part_and_counted_once(capsys: pytest.CaptureFixture[str]) -> None:
    met = SetAside()
    for number in range(NAMED + 3):
        met.add(Path(f"{number}\x1b[31m.json"), f"it is empty, {number}")
    met.report()
    met.report()
    met.add(Path("late.json"), "it is a folder")
    met.report()
    met.add(Path("long.json"), "unknown network " + 1000 * "x")
    assert len(met.why[Path("long.json")]) < 310
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "set aside: 0\N{SYMBOL FOR ESCAPE}[31m.json: it is empty, 0"
    assert told[NAMED] == "set aside: 3 more"
    assert told[NAMED + 2] == "set aside: late.json: it is a folder"
    assert len(told) == NAMED + 4


def test_files_with_one_reason_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    met = SetAside()
    for name in ("a", "b", "c"):
        met.add(Path(name), "a newer locbench made it")
    met.report()
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "set aside: a and 2 more: a newer locbench made it"
    assert len(told) == 2


def test_every_committed_record_is_valid() -> None:
    paths = [*RECORDS.glob("*.json"), *OLDER.glob("*.json")]
    assert len(paths) >= 22 + 12
    for path in paths:
        RecordFiles(path.parent).load(path)


# Generated ones

NASTY = [
    None,
    True,
    0,
    -1,
    2,
    10**15,
    2**63,
    -(2**64),
    1e308,
    -1e308,
    1e-320,
    100.5,
    "",
    "nan",
    "=1+1",
    "\x1b[31m",
]
NASTY += [
    "a" * 10_000,
    [],
    {},
    [[]],
    {"a": 1},
    "2024-13-01",
    "imagefolder:",
    "imagefolder:x?side=9",
    "coco:/x",
    "svhn",
]


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a record but the description, which is not read."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value[:3])
        if isinstance(value, list)
        else ()
    )
    return [
        place,
        *(
            each
            for name, below in inner
            if name != "described"
            for each in places(below, (*place, name))
        ),
    ]


def spoilt(plain: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """A copy in which a value is another, missing or new; its key fits where it can."""
    plain = copy.deepcopy(plain)
    *way, last = draw.choice(places(plain)[1:])
    inner: Any = plain
    for name in way:
        inner = inner[name]
    kind = draw.random()
    if kind < 0.2:
        del inner[last]
    elif kind < 0.4 and isinstance(inner, dict):
        inner[draw.choice(["surprise", "test_acc", "box_ap", "epoch"])] = draw.choice(NASTY)
    else:
        inner[last] = draw.choice(NASTY)
    if draw.random() < 0.7:
        with contextlib.suppress(msgspec.ValidationError, KeyError, LocbenchError):
            plain["key"] = msgspec.convert(plain["recipe"], Recipe, strict=True).key
    return plain


@pytest.mark.parametrize("seed", range(3))
def test_a_drawn_record_is_usable_or_set_aside(store: Store, seed: int) -> None:
    draw, usable = random.Random(seed), 0
    table = make_table()
    sound = [msgspec.json.decode(path.read_bytes()) for path in sorted(OLDER.glob("*.json"))]
    for number in range(100):
        plain = spoilt(draw.choice(sound), draw)
        path = store.records / f"{number}-{plain.get('key')}.json"
        content = msgspec.json.encode(plain)
        path.write_bytes(
            content if draw.random() < 0.9 else content[: draw.randrange(len(content))]
        )
    for each in store.all():
        usable += 1
        assert summary(each)
        compare(table, [each])
        assert all(
            0 <= value <= 100
            for name, value in each.metrics.items()
            if name.endswith(("acc", "err"))
        )
        assert each.provenance.seconds >= 0
        assert each.status == "failed" or len(each.history) == each.recipe.epochs
    assert usable + len(store.set_aside.why) == 100
    assert usable < 50
