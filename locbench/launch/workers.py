"""Cells side by side: one process each, several on a device or one on each of several devices.

The processes take runs from one list, train them as a sweep in one process does, and tell this one how they get on. A
run is the same run whoever trains it; only its time is another, and its record says beside how many others it ran.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from locbench.errors import FailureError, LocbenchError
from locbench.launch.deadline import Deadline
from locbench.launch.plan import Job
from locbench.results.record import Record
from locbench.results.store import Store

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from locbench.launch.sweep import SweepWatcher
    from locbench.training.loop import Row

POLL = 1.0
"""Seconds between two looks at whether every process still lives."""


@dataclass(frozen=True)
class Setup:
    """What every process needs to run a part of a sweep.

    Attributes:
        results: folder of the records.
        root: folder of the data sets.
        devices: one entry per process: the name of its device.
        engine: see `choose_engine`.
        download: fetch a data set that is missing.
        weights: file of pretrained weights.
        until: when to stop, on `time.monotonic`'s clock; None runs everything.
    """

    results: Path
    root: Path
    devices: tuple[str, ...]
    engine: str = "auto"
    download: bool = False
    weights: Path | None = None
    until: float | None = None


class Slots(Protocol):
    """Who wants to hear how several runs at a time are going."""

    def slot(self, index: int) -> SweepWatcher:
        """Return the watcher of the process with this index."""


def run_side_by_side(jobs: Sequence[Job], setup: Setup, slots: Slots) -> None:
    """Run jobs in ``len(setup.devices)`` processes; backbones of others come first.

    Raises:
        LocbenchError: what a process met that every other run would meet too; the others are ended.
        FailureError: a process ended without a word, for example because memory ran out.
    """
    for part in ([job for job in jobs if job.backbone_of], [job for job in jobs if not job.backbone_of]):
        if part:
            _run(part, setup, slots)


def _run(jobs: Sequence[Job], setup: Setup, slots: Slots) -> None:
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    tasks, events = context.Queue(), context.Queue()
    count = min(len(setup.devices), len(jobs))
    for item in (*enumerate(jobs, 1), *[None] * count):
        tasks.put(item)
    processes: list[BaseProcess] = [
        context.Process(target=_work, args=(index, count, len(jobs), setup, tasks, events), daemon=True)
        for index in range(count)
    ]
    for each in processes:
        each.start()
    try:
        _listen(processes, events, [slots.slot(index) for index in range(count)])
    finally:
        for each in processes:
            each.terminate()
            each.join(10)


def _listen(processes: Sequence[BaseProcess], events: Any, watchers: Sequence[SweepWatcher]) -> None:
    """Pass on what the processes tell, until all have ended."""
    running, spent = set(range(len(processes))), None
    while running:
        try:
            index, name, arguments = events.get(timeout=POLL)
        except queue.Empty:
            _refuse_silent_end(processes, running)
            continue
        if name == "ended":
            running.discard(index)
            error = arguments[0]
            if error is not None and type(error).__name__ == "BudgetSpentError":
                spent = error
            elif error is not None:
                raise error
        else:
            getattr(watchers[index], name)(*arguments)
    if spent is not None:
        raise spent


def _refuse_silent_end(processes: Sequence[BaseProcess], running: set[int]) -> None:
    for index in running:
        code = processes[index].exitcode
        if code is not None:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise FailureError(
                f"one of {len(processes)} training processes {how}",
                "Whole epochs are kept. Start the command again, with fewer --jobs-per-device if memory ran out.",
            )


class _Teller:
    """The watcher in a process: it tells the first process everything but single steps."""

    def __init__(self, index: int, events: Any, jobs: int) -> None:
        self.index, self.events, self.jobs = index, events, jobs
        self.number = 0

    def job_started(self, job: Job, index: int, jobs: int) -> None:  # noqa: ARG002
        self._tell("job_started", job, self.number, self.jobs)

    def run_started(self, epochs: int, steps: int, done: int) -> None:
        self._tell("run_started", epochs, steps, done)

    def step_done(self) -> None:
        return None

    def epoch_done(self, row: Row) -> None:
        self._tell("epoch_done", row)

    def job_done(self, record: Record) -> None:
        self._tell("job_done", record)

    def _tell(self, name: str, *arguments: Any) -> None:
        self.events.put((self.index, name, arguments))


def _work(index: int, count: int, jobs: int, setup: Setup, tasks: Any, events: Any) -> None:
    """Run jobs off the list; what ends it is told."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears it too, and ends this one
    error: LocbenchError | None = None
    try:
        _run_tasks(_Teller(index, events, jobs), index, count, setup, tasks)
    except LocbenchError as met:
        error = met
    except Exception as met:
        error = FailureError(f"a training process failed: {type(met).__name__}: {met}", "Start the command again.")
    events.put((index, "ended", (error,)))


def _run_tasks(teller: _Teller, index: int, count: int, setup: Setup, tasks: Any) -> None:
    import torch

    from locbench.launch.sweep import Sweep
    from locbench.training.precision import choose_device

    device = choose_device(setup.devices[index])
    if device.type == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))
    sweep = Sweep(
        Store(setup.results),
        device,
        setup.root,
        download=setup.download,
        weights=setup.weights,
        engine=setup.engine,
        beside=setup.devices.count(setup.devices[index]),
    )
    watcher = teller if setup.until is None else Deadline(teller, setup.until)
    while (task := tasks.get()) is not None:
        teller.number, job = task
        sweep.run([job], watcher)
