"""Processes that load: they live on, and end with the first one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from locbench.data import decoding as workers
from locbench.data import loading
from locbench.data.imagenet_batches import imagenet_eval_batches, imagenet_train_batches
from locbench.data.images import Split, load
from locbench.data.loading import LoadingPool, fit_workers, share_with
from locbench.errors import FailureError

MEGABYTE = 1 << 20


def make(folder: Path, images: int = 6) -> str:
    draws = np.random.default_rng(0)
    for part in ("train", "val"):
        for label in ("one", "two"):
            (folder / part / label).mkdir(parents=True)
            for number in range(images):
                pixels = draws.integers(0, 256, (40, 36, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / label / f"{number}.png")
    return f"imagenet:{folder}?side=32"


@pytest.fixture(autouse=True)
def begin_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(workers, "PIECE", 2)
    fit_workers.cache_clear()
    workers.stop_workers()
    yield
    workers.stop_workers()
    fit_workers.cache_clear()


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return load(make(tmp_path_factory.mktemp("layout")), tmp_path_factory.mktemp("root"))


def trained_on(split: Split, epoch: int, count: int) -> Tensor:
    found = imagenet_train_batches(
        split.train, split.info, 4, side=32, seed=0, epoch=epoch, workers=count
    )
    return torch.cat([each.images for each in found])


def middles_of(split: Split, count: int) -> Tensor:
    return torch.cat(
        [
            each.images
            for each in imagenet_eval_batches(split.test, split.info, 4, side=32, workers=count)
        ]
    )


def processes() -> list[int]:
    """Return the processes that decode."""
    assert workers._kept is not None
    assert workers._kept._loader._iterator is not None
    return [each.pid for each in workers._kept._loader._iterator._workers]  # type: ignore[attr-defined]


def test_processes_live_on_and_give_what_new_ones_would(split: Split) -> None:
    expected = [trained_on(split, epoch, 0) for epoch in (1, 2)]
    tests = middles_of(split, 0)
    first = trained_on(split, 1, 2)
    began = processes()
    assert len(began) == 2
    assert torch.equal(middles_of(split, 2), tests)
    second = trained_on(split, 2, 2)
    assert processes() == began
    assert torch.equal(first, expected[0])
    assert torch.equal(second, expected[1])


def test_stopped_processes_end_at_once(split: Split) -> None:
    trained_on(split, 1, 2)
    began = processes()
    workers.stop_workers()
    assert not any(map(runs, began))


def test_a_pass_that_was_given_up_leaves_nothing_behind(split: Split) -> None:
    expected = trained_on(split, 2, 0)
    given_up = imagenet_train_batches(
        split.train, split.info, 4, side=32, seed=0, epoch=1, workers=2
    )
    next(given_up)
    began = processes()
    beside = trained_on(split, 2, 2)  # the first pass may go on: these are others
    assert torch.equal(beside, expected)
    assert torch.equal(next(given_up).images, trained_on(split, 1, 0)[4:8])
    given_up.close()  # type: ignore[attr-defined]
    assert torch.equal(trained_on(split, 2, 2), expected)
    assert processes() == began


@pytest.mark.parametrize(("megabytes", "packed"), [(64, True), (1000, False)])
def test_small_shared_memory_is_seen_before(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    megabytes: int,
    packed: bool,
) -> None:
    monkeypatch.setattr(loading, "_free", lambda: megabytes * MEGABYTE)
    # (2 * 4 + 2) pieces of 9.6 MB: 64 images of 224 x 224 x 3 bytes
    assert fit_workers(4, 64 * 224 * 224 * 3) == (4, packed)
    assert fit_workers(4, 64 * 224 * 224 * 3) == (4, packed)
    said = capsys.readouterr().err
    assert said.count("64 MB free and 92 MB are needed") == packed
    assert said.count("--shm-size") == packed


def test_shared_memory_is_for_all_who_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_free", lambda: 100 * MEGABYTE)
    assert fit_workers(2, 10 * MEGABYTE) == (2, False)  # 60 MB
    share_with(2)
    try:
        assert fit_workers(2, 10 * MEGABYTE) == (2, True)
    finally:
        share_with(1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    fit_workers.cache_clear()
    assert fit_workers(2, 10 * MEGABYTE) == (2, True)


def test_no_shared_memory_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, split: Split
) -> None:
    monkeypatch.setattr(loading, "SHARED", tmp_path / "nowhere")
    expected = trained_on(split, 1, 0)
    assert fit_workers(4, 1000) == (0, False)
    assert torch.equal(trained_on(split, 1, 4), expected)
    assert workers._kept is None


def test_pipes_carry_the_same(monkeypatch: pytest.MonkeyPatch, split: Split) -> None:
    expected = trained_on(split, 1, 0)
    monkeypatch.setattr(loading, "_free", lambda: MEGABYTE)
    monkeypatch.setattr(loading, "PREFETCHED", 1000)
    assert torch.equal(trained_on(split, 1, 2), expected)
    assert workers._kept is not None
    assert workers._kept.packed


def slow(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def deadly(signal_: int) -> int:
    os.kill(os.getpid(), signal_)
    time.sleep(5)
    return signal_


def faulty(name: str) -> str:
    raise OSError(116, "Stale file handle")


def test_a_process_that_is_stuck_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "TIMEOUT", 1)
    crew = LoadingPool(slow, 1)
    assert list(crew.results([0.0])) == [0.0]
    with pytest.raises(FailureError, match="no image came for 1 seconds") as raised:
        list(crew.results([30.0]))
    assert "LOCBENCH_WORKERS=0" in raised.value.remedy


def test_a_process_that_is_killed_is_named() -> None:
    with pytest.raises(FailureError, match="DataLoader worker"):
        list(LoadingPool(deadly, 1).results([signal.SIGKILL]))


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("packed", [False, True])
def test_a_fault_of_reading_is_one_message(count: int, packed: bool) -> None:
    with pytest.raises(
        FailureError, match=r"images cannot be loaded: OSError: \[Errno 116\] Stale file handle\n"
    ):
        list(LoadingPool(faulty, count, packed=packed).results(["x"]))


def test_processes_leave_interrupts_to_the_first_one() -> None:
    assert list(LoadingPool(deadly_interrupt, 1).results([signal.SIGINT])) == ["alive"]


def deadly_interrupt(signal_: int) -> str:
    os.kill(os.getpid(), signal_)
    return "alive"


KILLED = """
import os, sys, time
from locbench.data.loading import LoadingPool
def load(number): return bytes(1 << 22)  # more than a pipe holds
print("ready", flush=True)
results = LoadingPool(load, 2, packed=True).results(range(1000))
next(results)
print(*[each.pid for each in __import__("multiprocessing").active_children()], flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_processes_end_with_the_first_one(how: signal.Signals) -> None:
    first = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "ready\n"
    found = [int(each) for each in first.stdout.readline().split()]
    assert len(found) == 2
    time.sleep(0.5)  # their results wait for a reader
    first.send_signal(how)
    first.communicate()
    until = time.monotonic() + 10
    while any(map(runs, found)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(runs, found))


def test_the_watch_alone_ends_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []

    def leave(code: int) -> Any:
        ended.append(code)
        raise SystemExit

    monkeypatch.setattr(loading.os, "_exit", leave)
    for parent, own in ((2**22 - 1, True), (2**22 - 1, False)):  # no process has this number
        with pytest.raises(SystemExit):
            loading._exit_with_parent(parent, own)
    assert ended == [1, 1]
    assert loading._exists(os.getpid())


LEFT = """
import sys
from pathlib import Path
from locbench.data import decoding
from locbench.data.imagenet_batches import imagenet_train_batches
from locbench.data.images import load
decoding.PIECE = 2
split = load(sys.argv[1], Path(sys.argv[2]))
list(imagenet_train_batches(split.train, split.info, 4, side=32, seed=0, epoch=1, workers=2))
"""


def test_the_end_of_a_program_is_silent(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", LEFT]
    command += [make(tmp_path / "layout"), str(tmp_path / "root")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def runs(process: int) -> bool:
    try:
        return (
            Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
            != "Z"
        )
    except OSError:
        return False
