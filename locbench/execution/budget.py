"""A budget of time: its text, and the deadline of a sweep."""

from __future__ import annotations

import re
import time

from locbench.errors import BudgetSpentError, UsageError
from locbench.execution.events import Event, JobStarted, Listener
from locbench.printable import shortened
from locbench.training.events import EpochDone, StepDone

_SECONDS = {
    name: seconds
    for seconds, names in (
        (1, "s sec secs second seconds"),
        (60, "m min mins minute minutes"),
        (3600, "h hr hrs hour hours"),
        (86400, "d day days"),
        (7 * 86400, "w week weeks"),
    )
    for name in names.split()
}

_PART = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([a-z]+)")

_LONGEST = 366 * 86400


def seconds_of(text: str) -> float:
    """Return the seconds of a time such as ``90s``, ``30min``, ``1h30m`` or ``1:30:00``.

    Raises:
        UsageError: the text is no time from a second to a year.
    """
    low = text.strip().lower()
    clock = re.fullmatch(r"([0-9]{1,4}):([0-5][0-9]):([0-5][0-9])", low)
    if clock:
        hours, minutes, rest = map(int, clock.groups())
        seconds = 3600.0 * hours + 60 * minutes + rest
    else:
        parts = _PART.findall(low)
        whole = not _PART.sub("", low).strip() and all(unit in _SECONDS for _, unit in parts)
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts) if whole else 0.0
    if not 1 <= seconds <= _LONGEST:
        raise UsageError(
            f"--budget {shortened(text)} is no time from a second to a year",
            "For example: --budget 90s, 30min or 1h30m.",
        )
    return seconds


class Deadline:
    """A listener that passes events on and ends the sweep in time.

    A run ends after an epoch, whose state is then kept, if another one like it would not end in
    time. Only a first epoch that takes longer than all the time that is left is broken off, and
    lost. A run that is over is recorded whatever the time.

    Args:
        listener: whom events are passed on to.
        until: when, on `time.monotonic`'s clock, in seconds.
    """

    def __init__(self, listener: Listener, until: float) -> None:
        self.listener, self.until = listener, until
        self._last_epoch_done = False

    def on(self, event: Event, /) -> None:
        """Pass an event on.

        Raises:
            BudgetSpentError: a run or a step would end too late. At the first step of an epoch the
                state after the epoch before has been written.
        """
        if isinstance(event, JobStarted):
            self._last_epoch_done = False
        if isinstance(event, JobStarted | StepDone) and (
            self._last_epoch_done or time.monotonic() > self.until
        ):
            raise BudgetSpentError("the time is spent", "To go on: the same command.")
        self.listener.on(event)
        if isinstance(event, EpochDone):
            seconds = event.metrics["seconds"] or 0.0
            self._last_epoch_done = time.monotonic() + seconds > self.until
