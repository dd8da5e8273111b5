"""Two processes that take turns: the reference's, and the engines', whose C library keeps freed memory. No torch here.

On the CPU that setting belongs to a whole process, so neither side can be timed in the other's. Only one of them works
at a time; the other waits for its pipe.
"""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import msgspec

from locbench.errors import FailureError, LocbenchError, UsageError
from locbench.recipe import Precision

NO_MEMORY = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
"""What the messages of allocators say."""


PATIENCE = 5.0
"""Seconds in which a process that nobody calls any more may end by itself."""


class NoFitError(FailureError):
    """A step does not fit the device's memory."""


class _Answer(msgspec.Struct, frozen=True):
    """What a process gives back: a value, or an error's message and remedy."""

    value: Any = None
    error: str = ""
    remedy: str = ""
    kind: str = ""


_ERRORS: dict[str, type[LocbenchError]] = {"usage": UsageError, "memory": NoFitError, "failure": FailureError}


class Worker:
    """A process with a `Workshop` in it, started when it is first called.

    Args:
        plain, device, precision, threads: see `Workshop`.
    """

    def __init__(self, plain: bool, device: str, precision: Precision, threads: int | None) -> None:
        self.arguments = (plain, device, precision, threads)
        self.process: multiprocessing.process.BaseProcess | None = None
        self.pipe: Connection | None = None

    def __call__(self, name: str, *arguments: Any) -> Any:
        """Call a method of the workshop and return what it returns.

        Raises:
            NoFitError: memory ran out, or the system ended the process.
            LocbenchError: what the method raised.
        """
        if self.pipe is None:
            self._start()
        assert self.pipe is not None
        try:
            self.pipe.send((name, arguments))
            answer: _Answer = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.close()
            raise NoFitError("the process that took the steps was ended, as for want of memory") from None
        if answer.kind:
            raise _ERRORS[answer.kind](answer.error, answer.remedy)
        return answer.value

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, *self.arguments), daemon=False)
        self.process.start()
        other.close()

    def hang_up(self) -> None:
        """Let the process end by itself."""
        if self.pipe is not None:
            self.pipe.close()

    def close(self) -> None:
        """End the process, if there is one."""
        self.hang_up()
        if self.process is not None:
            self.process.join(PATIENCE)
            self.process.terminate()
            self.process.join()
        self.process = self.pipe = None


class Crew:
    """Both processes; leaving the context ends them.

    Args:
        device, precision, threads: see `Workshop`.
    """

    def __init__(self, device: str, precision: Precision, threads: int | None) -> None:
        self.reference = Worker(True, device, precision, threads)
        self.engines = Worker(False, device, precision, threads)

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self.reference, self.engines):
            each.hang_up()
        for each in (self.reference, self.engines):
            each.close()


def serve(pipe: Connection, *arguments: Any) -> None:
    """Answer calls until the other side of the pipe is gone. Ctrl-C is for the process that calls."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from locbench.bench.workshop import Workshop

    workshop = None
    while True:
        try:
            name, values = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            workshop = workshop or Workshop(*arguments)
            answer = _Answer(getattr(workshop, name)(*values))
        except Exception as error:  # one step that fails must not end the others
            answer = _answer_of(error)
        pipe.send(answer)


def _answer_of(error: Exception) -> _Answer:
    if isinstance(error, UsageError):
        return _Answer(error=error.message, remedy=error.remedy, kind="usage")
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or any(words in said for words in NO_MEMORY):
        return _Answer(error=f"does not fit: {said.partition('. ')[0]}", kind="memory")
    if isinstance(error, LocbenchError):
        return _Answer(error=error.message, remedy=error.remedy, kind="failure")
    return _Answer(error=f"{type(error).__name__}: {said[:300]}", kind="failure")
