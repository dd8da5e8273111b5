"""The edge of the command line: whatever goes wrong ends in one message and an exit code, never in
a traceback.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_table import Bench

from locbench.execution.events import Event
from locbench.terminal.progress import SweepProgress
from locbench.training.events import EpochDone

LOCBENCH = (sys.executable, "-m", "locbench")


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    return fail


ERRORS = [
    (OSError(errno.EIO, os.strerror(errno.EIO), "some/file"), "some/file: Input/output error", 1),
    (OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), "n" * 300), "...nnn", 1),
    (
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        "cannot write or read: No space left on device",
        1,
    ),
    (MemoryError(), "memory ran out", 1),
    (RecursionError("maximum recursion depth exceeded"), "nested too deeply", 1),
    (
        ModuleNotFoundError("No module named 'timm'", name="timm"),
        "No module named 'timm'\nInstall locbench again",
        1,
    ),
    (KeyError("name"), "unexpected KeyError: 'name'", 1),
    (ZeroDivisionError(), "unexpected ZeroDivisionError\n", 1),
    (KeyboardInterrupt(), "stopped", 130),
]


@pytest.mark.parametrize(
    ("error", "words", "code"), ERRORS, ids=[type(each[0]).__name__ for each in ERRORS]
)
def test_whatever_is_raised_is_one_message(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: BaseException, words: str, code: int
) -> None:
    monkeypatch.setattr("locbench.spec.table_files.load_table", raising(error))
    called = bench.call("show", "mini")
    assert called.code == code
    assert words in called.err
    assert len(called.err.splitlines()) == 2  # what is wrong, and what to do
    assert len(called.err) < 500


def test_the_traceback_can_be_had(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**os.environ, "LOCBENCH_DEBUG": "1"}
    done = subprocess.run(
        [*LOCBENCH, "show", "missing"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "unknown table 'missing'" in done.stderr


@pytest.mark.parametrize("command", ["list", "--help"])
@pytest.mark.parametrize("place", ["/dev/full", "closed"])
def test_output_that_cannot_be_written(bench: Bench, command: str, place: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    where = ">&-" if place == "closed" else f"> {place}"
    done = subprocess.run(
        f"{' '.join(LOCBENCH)} {command} {where}", shell=True, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_errors_that_nobody_can_be_told(bench: Bench) -> None:
    done = subprocess.run(
        f"{' '.join(LOCBENCH)} show missing >&- 2>&-", shell=True, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_help_for_a_reader_who_goes(bench: Bench) -> None:
    started = subprocess.Popen(
        [*LOCBENCH, "run", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    assert started.stderr is not None
    started.stdout.close()
    assert started.stderr.read() == ""
    assert started.wait() == 0


@pytest.mark.parametrize("columns", ["0", "-1", "7", "9" * 400, "wide", "²"])
def test_widths_that_nothing_fits_in_are_ignored(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.delenv("COLUMNS")
    plain = bench.call("list").out
    assert "mini" in plain
    monkeypatch.setenv("COLUMNS", columns)
    assert bench.call("list").out == plain


NAMES = [
    "n" * 300,
    "~nosuchuser/x",
    os.fsdecode(b"\xff\xfe"),
    "a\0b",
    "../../etc/passwd",
    "",
    "[/red]",
    "\x1b[2J",
]
COMMANDS = [
    ("show", "{}"),
    ("report", "{}"),
    ("costs", "{}"),
    ("table", "{}", "--plan"),
    ("table", "mini", "--rows", "{}", "--plan"),
    ("campaign", "{}", "--plan"),
    ("report", "mini", "--results", "{}"),
    ("run", "--network", "{}", "--method", "dgl", "--plan"),
    ("run", "--network", "resnet8", "--method", "{}", "--plan"),
    ("run", "--network", "resnet8", "--method", "dgl", "--set", "{}", "--plan"),
    ("run", "--network", "resnet8", "--method", "dgl", "--recipe", "{}", "--plan"),
    ("run", "--network", "resnet8", "--method", "dgl", "--dataset", "imagefolder:{}", "--plan"),
    ("run", "--network", "resnet8", "--method", "dgl", "--dataset", "coco:{}", "--plan"),
    ("run", "--network", "resnet8", "--method", "dgl", "--dataset", "imagenet:{}", "--plan"),
    ("run", "--network", "resnet8", "--method", "dgl", "--weights", "{}", "--plan"),
    ("run", "--network", "resnet8", "--method", "dgl", "--device", "{}", "--plan"),
    ("campaign", "mini", "--budget", "{}", "--plan"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=[" ".join(each) for each in COMMANDS])
@pytest.mark.parametrize(
    "name", NAMES, ids=["long", "user", "bytes", "null", "above", "empty", "markup", "escape"]
)
def test_odd_names_are_refused(bench: Bench, command: tuple[str, ...], name: str) -> None:
    called = bench.call(*(word.format(name) for word in command))
    assert called.code in (1, 2)
    assert "unexpected" not in called.err
    assert called.err


def test_the_home_of_nobody_as_data_folder(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCBENCH_DATA", "~nosuchuser/data")
    called = bench.call("data")
    assert called.code == 2
    assert "'~nosuchuser/data' begins with the home folder of nobody" in called.err


def test_sigterm_stops_as_an_interrupt_does(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter(range(3))

    def on(display: SweepProgress, event: Event, row: int) -> None:
        if isinstance(event, EpochDone) and next(left, None) is None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(SweepProgress, "on", on)
    called = bench.call("table", "mini", "--seeds", "1")
    assert called.code == 128 + signal.SIGTERM
    assert "1 of 5 runs are recorded" in called.err
    assert signal.getsignal(signal.SIGTERM) == before
