"""What a run gives, and who hears of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

Row = dict[str, float | None]
"""An epoch's line of the history; see `Record`."""


class Watcher(Protocol):
    """Who wants to hear how a run is going."""

    def run_started(self, epochs: int, steps: int, done: int) -> None:
        """A run of so many epochs of so many steps starts, or goes on after ``done`` epochs."""

    def step_done(self) -> None:
        """A step has been queued."""

    def epoch_done(self, row: Row) -> None:
        """An epoch is over; ``row`` is its line of the history."""


@dataclass
class Outcome:
    """What a run gives.

    Attributes:
        history: one row per epoch, see `Record`.
        local_losses: mean loss of every module in the last epoch.
        parameters: counts, primary and auxiliary.
        seconds: time spent, all parts of a resumed run together.
        resumed: how often it was continued.
        started: UTC time of its first start.
        engine: what ran the steps; of a resumed run all there were, in order.
        codes: names of the code that trained it, in order; several if it was continued by other code.
        dirty: whether any of it differed from its commit; None where there was none.
    """

    history: list[Row] = field(default_factory=list)
    local_losses: list[float] = field(default_factory=list)
    parameters: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    resumed: int = 0
    started: str = ""
    engine: str = "eager"
    codes: list[str] = field(default_factory=list)
    dirty: bool | None = None
