"""A budget of time: how it is written, and when it ends a run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from specimens import recipe

from locbench.errors import BudgetSpentError, UsageError
from locbench.execution import budget
from locbench.execution.budget import Deadline, seconds_of
from locbench.execution.events import Event, JobStarted
from locbench.execution.job import Job
from locbench.training.events import EpochDone, RunStarted, StepDone


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30min", 1800),
        ("1h30m", 5400),
        ("1 h 30 min", 5400),
        ("1.5 hours", 5400),
        ("2 h", 7200),
        ("2 days", 172800),
        ("1:30:00", 5400),
    ],
)
def test_a_budget_is_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


NO_TIMES = [
    *("1,2,3", "123", "", "s", "0s", "-1h", "-5min", "soon", "30"),
    *("1ns", "5ms", "1e3s", "nan", "inf", "9" * 400 + "h", "367d", "½h"),
]


@pytest.mark.parametrize("text", NO_TIMES, ids=[each[:20] for each in NO_TIMES])
def test_a_budget_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--budget .* is no time from a second to a year"):
        seconds_of(text)


class Heard:
    """A listener that remembers what it was notified of."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on(self, event: Event) -> None:
        self.events.append(event)


def test_a_run_ends_after_the_last_epoch_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(budget, "time", clock)
    heard, started = Heard(), JobStarted(Job(recipe("bp"), (), "to do"), 1, 3)
    deadline = Deadline(heard, until=10.0)
    deadline.on(started)
    deadline.on(RunStarted(9, 2, 0))
    epoch = EpochDone({"seconds": 3.0})
    for clock.now in (3.0, 6.0):
        deadline.on(StepDone())
        deadline.on(epoch)
    deadline.on(StepDone())
    clock.now = 9.0
    deadline.on(epoch)  # another one would end at 12
    with pytest.raises(BudgetSpentError):
        deadline.on(StepDone())
    assert heard.events.count(epoch) == 3
    deadline.on(started)  # a second is left: enough to begin
    clock.now = 10.5
    with pytest.raises(BudgetSpentError):
        deadline.on(StepDone())
    with pytest.raises(BudgetSpentError):
        deadline.on(started)
