"""Runs side by side: one process each, on one device or several.

The processes take runs from one list, train them as a sweep in one process does, and send their
events to this one. A run is the same run whichever process trains it; only its time is another, and
its record says beside how many others it ran.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from locbench.errors import BudgetSpentError, FailureError, LocbenchError
from locbench.execution.budget import Deadline
from locbench.execution.config import ExecutionConfig
from locbench.execution.events import Event, RowListener
from locbench.execution.job import Job
from locbench.processes import begin_worker, started_since
from locbench.training.events import StepDone

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from locbench.execution.sweep import Sweep

POLL = 0.1
"""Seconds between two looks at the events that the processes have sent."""


def run_side_by_side(jobs: Sequence[Job], config: ExecutionConfig, listener: RowListener) -> None:
    """Run jobs in ``len(config.devices)`` processes; backbones of others come first.

    Raises:
        LocbenchError: what a process met that every other run would meet too; the others are ended.
        FailureError: a process was ended, for example because memory ran out.
    """
    numbered = list(enumerate(jobs, 1))
    for backbones in (True, False):
        part = [(number, job) for number, job in numbered if bool(job.backbone_of) is backbones]
        if part:
            devices = config.devices[: len(part)]
            _run(part, len(jobs), replace(config, devices=devices), listener)


def _run(
    part: Sequence[tuple[int, Job]], jobs: int, config: ExecutionConfig, listener: RowListener
) -> None:
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    rows, events = context.SimpleQueue(), context.SimpleQueue()
    for row in range(len(config.devices)):
        rows.put(row)
    earlier = multiprocessing.active_children()
    processes: list[BaseProcess] = []
    executor = ProcessPoolExecutor(len(config.devices), context, _start, (rows, events, config))
    try:
        futures = [executor.submit(_train, job, number, jobs) for number, job in part]
        processes = started_since(earlier)
        _listen(futures, events, listener)
    except BrokenProcessPool:
        executor.shutdown()  # the exit codes are known from here on
        raise FailureError(
            f"one of {len(config.devices)} training processes {_end_of(processes)}",
            "Whole epochs are kept. Start the command again, "
            "with fewer --jobs-per-device if memory ran out.",
        ) from None
    finally:
        for process in started_since(earlier):
            process.terminate()
        executor.shutdown(cancel_futures=True)


def _listen(futures: Iterable[Future[None]], events: Any, listener: RowListener) -> None:
    """Pass on what the processes send, until all runs are over.

    Raises:
        BudgetSpentError: from a process; runs that have started end by themselves before.
        Exception: any other one of a process, at once.
    """
    pending, spent = set(futures), None
    while pending:
        done, pending = wait(pending, POLL, FIRST_COMPLETED)
        while not events.empty():  # a run sends its last event before it is over
            row, event = events.get()
            listener.on(event, row)
        for future in done:
            error = None if future.cancelled() else future.exception()
            if isinstance(error, BudgetSpentError):
                spent = error
                for waiting in pending:
                    waiting.cancel()
            elif error is not None:
                raise error
    if spent is not None:
        raise spent


def _end_of(processes: Iterable[BaseProcess]) -> str:
    """Return how a process ended before the pool terminated the others."""
    codes = (process.exitcode for process in processes)
    code = next((each for each in codes if each not in (None, 0, -signal.SIGTERM)), None)
    if code is None:
        return "was ended"
    return (
        f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    )


class _Worker:
    """What a process of the pool trains with, and the listener that sends events to the first one.

    Args:
        row: of the process in the display, and of its device.
        events: where they are put, each with the row.
        config: of the sweep.
    """

    def __init__(self, row: int, events: Any, config: ExecutionConfig) -> None:
        self.row, self.events, self.config = row, events, config

    def on(self, event: Event, /) -> None:
        """Send an event, other than a single step."""
        if not isinstance(event, StepDone):
            self.events.put((self.row, event))

    def train(self, job: Job, number: int, jobs: int) -> None:
        """Run a job and record it."""
        until = self.config.until
        self.sweep.run_job(job, number, jobs, self if until is None else Deadline(self, until))

    @cached_property
    def sweep(self) -> Sweep:
        """The sweep of this process, with its share of processors and of memory."""
        import torch

        from locbench.data.decoding import worker_count
        from locbench.data.loading import share_with

        devices = self.config.devices
        processes, sharing = len(devices), devices.count(devices[self.row])
        share_with(processes)
        decoders = max(1, worker_count() // processes) if worker_count() else 0
        os.environ["LOCBENCH_WORKERS"] = str(decoders)
        sweep = self.config.sweep(devices[self.row], beside=sharing)
        if sweep.device.type == "cpu":
            torch.set_num_threads(max(1, torch.get_num_threads() // processes))
        return sweep


_worker: _Worker
"""That of this process, if it is one of a pool."""


def _start(rows: Any, events: Any, config: ExecutionConfig) -> None:
    """Begin a process of the pool."""
    global _worker
    begin_worker()
    _worker = _Worker(rows.get(), events, config)


def _train(job: Job, number: int, jobs: int) -> None:
    """Run a job in a process of the pool."""
    try:
        _worker.train(job, number, jobs)
    except LocbenchError:
        raise
    except Exception as error:
        raise FailureError(
            f"a training process failed: {type(error).__name__}: {error}",
            "Start the command again.",
        ) from error
