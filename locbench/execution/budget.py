"""A sweep with a time limit: it ends between two epochs, with everything recorded and the run in
progress kept.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from locbench.errors import BudgetSpentError
from locbench.execution.job import Job
from locbench.results.record import Record

if TYPE_CHECKING:
    from locbench.execution.sweep import SweepWatcher
    from locbench.training.state import EpochMetrics


class Deadline:
    """A watcher that passes on what it hears and ends the sweep in time.

    A run ends after an epoch, whose state is then kept, if another one like it would not end in
    time. Only a first epoch that takes longer than all the time that is left is broken off, and
    lost.

    Args:
        watcher: whom it passes everything on to.
        until: when, on `time.monotonic`'s clock, in seconds.

    Raises:
        BudgetSpentError: from any of its methods but ``job_done``.
    """

    def __init__(self, watcher: SweepWatcher, until: float) -> None:
        self.watcher, self.until = watcher, until
        self._enough = False

    def job_started(self, job: Job, index: int, jobs: int) -> None:
        """Start no run when the time is over."""
        self._enough = False
        self._look()
        self.watcher.job_started(job, index, jobs)

    def run_started(self, epochs: int, steps: int, done: int) -> None:
        """Pass it on."""
        self.watcher.run_started(epochs, steps, done)

    def step_done(self) -> None:
        """End the run where the epoch before was the last that fits.

        Its state has been written by now.
        """
        self._look()
        self.watcher.step_done()

    def epoch_done(self, row: EpochMetrics) -> None:
        """Compare the epoch with the time that is left."""
        self.watcher.epoch_done(row)
        self._enough = time.monotonic() + (row["seconds"] or 0.0) > self.until

    def job_done(self, record: Record) -> None:
        """Pass it on: a run that is over is recorded whatever the time."""
        self.watcher.job_done(record)

    def _look(self) -> None:
        if self._enough or time.monotonic() > self.until:
            raise BudgetSpentError("the time is spent", "To go on: the same command.")
