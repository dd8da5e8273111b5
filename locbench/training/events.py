"""Events of a run, and who listens to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

EpochMetrics: TypeAlias = dict[str, float | None]
"""An epoch's row of the history; see `Record`."""


@dataclass(frozen=True)
class RunStarted:
    """A run starts, or continues after ``done`` epochs; ``steps`` are those of one epoch."""

    epochs: int
    steps: int
    done: int


@dataclass(frozen=True)
class StepDone:
    """A step has been queued."""


@dataclass(frozen=True)
class EpochDone:
    """An epoch is over; its state is not kept yet."""

    metrics: EpochMetrics


RunEvent: TypeAlias = RunStarted | StepDone | EpochDone


class RunListener(Protocol):
    """Who is notified of a run's progress. What it raises ends the run."""

    def on(self, event: RunEvent, /) -> None:
        """Take note of an event."""
