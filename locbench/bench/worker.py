"""Two processes that take turns: the reference's, and the engines', whose C library keeps freed
memory. No torch here.

On the CPU that setting belongs to a whole process, so neither side can be timed in the other's.
Only one of them works at a time; the other waits for its pipe.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
import time
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import msgspec
import torch

from locbench.bench.cases import Case
from locbench.bench.data_path import Batched, OneByOne
from locbench.bench.profile import take_apart
from locbench.bench.results import Prepared, Shares
from locbench.bench.roofline import Ceiling, measure_ceiling
from locbench.bench.step import Subject, make_subject
from locbench.costs.measured.step_meter import CpuMeter
from locbench.errors import FailureError, LocbenchError, UsageError
from locbench.spec.choices import Precision
from locbench.spec.recipe import Recipe
from locbench.training.device import keep_blocks, set_precision

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


_ERRORS: dict[str, type[LocbenchError]] = {
    "usage": UsageError,
    "memory": NoFitError,
    "failure": FailureError,
}


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
            raise NoFitError(
                "the process that took the steps was ended, as for want of memory"
            ) from None
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
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in (self.reference, self.engines):
            each.hang_up()
        for each in (self.reference, self.engines):
            each.close()


def serve(pipe: Connection, *arguments: Any) -> None:
    """Answer calls until the other side of the pipe is gone. Ctrl-C is for the process that calls."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

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


WARM_UP = 2


class Workshop:
    """The steps of one side, the reference's or the engines', on one device in this process.

    Args:
        plain: this is the reference's: the C library's allocator stays as it is, and cuDNN searches
            for its fastest algorithms, as the published codes let it.
        device: its name.
        precision: of the steps.
        threads: of the processor; None leaves the default.
    """

    def __init__(self, plain: bool, device: str, precision: Precision, threads: int | None) -> None:
        self.plain, self.device, self.subjects = plain, torch.device(device), dict[int, Subject]()
        if threads:
            torch.set_num_threads(threads)
        set_precision(precision, self.device)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
            torch.backends.cudnn.benchmark = plain or torch.backends.cudnn.benchmark
        elif not plain:
            keep_blocks()
        self.precision: Precision = precision
        self.images: Batched | OneByOne | None = None

    def prepare(self, key: int, case: Case, engine: str) -> Prepared:
        """Build, warm up and look at memory; the step is then timed under ``key``."""
        occupied, begun = self._start(), time.perf_counter()
        subject = make_subject(case, engine, self.device)
        step = self._warmed(subject)
        seconds = time.perf_counter() - begun
        peak = (
            self._cpu_peak(subject)
            if self.device.type == "cpu"
            else self._cuda_peak(subject) - occupied
        )
        self.subjects[key] = subject
        return Prepared(subject.engine, seconds, subject.compile_seconds, step, peak)

    def time(self, key: int, steps: int) -> float:
        """Take steps and return the milliseconds of one."""
        if key not in self.subjects:
            raise FailureError("its process was ended with it, for want of memory in another step")
        step = self.subjects[key].step
        self._wait()
        begun = time.perf_counter()
        for _ in range(steps):
            step()
        self._wait()
        return 1000 * (time.perf_counter() - begun) / steps

    def forget(self) -> None:
        """Let everything go that was prepared."""
        self.subjects.clear()
        self._start()

    def load_images(self, recipe: Recipe, count: int) -> None:
        """Hold random images ready."""
        self.images = (OneByOne if self.plain else Batched)(recipe, count, self.device)

    def drop_images(self) -> None:
        """Let the images go, and with them the processes that load them."""
        self.images = None
        self._start()

    def train_epoch(self) -> float:
        """Return images per second of an epoch's training batches."""
        assert self.images is not None
        return self.images.train_epoch()

    def evaluation(self, network: str) -> float:
        """Return images per second of evaluating a network."""
        assert self.images is not None
        return self.images.evaluation(network)

    def ceiling(self) -> Ceiling:
        """Return what the device reaches."""
        return measure_ceiling(self.device, self.precision)

    def shares(self, case: Case, engine: str, steps: int) -> Shares:
        """Return where the time of some steps goes."""
        subject = make_subject(case, engine, self.device)
        self._warmed(subject)
        return take_apart(subject.step, steps, self.device)

    def threads(self) -> int:
        """Return how many threads of the processor work on an operation."""
        return torch.get_num_threads()

    def _warmed(self, subject: Subject) -> float:
        """Take the first steps and return the seconds of the last of them."""
        begun = 0.0
        for _ in range(WARM_UP):
            self._wait()
            begun = time.perf_counter()
            subject.step()
        self._wait()
        return time.perf_counter() - begun

    def _cpu_peak(self, subject: Subject) -> int:
        return CpuMeter().peaks(subject.step, subject.resident_bytes).allocated

    def _cuda_peak(self, subject: Subject) -> int:
        if subject.engine != "graphed":  # a graph's memory was taken once, while it was captured
            self._start()
            subject.step()
        self._wait()
        return torch.cuda.max_memory_allocated(self.device)

    def _start(self) -> int:
        """Free what nobody needs, and return the bytes that are allocated nevertheless.

        The CPU keeps no count.
        """
        gc.collect()
        if self.device.type != "cuda":
            return 0
        self._wait()
        torch.cuda.reset_peak_memory_stats(self.device)
        return torch.cuda.memory_allocated(self.device)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
