"""Malformed records, tables and command lines by a seeded generator: no traceback, no hang, nothing
absurd accepted.
"""

from __future__ import annotations

import json
import os
import random
import signal
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from small_table import MINI, Bench

from locbench.errors import LocbenchError
from locbench.results.store import Store
from locbench.spec.table_files import read_table

SEED = 20_260_101
RECORDS, TABLES, OPTIONS = 90, 90, 90
LONGEST = 10
"""Seconds that one input may take."""

ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**9,
    10**30,
    -0.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    " ",
    "x" * 5000,
    "9" * 400,
    "\x1b[2J",
    "\x00",
    "../../etc/passwd",
    "[/bold]",
    "=1+1",
    [],
    [[]],
    {},
    {"a": {"b": []}},
)
"""What stands in the place of a value that was right."""


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


class Hangs(BaseException):
    """An input that is read for ever."""


@contextmanager
def in_time(what: str) -> Iterator[None]:
    """Fail where an input takes too much of the processor's time, and say which."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Hangs(what)

    before = signal.signal(signal.SIGPROF, stop)  # no real time, which a busy machine has less of
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in nested lists and dictionaries."""
    found = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, each in found:
        yield (*path, key)
        yield from places(each, (*path, key))


def spoilt(value: Any, draws: random.Random) -> tuple[Any, str]:
    """Return a copy in which one value is another one, is missing, is there under another name, or
    is nested deeply.
    """
    copy = json.loads(json.dumps(value))
    path = draws.choice(list(places(copy)))
    holder = copy
    for key in path[:-1]:
        holder = holder[key]
    kind = draws.choice(["other", "other", "other", "missing", "renamed", "deep"])
    if kind == "renamed" and isinstance(holder, list):
        kind = "missing"
    if kind == "other":
        holder[path[-1]] = draws.choice(ODD)
    elif kind == "missing":
        del holder[path[-1]]
    elif kind == "renamed":
        holder[f"{path[-1]}_"] = holder.pop(path[-1])
    else:
        for _ in range(draws.choice([2, 150])):
            holder[path[-1]] = [holder[path[-1]]]
    return copy, f"{kind} at {path}"


def toml(value: Any) -> str:
    """Return a value as TOML writes it within a line."""
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(str(key))} = {toml(each)}" for key, each in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return str(value)
    return '"none"' if value is None else json.dumps(value).replace("\x7f", "\\u007f")


def toml_file(table: dict[str, Any]) -> str:
    return "\n".join(f"{json.dumps(str(key))} = {toml(each)}" for key, each in table.items())


def test_the_writer_of_tables_is_right() -> None:
    assert tomllib.loads(toml_file(tomllib.loads(MINI))) == tomllib.loads(MINI)


def absurd(table: Any) -> list[str]:
    """Return what no published table can say."""
    faults = []
    if not 1 <= table.trials <= 1000 or not table.rows or not table.columns or not table.cells:
        faults.append("size")
    for cell in table.cells:
        faults += [
            f"{cell}"
            for each in cell.published.values()
            if each.value is not None and not 0 <= each.value <= 100
        ]
        recipe = cell.recipe
        if recipe and not (
            1 <= recipe.epochs <= 10**5
            and 1 <= recipe.batch_size <= 10**6
            and 0 < recipe.lr < 1e309
        ):
            faults.append(f"{recipe}")
    return faults


def refused(path: Path, what: str) -> bool:
    """Return whether a table is refused, in one message about its file.

    One that is not is no absurd one.
    """
    with in_time(what):
        try:
            table = read_table(path)
        except LocbenchError as error:
            fault = error
        else:
            assert absurd(table) == [], what
            return False
    assert str(path) in fault.message, what
    assert fault.remedy, what
    assert len(str(fault)) < 7000, what
    return True


def test_malformed_tables(tmp_path: Path) -> None:
    draws, plain, path = random.Random(SEED), tomllib.loads(MINI), tmp_path / "mini.toml"
    count = 0
    for _ in range(TABLES):
        changed, what = spoilt(plain, draws)
        path.write_text(toml_file(changed), encoding="utf-8")
        count += refused(path, what)
    assert count > TABLES // 2


