"""What is done in a process of its own: steps are prepared, timed, and taken apart."""

from __future__ import annotations

import gc
import time

import torch

from locbench.bench.cases import Case
from locbench.bench.data_path import Batched, OneByOne
from locbench.bench.result import Prepared, Shares
from locbench.bench.roofline import Ceiling, measure_ceiling
from locbench.bench.shares import take_apart
from locbench.bench.subject import Subject, make_subject
from locbench.costs.meters import CpuMeter
from locbench.errors import FailureError
from locbench.recipe import Precision, Recipe
from locbench.training.allocator import keep_blocks
from locbench.training.precision import set_precision

WARM_UP = 2


class Workshop:
    """The steps of one side, the reference's or the engines', on one device in this process.

    Args:
        plain: this is the reference's: the C library's allocator stays as it is, and cuDNN searches for its fastest
            algorithms, as the published codes let it.
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
        peak = self._cpu_peak(subject) if self.device.type == "cpu" else self._cuda_peak(subject) - occupied
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
        """Free what nobody needs, and return the bytes that are allocated nevertheless; the CPU keeps no count."""
        gc.collect()
        if self.device.type != "cuda":
            return 0
        self._wait()
        torch.cuda.reset_peak_memory_stats(self.device)
        return torch.cuda.memory_allocated(self.device)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
