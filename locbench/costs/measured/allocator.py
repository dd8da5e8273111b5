"""What is read off a device as it takes training steps: the allocator's peaks, and the time of a
step.

Nothing is subtracted from any figure, and the host waits for the device only before and after all
measured steps.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Protocol

import torch
from torch.autograd.profiler import profile

from locbench.costs.measured.store import MeterName

Step = Callable[[], object]


@dataclass(frozen=True)
class Peaks:
    """The largest number of bytes that an allocator gave out, and that it held.

    None where it holds nothing back.
    """

    allocated: int
    reserved: int | None = None


class Meter(Protocol):
    """Reads one device, in the order of the methods."""

    name: MeterName
    steps: int
    warmup: int

    def start(self) -> int:
        """Forget what was before, and return the bytes that are allocated nevertheless."""

    def warmed(self) -> Peaks | None:
        """End the warm-up: return the peaks since the start, if the meter knows them, and forget
        them.
        """

    def milliseconds(self, step: Step, steps: int) -> list[float]:
        """Take steps and return the time of each."""

    def peaks(self, step: Step, resident: Callable[[], int]) -> Peaks:
        """Return the peaks of the measured steps, or of one more.

        Args:
            step: takes a step.
            resident: prepares a step and returns the bytes that live before it and that it does not
                free.
        """


class CudaMeter:
    """Reads a CUDA device: PyTorch's caching allocator, and events in the stream.

    cuBLAS's workspaces and cuDNN's are blocks of that allocator; the device's context and its
    libraries' code are not, nor is what other processes hold.
    """

    name: MeterName = "cuda allocator"
    steps, warmup = 50, 10

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def start(self) -> int:
        """Free the cached blocks and reset the peaks.

        Whatever is allocated still belongs to somebody else.
        """
        gc.collect()  # an earlier learner may hang in a cycle
        self._reset()
        return torch.cuda.memory_allocated(self.device)

    def warmed(self) -> Peaks:
        """Return the peaks so far.

        Then free the cached blocks, among them those of cuDNN's search, and reset.
        """
        found = self._read()
        self._reset()
        return found

    def milliseconds(self, step: Step, steps: int) -> list[float]:
        """Mark the stream between steps.

        A pause in which the device waits for the host counts to the step it is in.
        """
        step()  # takes anew from the device what was freed with the cache
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]  # type: ignore[no-untyped-call]
        marks[0].record()
        for mark in marks[1:]:
            step()
            mark.record()
        torch.cuda.synchronize(self.device)
        return [before.elapsed_time(after) for before, after in pairwise(marks)]

    def peaks(self, step: Step, resident: Callable[[], int]) -> Peaks:  # noqa: ARG002 - the allocator has counted
        """Return the peaks since the end of the warm-up."""
        return self._read()

    def _read(self) -> Peaks:
        torch.cuda.synchronize(self.device)
        return Peaks(
            torch.cuda.max_memory_allocated(self.device),
            torch.cuda.max_memory_reserved(self.device),
        )

    def _reset(self) -> None:
        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)


class CpuMeter:
    """Reads PyTorch's CPU allocator with the profiler, which sees what no tensor owns too: oneDNN's
    scratch buffers.
    """

    name: MeterName = "cpu allocator"
    steps, warmup = 5, 1

    def start(self) -> int:
        """Return 0: the allocator keeps no count between profiles."""
        gc.collect()
        return 0

    def warmed(self) -> None:
        """Return None: only one step is profiled."""

    def milliseconds(self, step: Step, steps: int) -> list[float]:
        """Read the clock between steps."""
        marks = [time.perf_counter()]
        for _ in range(steps):
            step()
            marks.append(time.perf_counter())
        return [1000 * (after - before) for before, after in pairwise(marks)]

    def peaks(self, step: Step, resident: Callable[[], int]) -> Peaks:
        """Profile one more step: what lived before it, and the largest sum of what it takes and
        frees from then on.
        """
        before = resident()
        return Peaks(before + max(accumulate(allocations(step)), default=0))


def allocations(call: Callable[[], object]) -> list[int]:
    """Return the bytes of every block that a call takes (+) and frees (-) on the CPU, in order.

    A block that was taken before and is freed in the call is not among them.
    """
    os.environ.setdefault(
        "KINETO_LOG_LEVEL", "6"
    )  # else it says on standard error that it starts and stops
    with profile(use_kineto=False, profile_memory=True) as seen:
        call()
    events = [event for event in seen.kineto_results.events() if event.name() == "[memory]"]
    return [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]


def meter_of(device: torch.device) -> CudaMeter | CpuMeter:
    """Return the meter of a device."""
    return CudaMeter(device) if device.type == "cuda" else CpuMeter()


@contextmanager
def switches(device: torch.device, *, benchmark: bool) -> Iterator[None]:
    """Work on a device with cuDNN's search on or off, and set everything back that a step's
    arithmetic may switch.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
    cudnn.benchmark = benchmark
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices, device_type="cuda"):
            if devices:
                with torch.cuda.device(device):
                    yield
            else:
                yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before
