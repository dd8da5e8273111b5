"""A sweep that is killed again and again ends with the numbers of one that never was, to the last
bit.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from small_table import CELLS, MINI, numbers

from locbench.execution.plan import make_plan
from locbench.execution.sweep import Sweep
from locbench.results.store import Store
from locbench.spec.selection import RunOptions
from locbench.spec.table_files import read_table
from locbench.terminal.progress import SweepProgress
from locbench.training.state import load_checkpoint

KILLS = 5
EPOCHS = 7
COMMAND = [
    sys.executable,
    "-u",
    "-m",
    "locbench",
    "table",
    "mini",
    "--epochs",
    str(EPOCHS),
    "--device",
    "cpu",
]


class Sweeps:
    """One sweep's folders and the processes that work on it."""

    def __init__(self, folder: Path) -> None:
        (folder / "tables").mkdir()
        (folder / "tables" / "mini.toml").write_text(MINI, encoding="utf-8")
        self.folder = folder
        self.environment = os.environ | {
            "LOCBENCH_TABLES": str(folder / "tables"),
            "OMP_NUM_THREADS": "1",
        }

    def start(self, results: str, seeds: int = 2) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, "--seeds", str(seeds), "--results", results],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, results: str, seeds: int = 2) -> str:
        """Run what is missing within this process, and return what was printed."""
        store, said = self.store(results), io.StringIO()
        table = read_table(self.folder / "tables" / "mini.toml")
        plan = make_plan(table, RunOptions(epochs=EPOCHS, seeds=seeds), store, self.folder)
        sweep = Sweep(store, torch.device("cpu"), self.folder)
        sweep.prepare(plan.open)
        sweep.run(plan.open, SweepProgress(Console(file=said)))
        return said.getvalue()

    def store(self, results: str) -> Store:
        return Store(self.folder / results)

    def files(self, results: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.store(results).records.glob("*.json")}

    def numbers(self, results: str) -> dict[str, dict[str, Any]]:
        return {record.key: numbers(record) for record in self.store(results).all()}

    def unfinished(self, results: str) -> list[int]:
        """Return the epochs that the checkpoints hold."""
        found = [
            load_checkpoint(path, torch.device("cpu"))
            for path in self.store(results).checkpoints.glob("*.pt")
        ]
        assert None not in found, "a checkpoint was written in part"
        return [state["epoch"] for state in found if state]


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    """Read a process's lines up to one with these words, or to the last one."""
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Sweeps:
    made = Sweeps(tmp_path_factory.mktemp("sweeps"))
    made.finish("whole")
    return made


def killed(sweeps: Sweeps, results: str, epochs: int, seconds: float) -> str:
    """Kill a sweep so long after so many epochs, and return what it had said by then."""
    process = sweeps.start(results)
    wait_for(process, "[1/")
    folder, seen = sweeps.folder / results, set()
    while process.poll() is None and len(seen) <= epochs:
        seen.add(frozenset(written(folder)))
        time.sleep(0.002)
    time.sleep(seconds)
    process.kill()
    assert process.stdout is not None
    # Not `communicate`, which reads past the lines that waiting has read ahead.
    said = process.stdout.read()
    process.communicate()
    return said


def written(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the records and checkpoints with the time they were written.

    Every whole epoch changes one.
    """
    for path in [*folder.glob("records/*.json"), *folder.glob(".checkpoints/*.pt")]:
        with contextlib.suppress(FileNotFoundError):
            yield path.name, path.stat().st_mtime_ns


def test_killed_five_times(sweeps: Sweeps) -> None:
    moments = random.Random(20)
    there: dict[str, bytes] = {}
    epochs: list[int] = []
    for _ in range(KILLS):
        said = killed(sweeps, "killed", moments.randint(0, 2 * EPOCHS), moments.uniform(0, 0.05))
        assert_continued(said, epochs)
        epochs = sweeps.unfinished("killed")
        now = sweeps.files("killed")
        assert there.items() <= now.items()
        there = now
    assert_continued(sweeps.finish("killed"), epochs)
    assert there.items() <= sweeps.files("killed").items()
    assert sweeps.numbers("killed") == sweeps.numbers("whole")
    assert len(sweeps.files("killed")) == 2 * CELLS
    assert sweeps.unfinished("killed") == []


def assert_continued(said: str, epochs: list[int]) -> None:
    """Assert that no whole epoch was lost, unless the process was killed before it could say so."""
    if epochs and "done:" in said:
        assert len(epochs) == 1
        assert f"continued after epoch {epochs[0]} of {EPOCHS}" in said


def test_stopped_by_ctrl_c(sweeps: Sweeps) -> None:
    process = sweeps.start("stopped", seeds=1)
    wait_for(process, "[2/")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"of {CELLS} runs are recorded" in err
    assert "To go on: locbench table mini" in err
    assert "Traceback" not in err
    there = sweeps.files("stopped")
    assert 1 <= len(there) < CELLS
    assert not list((sweeps.folder / "stopped").rglob("*.part"))
    sweeps.finish("stopped", seeds=1)
    assert there.items() <= sweeps.files("stopped").items()
    stopped, whole = sweeps.numbers("stopped"), sweeps.numbers("whole")
    assert len(stopped) == CELLS
    assert stopped.items() <= whole.items()
