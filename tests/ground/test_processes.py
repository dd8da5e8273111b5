"""Processes of a pool leave interrupts to the first process, and end when that is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from locbench.processes import begin_worker, started_since

FIRST = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from locbench.processes import begin_worker

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), begin_worker)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_process_ends_with_the_first_one(tmp_path: Path) -> None:
    script = tmp_path / "first.py"
    script.write_text(FIRST)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        worker = int(first.stdout.readline())
        assert lives(worker)
        first.kill()
    until = time.monotonic() + 30
    while lives(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not lives(worker)


def test_a_process_goes_on_after_an_interrupt() -> None:
    earlier = multiprocessing.active_children()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), begin_worker) as pool:
        worker = pool.submit(os.getpid).result()
        assert [process.pid for process in started_since(earlier)] == [worker]
        os.kill(worker, signal.SIGINT)
        assert pool.submit(os.getpid).result() == worker
    assert started_since(earlier) == []
