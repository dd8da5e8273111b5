"""Time and peak memory of training steps, read off a device.

Nothing is subtracted from any figure. The host waits for the device only before and after all
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

DOES_NOT_FIT = "does not fit"
"""How the message of a step begins for which there is not enough memory."""

_NO_MEMORY = ("out of memory", "ALLOC_FAILED", "can't allocate memory")


@dataclass(frozen=True)
class Peaks:
    """The largest number of bytes that an allocator gave out, and that it held.

    None where it holds nothing back.
    """

    allocated: int
    reserved: int | None = None


class StepMeter(Protocol):
    """Reads one device; its methods are called in this order.

    Attributes:
        name: who counts the bytes.
        steps, warmup: how many steps are measured, and how many come before, where nobody says.
    """

    name: MeterName
    steps: int
    warmup: int

    def start(self) -> int:
        """Free what nobody needs, forget the peaks, and return the bytes that stay allocated."""

    def end_warmup(self) -> Peaks | None:
        """Return the peaks since the start, if the meter knows them, and forget them."""

    def milliseconds(self, step: Step, steps: int) -> list[float]:
        """Take steps and return the time of each."""

    def peaks(self, step: Step, resident: Callable[[], int]) -> Peaks:
        """Return the peaks of the measured steps, or of one more.

        Args:
            step: takes a step.
            resident: prepares a step and returns the bytes that live before it and that it does not
                free.
        """


def occupy_workspaces(device: torch.device) -> None:
    """Let cuBLAS take its workspaces on a CUDA device, for this thread and for the backward pass's.

    It keeps them for as long as the process lives. Taken by the first step, they would be in the
    peak of one measurement and in the ``occupied_bytes`` of all later ones.
    """
    x = torch.ones(8, 8, device=device, requires_grad=True)
    torch.mm(x, x).sum().backward()  # type: ignore[no-untyped-call]


def forget_workspaces() -> None:
    """Let cuBLAS give its workspaces back, those of the streams of earlier runs among them.

    No graph may be there any more: it would go on using them.
    """
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch._C._cuda_clearCublasWorkspaces()


class CudaMeter:
    """Reads a CUDA device: PyTorch's caching allocator, and events in the stream.

    cuBLAS's workspaces and cuDNN's are blocks of that allocator; the device's context and its
    libraries' code are not, nor is what other processes hold.
    """

    name: MeterName = "cuda allocator"
    steps, warmup = 50, 10

    def __init__(
        self, device: torch.device, occupy: Callable[[torch.device], None] = occupy_workspaces
    ) -> None:
        self.device, self.occupy = device, occupy

    def start(self) -> int:
        """Free the cached blocks and reset the peaks.

        What stays allocated is somebody else's, or cuBLAS's workspaces, which every process has.
        """
        gc.collect()  # an earlier learner may hang in a cycle
        self.occupy(self.device)
        self._reset()
        return torch.cuda.memory_allocated(self.device)

    def end_warmup(self) -> Peaks:
        """Return the peaks so far.

        Then free the cached blocks, among them those of cuDNN's search, and reset.
        """
        peaks = self._read()
        self._reset()
        return peaks

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
    """Reads PyTorch's CPU allocator with the profiler.

    That sees what no tensor owns too, such as oneDNN's scratch buffers.
    """

    name: MeterName = "cpu allocator"
    steps, warmup = 5, 1

    def start(self) -> int:
        """Return 0: the allocator keeps no count between profiles."""
        gc.collect()
        return 0

    def end_warmup(self) -> None:
        """Return None: only one step is profiled."""

    def milliseconds(self, step: Step, steps: int) -> list[float]:
        """Read the clock between steps."""
        marks = [time.perf_counter()]
        for _ in range(steps):
            step()
            marks.append(time.perf_counter())
        return [1000 * (after - before) for before, after in pairwise(marks)]

    def peaks(self, step: Step, resident: Callable[[], int]) -> Peaks:
        """Return what lived before one more step, with the largest sum of what that takes."""
        before = resident()
        return Peaks(before + max(accumulate(allocations(step)), default=0))


def allocations(call: Callable[[], object]) -> list[int]:
    """Return the bytes of every block that a call takes (+) and frees (-) on the CPU, in order.

    A block that was taken before and is freed in the call is not among them.
    """
    silence_profiler()
    with profile(use_kineto=False, profile_memory=True) as seen:
        call()
    events = [event for event in seen.kineto_results.events() if event.name() == "[memory]"]
    return [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]


def message_of(error: Exception) -> str:
    """Return in one line why a step failed; see `DOES_NOT_FIT`."""
    said, kind = " ".join(str(error).split()), type(error).__name__
    no_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if no_memory or any(words in said for words in _NO_MEMORY):
        return f"{DOES_NOT_FIT}: {said.partition('. ')[0] or kind}"
    return f"{kind}: {said}"


def silence_profiler() -> None:
    """Keep the profiler from saying on standard error that it starts and stops."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")


def meter_of(device: torch.device) -> StepMeter:
    """Return the meter of a device."""
    return CudaMeter(device) if device.type == "cuda" else CpuMeter()


@contextmanager
def switches(device: torch.device, *, benchmark: bool) -> Iterator[None]:
    """Work on a device with cuDNN's search on or off.

    What a step's arithmetic may switch is set back.
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
