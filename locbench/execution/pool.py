"""Cells side by side: one process each, several on a device or one on each of several devices.

The processes take runs from one list, train them as a sweep in one process does, and tell this one
how they get on. A run is the same run whoever trains it; only its time is another, and its record
says beside how many others it ran.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from locbench.errors import BudgetSpentError, FailureError, LocbenchError
from locbench.execution.budget import Deadline
from locbench.execution.job import Job
from locbench.execution.sheltered import Sheltered
from locbench.results.record import Record
from locbench.results.store import Store

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    import torch

    from locbench.execution.sweep import Sweep, SweepWatcher
    from locbench.training.state import EpochMetrics

POLL = 1.0
"""Seconds between two looks at whether every process still lives."""


@dataclass(frozen=True)
class Setup:
    """What every process needs to run a part of a sweep.

    Attributes:
        results: folder of the records.
        root: folder of the data sets.
        devices: one entry per process: the name of its device; no more processes start than there
            are runs.
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

    def sweep(self, device: torch.device, **others: Any) -> Sweep:
        """Return a sweep on one of the devices; ``others`` are further arguments of `Sweep`."""
        from locbench.execution.sweep import Sweep

        return Sweep(
            Store(self.results),
            device,
            self.root,
            download=self.download,
            weights=self.weights,
            engine=self.engine,
            **others,
        )


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
    count = min(len(setup.devices), len(jobs))
    watchers = [Sheltered(slots.slot(index)) for index in range(count)]
    numbered = list(enumerate(jobs, 1))
    for backbones in (True, False):
        part = [(number, job) for number, job in numbered if bool(job.backbone_of) is backbones]
        if part:
            _run(part, len(jobs), replace(setup, devices=setup.devices[: len(part)]), watchers)


def _run(
    part: Sequence[tuple[int, Job]], jobs: int, setup: Setup, watchers: Sequence[SweepWatcher]
) -> None:
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    tasks, events = context.Queue(), context.Queue()
    for item in (*part, *[None] * len(setup.devices)):
        tasks.put(item)
    processes: list[BaseProcess] = [
        # No daemons: those could not start the processes that decode images.
        context.Process(target=_work, args=(index, jobs, setup, tasks, events), daemon=False)
        for index in range(len(setup.devices))
    ]
    for each in processes:
        each.start()
    try:
        _listen(processes, events, watchers)
    finally:
        for each in processes:
            each.terminate()
        for each in processes:
            each.join(10)


def _listen(
    processes: Sequence[BaseProcess], events: Any, watchers: Sequence[SweepWatcher]
) -> None:
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
            if isinstance(error, BudgetSpentError):
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
            how = (
                f"was ended by {signal.Signals(-code).name}"
                if code < 0
                else f"ended with exit code {code}"
            )
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

    def epoch_done(self, row: EpochMetrics) -> None:
        self._tell("epoch_done", row)

    def job_done(self, record: Record) -> None:
        self._tell("job_done", record)

    def _tell(self, name: str, *arguments: Any) -> None:
        self.events.put((self.index, name, arguments))


def _work(index: int, jobs: int, setup: Setup, tasks: Any, events: Any) -> None:
    """Run jobs off the list; what ends it is told."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # the first process hears it too, and ends this one
    threading.Thread(target=_end_with_the_first_process, daemon=True).start()
    error: LocbenchError | None = None
    try:
        _run_tasks(_Teller(index, events, jobs), index, setup, tasks)
    except LocbenchError as met:
        error = met
    except Exception as met:
        error = FailureError(
            f"a training process failed: {type(met).__name__}: {met}", "Start the command again."
        )
    events.put((index, "ended", (error,)))


def _end_with_the_first_process() -> None:
    """End this process when the first one is gone: killed, it cannot end the others, and nobody
    would stop them.
    """
    first = multiprocessing.parent_process()
    if first is not None:
        first.join()
        os._exit(1)


def _run_tasks(teller: _Teller, index: int, setup: Setup, tasks: Any) -> None:
    import torch

    from locbench.data.decoding import worker_count
    from locbench.data.loading import share_with
    from locbench.training.device import choose_device

    processes, device = len(setup.devices), choose_device(setup.devices[index])
    share_with(processes)
    os.environ["LOCBENCH_WORKERS"] = str(
        max(1, worker_count() // processes) if worker_count() else 0
    )
    if device.type == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    sweep = setup.sweep(device, beside=setup.devices.count(setup.devices[index]))
    watcher = teller if setup.until is None else Deadline(teller, setup.until)
    while (task := tasks.get()) is not None:
        teller.number, job = task
        sweep.run([job], watcher)
