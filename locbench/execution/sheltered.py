"""A display of progress that cannot end what it shows: a full disk, a closed terminal or a reader
that has gone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from locbench.console import remark
from locbench.execution.job import Job
from locbench.results.record import Record

if TYPE_CHECKING:
    from locbench.execution.sweep import SweepWatcher
    from locbench.training.state import EpochMetrics


class Display(Protocol):
    """Something on a terminal that is begun and ended."""

    def __enter__(self) -> Any:
        """Begin to show it."""

    def __exit__(self, kind: None, error: None, trace: None) -> Any:
        """End it."""


D = TypeVar("D", bound=Display)

FAULTS = (OSError, ValueError, LookupError, TypeError, AttributeError)
"""What a display can meet. Signal handlers strike here too: what they raise, a LocbenchError, a
RuntimeError of PyTorch's that a process has died, or a KeyboardInterrupt, is for the run."""


@contextlib.contextmanager
def shown(display: D) -> Iterator[D]:
    """Begin and end a display; that it cannot be shown is no error."""
    with contextlib.suppress(*FAULTS):
        display.__enter__()
    try:
        yield display
    finally:
        with contextlib.suppress(*FAULTS):
            display.__exit__(None, None, None)


class Sheltered:
    """A watcher that passes on what it hears until that fails; from then on nothing is shown, and
    training goes on.

    Args:
        watcher: whom it passes everything on to.
    """

    def __init__(self, watcher: SweepWatcher) -> None:
        self.watcher: SweepWatcher | None = watcher

    def job_started(self, job: Job, index: int, jobs: int) -> None:
        """Pass it on."""
        self._pass("job_started", job, index, jobs)

    def run_started(self, epochs: int, steps: int, done: int) -> None:
        """Pass it on."""
        self._pass("run_started", epochs, steps, done)

    def step_done(self) -> None:
        """Pass it on."""
        self._pass("step_done")

    def epoch_done(self, row: EpochMetrics) -> None:
        """Pass it on."""
        self._pass("epoch_done", row)

    def job_done(self, record: Record) -> None:
        """Pass it on."""
        self._pass("job_done", record)

    def _pass(self, name: str, *arguments: Any) -> None:
        if self.watcher is None:
            return
        try:
            getattr(self.watcher, name)(*arguments)
        except FAULTS as error:
            self.watcher = None
            remark(
                f"Progress is no longer shown, training goes on: {type(error).__name__}: {error}"
            )
