"""SIGTERM, taken as Ctrl-C is."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from locbench.torchrun import started_by_torchrun


@dataclass
class Stop:
    """How a command was stopped.

    Attributes:
        code: exit code as a shell reports the signal; 0 for none.
    """

    code: int = 0


@contextmanager
def ended_as_stopped() -> Iterator[Stop]:
    """Raise KeyboardInterrupt at the first SIGTERM; a second one ends the process at once.

    Processes of `torchrun` keep the signal's own effect: they may wait for each other where no
    exception is seen.
    """
    stop, process = Stop(), os.getpid()

    def interrupt(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != process:  # a forked process has nothing to put back
            os.kill(os.getpid(), number)
            return
        stop.code = 128 + number
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread() or started_by_torchrun():
        yield stop
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
