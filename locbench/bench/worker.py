"""Two processes that take turns: the reference's, also the official code's, and the engines'.

In the engines' process the C library keeps freed memory (`keep_blocks`). That holds for a whole
process, so neither side can be timed in the other's. Only one of them works at a time.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache, cached_property, partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from statistics import fmean
from typing import Concatenate, ParamSpec, TypeVar

import torch

from locbench.bench.cases import REFERENCE, Case
from locbench.bench.data_path import Batched, OneByOne
from locbench.bench.official import OFFICIAL, OfficialCode
from locbench.bench.profile import profile_step
from locbench.bench.results import Prepared, Profile
from locbench.bench.roofline import Ceiling, measure_ceiling
from locbench.bench.step import TimedStep, make_step
from locbench.costs.measured.step_meter import message_of, meter_of, occupy_workspaces
from locbench.errors import FailureError, LocbenchError
from locbench.processes import begin_worker, started_since
from locbench.spec.choices import Precision
from locbench.spec.recipe import Recipe
from locbench.training.device import keep_blocks, searches_algorithms, set_precision
from locbench.training.engine import captures
from locbench.training.graphed import capture_stream

PATIENCE = 5.0
"""Seconds in which a process that is called no more may end by itself."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Side:
    """One side of the benchmark.

    Attributes:
        reference: whether it is the reference's: the C library's allocator stays as it is, and
            cuDNN searches for its fastest algorithms, as the published codes let it. Engines go
            without, unless `searches_algorithms`.
        device: where; on CUDA with its number.
        precision: of the steps.
        threads: of the processor; None leaves the default.
        official: folder of the official code, if it is to be timed.
    """

    reference: bool
    device: torch.device
    precision: Precision
    threads: int | None
    official: Path | None = None


class StepServer:
    """The steps of one side, in the present process."""

    def __init__(self, side: Side) -> None:
        self.side, self.device, self.meter = side, side.device, meter_of(side.device)
        self.steps: dict[int, TimedStep] = {}
        self.images: Batched | OneByOne | None = None
        if side.threads:
            torch.set_num_threads(side.threads)
        set_precision(side.precision, self.device)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
            # An algorithm is kept: one that an eager step was given would be the graph's too.
            torch.backends.cudnn.benchmark = side.reference or searches_algorithms()
        elif not side.reference:
            keep_blocks()

    @cached_property
    def official(self) -> OfficialCode | None:
        """The official code, imported."""
        folder = self.side.official
        return None if folder is None else OfficialCode(folder, self.device)

    def refuse_official(self, cases: Sequence[Case]) -> None:
        """Refuse a folder in which the official code is not what is to be timed.

        See `OfficialCode` and `OfficialStep`.
        """
        for case in cases:
            make_step(case, OFFICIAL, self.device, self.official)

    def prepare(self, key: int, case: Case, engine: str) -> Prepared:
        """Build a step, warm it up and read its memory; it is then timed under ``key``."""
        if captures(engine) and self.device.type == "cuda":
            with torch.cuda.stream(capture_stream(self.device)):
                occupy_workspaces(self.device)
        occupied, begun = self.meter.start(), time.perf_counter()
        step = make_step(case, engine, self.device, self.official)
        step()
        self.meter.end_warmup()  # what comparing and capturing took does not count
        (milliseconds,) = self.meter.milliseconds(step, 1)
        seconds = time.perf_counter() - begun
        peak_bytes = self.meter.peaks(step, step.resident_bytes).allocated - occupied
        peak_bytes += step.captured_bytes  # a graph has taken them once and for all
        self.steps[key] = step
        return Prepared(step.engine, seconds, step.compile_seconds, milliseconds / 1000, peak_bytes)

    def time(self, key: int, steps: int) -> float:
        """Take steps and return the milliseconds of one."""
        if key not in self.steps:
            raise FailureError("its process was ended with it, for want of memory in another step")
        return fmean(self.meter.milliseconds(self.steps[key], steps))

    def forget(self) -> None:
        """Free everything that was prepared."""
        self.steps.clear()
        self.meter.start()

    def load_images(self, recipe: Recipe, count: int) -> None:
        """Keep random images for `train_epoch` and `evaluation`."""
        self.images = (OneByOne if self.side.reference else Batched)(recipe, count, self.device)

    def drop_images(self) -> None:
        """Free the images, and end the processes that load them."""
        self.images = None
        self.meter.start()

    def train_epoch(self) -> float:
        """Return images per second of an epoch's training batches."""
        assert self.images is not None
        return self.images.train_epoch()

    def evaluation(self, network: str) -> float:
        """Return images per second of evaluating a network."""
        assert self.images is not None
        return self.images.evaluation(network)

    def ceiling(self) -> Ceiling:
        """Return the bandwidth and the rate of operations that the device reaches."""
        return measure_ceiling(self.device, self.side.precision)

    def profile(self, case: Case, steps: int) -> Profile:
        """Return where the time of some eager steps goes."""
        step = make_step(case, "eager", self.device)
        for _ in range(2):
            step()
        return profile_step(step, steps, self.device)

    def threads(self) -> int:
        """Return how many threads of the processor work on an operation."""
        return torch.get_num_threads()


class Worker:
    """A process with a `StepServer`, which starts with the first call."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.pool: ProcessPoolExecutor | None = None
        self.processes: list[BaseProcess] = []

    def call(
        self, method: Callable[Concatenate[StepServer, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a method of the process's server and return what it returns.

        Raises:
            FailureError: the step failed, or the system ended the process.
            LocbenchError: from the method.
        """
        earlier = multiprocessing.active_children()
        if self.pool is None:
            context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
            self.pool = ProcessPoolExecutor(1, context, begin_worker)
        try:
            future = self.pool.submit(partial(_serve, self.side, method, *args, **kwargs))
            self.processes += started_since(earlier)
            return future.result()
        except BrokenProcessPool:
            self.close()
            raise FailureError(
                "the process that took the steps was ended, as for want of memory"
            ) from None

    def hang_up(self) -> None:
        """Let the process end by itself."""
        if self.pool is not None:
            self.pool.shutdown(wait=False, cancel_futures=True)
        self.pool = None

    def close(self) -> None:
        """End the process, if there is one."""
        self.hang_up()
        for process in self.processes:
            process.join(PATIENCE)
            process.terminate()
            process.join()
        self.processes = []


def _serve(
    side: Side,
    method: Callable[Concatenate[StepServer, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Call a method in the worker process; an error of any kind becomes a `LocbenchError`."""
    try:
        return method(_server(side), *args, **kwargs)
    except LocbenchError:
        raise
    except Exception as error:  # one step that fails must not end the others
        raise FailureError(message_of(error)[:300]) from None


_server = cache(StepServer)
"""The server of this process."""


class WorkerPair:
    """Both processes; leaving the context ends them."""

    def __init__(self, reference: Worker, engines: Worker) -> None:
        self.reference, self.engines = reference, engines

    def of(self, engine: str) -> Worker:
        """Return the process that takes an engine's steps."""
        return self.reference if engine in (REFERENCE, OFFICIAL) else self.engines

    def __enter__(self) -> WorkerPair:
        return self

    def __exit__(self, *_: object) -> None:
        self.reference.hang_up()
        self.engines.hang_up()
        self.reference.close()
        self.engines.close()


def worker_pair(
    device: torch.device,
    precision: Precision,
    threads: int | None,
    official: Path | None = None,
) -> WorkerPair:
    """Return both sides' processes; see `Side`."""
    sides = (
        Side(reference, device, precision, threads, official if reference else None)
        for reference in (True, False)
    )
    return WorkerPair(*map(Worker, sides))
