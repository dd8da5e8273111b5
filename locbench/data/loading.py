"""Processes that load for another one.

They end with it, fit the shared memory, and are not waited for forever. They live on from one pass
over the data to the next: to start them takes longer than a short pass.
"""

from __future__ import annotations

import ctypes
import math
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from locbench.console import remark
from locbench.errors import FailureError
from locbench.torchrun import processes_here

__all__ = ["LoadingPool", "fit_workers", "share_with"]

R = TypeVar("R")
V = TypeVar("V")

TIMEOUT = 600
"""Seconds after which a process that loads counts as stuck."""

PREFETCHED = 2
"""Pieces that every process loads ahead, as PyTorch does of itself."""

SHARED = Path("/dev/shm")
LEAST = 1 << 20
"""Bytes of shared memory without which no process can be started."""

_sharers = 1


def share_with(processes: int) -> None:
    """Note that so many processes, this one among them, load at the same time."""
    global _sharers
    _sharers = processes
    fit_workers.cache_clear()


@cache
def fit_workers(workers: int, largest: int) -> tuple[int, bool]:
    """Return how many processes may load, and whether what they load has to go through pipes.

    Where shared memory is too small for what is loaded ahead, PyTorch's workers crash or wait
    without end. Pipes copy every piece twice more and need none of it.

    Args:
        workers: how many are wanted.
        largest: bytes of the largest piece.
    """
    if not workers or not sys.platform.startswith("linux"):
        return workers, False
    free, sharers = _free(), _sharers * processes_here()
    needed = (PREFETCHED * workers + 2) * largest * sharers
    if free < LEAST:
        remark(
            f"{SHARED} has no free memory: images are loaded without further processes, "
            "which is slow."
        )
        return 0, False
    if needed > 0.9 * free:
        remark(
            f"{SHARED} has {free / LEAST:,.0f} MB free and {needed / LEAST:,.0f} MB are needed: "
            "images go through pipes instead, which is slower. In Docker, --shm-size gives more."
        )
    return workers, needed > 0.9 * free


def _free() -> int:
    try:
        volume = os.statvfs(SHARED)
    except OSError:
        return 0
    return volume.f_bavail * volume.f_frsize if os.access(SHARED, os.W_OK) else 0


class LoadingPool(Generic[R, V]):
    """Processes that load what they are asked for, in that order; without any, this process does.

    Args:
        load: loads; it is sent to the processes, and so is what it holds.
        workers: how many processes, as `fit_workers` allows.
        packed: whether what they load goes through pipes.
        pinned: whether tensors are to be pinned for a GPU.
    """

    def __init__(
        self, load: Callable[[R], V], workers: int, *, packed: bool = False, pinned: bool = False
    ) -> None:
        self.workers, self.packed, self.pinned, self.busy = workers, packed, pinned, False
        self._requests: _Requests[R] = _Requests()
        self._since, self._stuck = math.inf, False
        begin = partial(
            _start_worker, os.getpid(), threading.current_thread() is threading.main_thread()
        )
        self._loader: DataLoader[Any] = DataLoader(
            _Task(load, packed),
            batch_size=None,
            sampler=self._requests,
            num_workers=workers,
            collate_fn=_unchanged,
            pin_memory=pinned,
            worker_init_fn=begin,
            persistent_workers=workers > 0,
            # Else it draws from the global one, though nothing here is random.
            generator=torch.Generator(),
        )

    def results(self, requests: Iterable[R]) -> Iterator[V]:
        """Yield what is loaded for each request, in their order; one pass at a time.

        Raises:
            FailureError: something cannot be loaded, or a process has ended or is stuck.
        """
        self._requests.requests, self.busy = requests, True
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(over,), daemon=True)
        if self.workers:
            watch.start()
        try:
            for value in self._timed():
                result = pickle.loads(value) if self.packed else value
                if isinstance(result, FailureError):
                    raise result
                yield result
        except RuntimeError as error:
            if "DataLoader" not in str(error):
                raise
            why = str(error).strip().splitlines()[0]
            raise FailureError(
                f"no image came for {TIMEOUT} seconds"
                if self._stuck
                else f"a process that loads images failed: {why}",
                "Whole epochs are kept. To go on: the same command; LOCBENCH_WORKERS=0 loads "
                "without such processes.",
            ) from error
        finally:
            over.set()
            if watch.ident is not None:
                watch.join()  # it holds the pool, whose processes end when nothing does
            self.busy = False

    def _timed(self) -> Iterator[Any]:
        """Yield what arrives, and note since when it is waited for."""
        self._since = time.monotonic()
        for value in self._loader:
            self._since = math.inf
            yield value
            self._since = time.monotonic()

    def _watch(self, over: threading.Event) -> None:
        """End the processes if nothing comes.

        That they have ended is then noticed, as it would be without this.
        """
        while not over.wait(min(1.0, TIMEOUT / 4)):
            if time.monotonic() - self._since > TIMEOUT:
                self._stuck = True
                for process in getattr(getattr(self._loader, "_iterator", None), "_workers", ()):
                    process.kill()
                return


class _Requests(Generic[R]):
    """The requests of the present pass; it does not know the pool, which ends when let go."""

    requests: Iterable[R] = ()

    def __iter__(self) -> Iterator[R]:
        return iter(self.requests)


class _Task(Dataset[Any]):
    """Loads what it is asked for instead of a numbered item."""

    def __init__(self, load: Callable[[Any], Any], packed: bool) -> None:
        self.load, self.packed = load, packed

    def __getitem__(self, request: Any) -> Any:
        # A fault is handed over as a value: raised in a worker it would reach the user as that
        # process's traceback.
        try:
            result = self.load(request)
        except FailureError as error:
            result = error
        except Exception as error:
            what = f"{type(error).__name__}: {error}".removesuffix(": ")
            result = FailureError(
                f"images cannot be loaded: {what}",
                "Whole epochs are kept. To go on: the same command.",
            )
        # Plain pickle puts a tensor's bytes among the others; what PyTorch uses between processes
        # shares memory.
        return pickle.dumps(result, protocol=5) if self.packed else result


def _unchanged(value: V) -> V:
    return value


def _start_worker(parent: int, from_main_thread: bool, _: int) -> None:
    """Begin as a process that loads: leave interrupts to the first one, and end with it.

    One that is killed while its results wait for a reader would wait for good: nothing else tells
    it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "win32":  # PyTorch's own watch is enough there
        return
    is_child = os.getppid() == parent  # not where another process starts all of them
    # It is the end of a parent's thread that is told.
    if is_child and from_main_thread and sys.platform.startswith("linux"):
        prctl = getattr(ctypes.CDLL(None), "prctl", None)
        if prctl is not None:
            prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    threading.Thread(target=_exit_with_parent, args=(parent, is_child), daemon=True).start()


def _exit_with_parent(parent: int, is_child: bool, every: float = 1.0) -> None:
    while os.getppid() == parent if is_child else _exists(parent):
        time.sleep(every)
    os._exit(1)


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
