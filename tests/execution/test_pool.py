"""Runs side by side, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from small_table import CELLS, Bench, numbers

from locbench.results.store import Store

SIDE_BY_SIDE = ("table", "mini", "--device", "cpu", "--jobs-per-device", "2")
IN_PROC = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc"
)


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def test_cells_side_by_side_have_the_same_numbers_and_say_so(bench: Bench) -> None:
    side = bench.call("table", "mini", "--seeds", "1", "--device", "cpu", "--jobs-per-device", "2")
    assert side.code == 0, side.err
    assert "beside 1 more" in side.out
    found = {record.key: record for record in bench.records()}
    assert len(found) == CELLS
    assert {record.provenance.beside for record in found.values()} == {2}
    bench.call("table", "mini", "--seeds", "1", "--device", "cpu", "--results", "alone")
    for record in Store(bench.folder / "alone").all():
        assert record.provenance.beside == 1
        assert numbers(record) == numbers(found[record.key])


def test_a_process_that_cannot_go_on_ends_the_sweep_with_its_message(bench: Bench) -> None:
    called = bench.call(
        *(
            "table",
            "mini",
            "--dataset",
            "cifar10",
            "--seeds",
            "1",
            "--device",
            "cpu",
            "--jobs-per-device",
            "2",
        )
    )
    assert called.code == 1
    assert "CIFAR-10" in called.err


def test_images_in_files_are_decoded_by_further_processes_side_by_side(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCBENCH_WORKERS", "2")
    for part, count in (("train", 4), ("val", 2)):
        for label in ("one", "two"):
            folder = bench.folder / "layout" / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (40, 36), (number * 40, 80, 120)).save(folder / f"{number}.png")
    called = bench.call(
        *(
            "run",
            "--network",
            "resnet8",
            "--method",
            "bp",
            "--dataset",
            f"imagenet:{bench.folder / 'layout'}",
        ),
        *("--epochs", "1", "--batch-size", "4", "--seeds", "2", "--recipe", "image_size=32"),
        *("--device", "cpu", "--jobs-per-device", "2"),
    )
    assert called.code == 0, called.err
    assert [record.status for record in bench.records()] == ["done", "done"]


class Training:
    """A command that trains two long runs in two processes."""

    def __init__(self, folder: Path) -> None:
        self.first = subprocess.Popen(
            [sys.executable, "-m", "locbench", *SIDE_BY_SIDE, "--epochs", "500"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ.copy(),
        )
        assert self.first.stdout is not None
        while "[2/" not in self.first.stdout.readline():
            assert self.first.poll() is None
        children = Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children")
        self.processes = [
            int(pid)
            for pid in children.read_text(encoding="utf-8").split()
            if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
        ]
        assert len(self.processes) == 2

    def ended(self, seconds: float = 60) -> bool:
        """Return whether no process trains any more, at the latest after some seconds."""
        until = time.monotonic() + seconds
        while any(map(_runs, self.processes)) and time.monotonic() < until:
            time.sleep(0.2)
        return not any(map(_runs, self.processes))


def _runs(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@IN_PROC
def test_no_process_outlives_a_first_one_that_is_killed(bench: Bench) -> None:
    training = Training(bench.folder)
    training.first.kill()
    training.first.communicate()
    assert training.ended()


@IN_PROC
def test_a_process_that_is_killed_ends_the_sweep(bench: Bench) -> None:
    training = Training(bench.folder)
    os.kill(training.processes[0], signal.SIGKILL)
    _, said = training.first.communicate(timeout=60)
    assert training.first.returncode == 1
    assert "one of 2 training processes was ended by SIGKILL" in said
    assert "--jobs-per-device" in said
    assert "Traceback" not in said
    assert training.ended(0)


@IN_PROC
def test_ctrl_c_ends_all_processes(bench: Bench) -> None:
    training = Training(bench.folder)
    for pid in (training.first.pid, *training.processes):  # a terminal sends it to all of them
        os.kill(pid, signal.SIGINT)
    _, said = training.first.communicate(timeout=60)
    assert training.first.returncode == 130
    assert "0 of" in said
    assert "Traceback" not in said
    assert training.ended(0)
