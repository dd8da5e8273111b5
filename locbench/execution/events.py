"""Events of a sweep, their listeners, and a display that cannot fail."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, TypeAlias

from locbench.console import remark
from locbench.execution.job import Job
from locbench.results.record import Record
from locbench.training.events import RunEvent


@dataclass(frozen=True)
class JobStarted:
    """The job with this number, from 1, of so many jobs starts."""

    job: Job
    number: int
    jobs: int


@dataclass(frozen=True)
class JobDone:
    """A record has been written."""

    record: Record


Event: TypeAlias = RunEvent | JobStarted | JobDone


class Listener(Protocol):
    """Who is notified of a sweep's progress. What it raises ends the sweep."""

    def on(self, event: Event, /) -> None:
        """Take note of an event."""


class RowListener(Protocol):
    """Who is notified of the progress of several processes, each of which has a row."""

    def on(self, event: Event, row: int = 0, /) -> None:
        """Take note of an event of one process."""


class Display(RowListener, Protocol):
    """What shows progress on a terminal."""

    def start(self) -> None:
        """Begin to show it."""

    def stop(self) -> None:
        """End it."""


FAULTS = (OSError, ValueError, LookupError, TypeError, AttributeError)
"""What a display can meet: a full disk, a closed terminal, a reader that has gone. Signal handlers
strike there too: what they raise, a LocbenchError, a RuntimeError of PyTorch's that a process has
died, or a KeyboardInterrupt, is for the run."""


class FailSafe:
    """A display within its context; once it fails nothing more is shown, and training goes on."""

    def __init__(self, display: Display) -> None:
        self.display, self.lost = display, False

    def __enter__(self) -> FailSafe:
        with contextlib.suppress(*FAULTS):
            self.display.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(*FAULTS):
            self.display.stop()

    def on(self, event: Event, row: int = 0, /) -> None:
        """Show an event of one process."""
        if self.lost:
            return
        try:
            self.display.on(event, row)
        except FAULTS as error:
            self.lost = True
            why = f"{type(error).__name__}: {error}"
            remark(f"Progress is no longer shown, training goes on: {why}")
