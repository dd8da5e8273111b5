"""The beginning and the end of processes that work for this one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from multiprocessing.process import BaseProcess

from locbench.plugins import load_plugins


def begin_worker() -> None:
    """Begin a process of a pool: leave interrupts to the first process, and end when that is gone.

    The first process hears an interrupt too and ends this one; killed, it cannot. Plugins are
    loaded as in the first process, before anything of theirs arrives here.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_first_process, daemon=True).start()
    load_plugins()


def _end_with_the_first_process() -> None:
    first = multiprocessing.parent_process()
    if first is not None:
        first.join()
        os._exit(1)


def started_since(earlier: Sequence[BaseProcess]) -> list[BaseProcess]:
    """Return the processes that live and were not among `multiprocessing.active_children`."""
    return [process for process in multiprocessing.active_children() if process not in earlier]