def test_malformed_text_of_tables(tmp_path: Path) -> None:
    draws, content, path = random.Random(SEED + 1), MINI.encode(), tmp_path / "mini.toml"
    for index in range(TABLES // 3):
        start, length = draws.randrange(len(content)), draws.randrange(20)
        path.write_bytes(
            content[:start] + draws.randbytes(draws.randrange(4)) + content[start + length :]
        )
        refused(path, f"bytes {index}")


def record(bench: Bench) -> tuple[Path, dict[str, Any]]:
    done = bench.call(
        "run", "--network", "resnet8", "--method", "dgl", "--epochs", "2", "--limit", "32"
    )
    assert done.code == 0
    (path,) = (bench.results / "records").glob("*.json")
    return path, json.loads(path.read_text(encoding="utf-8"))


def test_malformed_records(bench: Bench) -> None:
    path, plain = record(bench)
    draws = random.Random(SEED + 2)
    for index in range(RECORDS):
        changed, what = spoilt(plain, draws)
        path.write_text(json.dumps(changed), encoding="utf-8")
        with in_time(what):
            for each in Store(bench.results).all():
                assert all(
                    0 <= value <= 100
                    for name, value in each.metrics.items()
                    if name.endswith("_acc")
                ), what
                assert each.provenance.seconds >= 0, what
                assert each.status == "failed" or len(each.history) == each.recipe.epochs, what
            if index % 18 == 0:
                command = ("list", "--json") if index % 2 else ("report", "mini", "--format", "csv")
                called = bench.call(*command)
                assert called.code in (0, 1, 2), what
                assert "error: unexpected" not in called.err, what


VALID: dict[str, tuple[str, ...]] = {
    "run": ("--network", "resnet8", "--method", "auglocal", "--plan", "--device", "cpu"),
    "table": ("mini", "--plan", "--device", "cpu"),
    "campaign": ("mini", "--plan", "--device", "cpu"),
    "report": ("mini",),
    "list": (),
    "show": ("mini",),
    "costs": ("--network", "resnet8", "--method", "dgl", "--dataset", "digits"),
    "fit": ("--network", "resnet8", "--memory", "1GB", "--dataset", "digits", "--method", "dgl"),
    "splits": ("--network", "resnet8", "--modules", "2", "--dataset", "digits"),
    "bench": (
        "--network",
        "resnet8",
        "--steps",
        "1",
        "--rounds",
        "1",
        "--device",
        "cpu",
        "--engines",
        "none",
    ),
}
WORDS = (
    *(
        "",
        " ",
        "-1",
        "0",
        "1e999",
        "nan",
        "9" * 400,
        "9" * 5000,
        "10000000000",
        "½",
        "1,2,3",
        "=",
        "a=b",
        "x" * 300,
    ),
    *(
        "~nosuchuser",
        os.fsdecode(b"\xff\xfe"),
        "\x1b[2J",
        "[/x]",
        "*",
        "[",
        "imagefolder:",
        "coco:?",
        "imagenet:~nosuchuser",
    ),
    *(
        "depth=9999999999999999999999",
        "lr=1e400",
        "batch_size=x",
        "seed=-1",
        "betas=1,2,3",
        "options={}",
        "mini@",
        ":::",
    ),
)
OPTION_NAMES = (
    *(
        "--network",
        "--method",
        "--dataset",
        "--set",
        "--recipe",
        "--modules",
        "--epochs",
        "--batch-size",
        "--lr",
    ),
    *(
        "--limit",
        "--seeds",
        "--device",
        "--jobs-per-device",
        "--precision",
        "--memory",
        "--engine",
        "--init",
    ),
    *(
        "--weights",
        "--data-root",
        "--rows",
        "--columns",
        "--preset",
        "--budget",
        "--format",
        "--results",
        "--top",
    ),
    *(
        "--image-size",
        "--timeline",
        "--steps",
        "--rounds",
        "--seconds",
        "--threads",
        "--plot",
        "--nonsense",
    ),
)


def test_malformed_command_lines(bench: Bench) -> None:
    draws = random.Random(SEED + 3)
    count = 0
    for _ in range(OPTIONS):
        command = draws.choice(list(VALID))
        arguments = [*VALID[command]]
        for _ in range(draws.choice([1, 1, 2])):
            if arguments and draws.random() < 0.4:
                arguments[draws.randrange(len(arguments))] = draws.choice(WORDS)
            else:
                arguments += [draws.choice(OPTION_NAMES), draws.choice(WORDS)]
        called_as = f"{command} {arguments}"[:300]
        with in_time(called_as):
            called = bench.call(command, *(each.replace("\0", "") for each in arguments))
        count += called.code != 0
        assert called.code in (0, 1, 2), called_as
        assert "error: unexpected" not in called.err, (called_as, called.err)
        assert not called.code or called.err, called_as
    assert count > OPTIONS // 2


ABSURD = [
    ("run", "--network", "resnet8", "--method", "dgl", "--plan", "--seeds", "1000000"),
    ("run", "--network", "resnet8", "--method", "dgl", "--plan", "--jobs-per-device", "1000000000"),
    (
        "run",
        "--network",
        "resnet8",
        "--method",
        "bp+checkpointed",
        "--set",
        f"segments={10**30}",
        "--plan",
    ),
    ("table", "mini", "--plan", "--seeds", "1000000"),
    ("table", "mini", "--plan", "--jobs-per-device", "1000000000"),
    ("table", "mini", "--plan", "--epochs", "9" * 400),
    ("table", "mini", "--plan", "--limit", "9" * 400),
    ("campaign", "mini", "--plan", "--budget", "1,2,3"),
    ("campaign", "mini", "--plan", "--seeds", "9" * 400),
    ("bench", "--network", "resnet8", "--batch-size", "0"),
    ("costs", "--network", "resnet8", "--method", "dgl", "--batch-size", "9" * 400),
    ("costs", "--network", "resnet8", "--method", "dgl", "--image-size", "1000000000"),
    ("splits", "--network", "resnet8", "--modules", "9" * 400),
    ("splits", "--network", "resnet8", "--modules", "2", "--top", "9" * 400),
    ("fit", "--network", "resnet8", "--memory", "9" * 400 + "GB"),
    ("fit", "--network", "resnet8", "--memory", "11"),
    ("fit", "--network", "resnet8", "--memory", "nanGB"),
]


@pytest.mark.parametrize("command", ABSURD, ids=[" ".join(each)[:60] for each in ABSURD])
def test_nothing_absurd_is_accepted(bench: Bench, command: tuple[str, ...]) -> None:
    with in_time(" ".join(command)[:200]):
        called = bench.call(*command)
    assert called.code == 2
    assert "error: unexpected" not in called.err
    assert len(called.err) < 1500
