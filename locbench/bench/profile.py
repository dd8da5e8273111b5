"""Where the time of a step goes, by PyTorch's profiler."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from locbench.bench.results import Profile
from locbench.costs.measured.step_meter import silence_profiler

KINDS = (
    ("convolution", ("conv", "mkldnn", "cudnn_conv")),
    ("batch norm", ("batch_norm",)),
    ("optimizer", ("fused_sgd", "fused_adam", "foreach")),
    ("other", ("",)),
)
"""Kinds of operations by parts of their names, the first that fits."""

OVERHEAD = "overhead"
"""What of the clock's time is no operation: Python, and launches that the device waits for."""


def profile_step(step: Callable[[], None], steps: int, device: torch.device) -> Profile:
    """Profile some steps.

    Args:
        step: takes one, warmed up.
        steps: how many.
        device: on the CPU an operation's own time counts, on CUDA that of its kernels.
    """
    silence_profiler()
    cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as seen:
        begun = time.perf_counter()
        for _ in range(steps):
            step()
        if cuda:
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - begun
    microseconds: dict[str, float] = defaultdict(float)
    for event in seen.key_averages():
        if event.key.startswith("aten::") and event.device_type == DeviceType.CPU:
            microseconds[event.key] += (
                event.self_device_time_total if cuda else event.self_cpu_time_total
            )
    return profile_of(microseconds, seconds, steps)


def profile_of(microseconds: dict[str, float], seconds: float, steps: int) -> Profile:
    """Sum up operations' own times by kind.

    Args:
        microseconds: by operation such as ``aten::convolution_backward``, over all steps.
        seconds: by the clock, over all steps.
        steps: how many.
    """
    kinds = {name: 0.0 for name, _ in KINDS}
    for operation, time_taken in microseconds.items():
        kind = next(name for name, words in KINDS if any(word in operation for word in words))
        kinds[kind] += time_taken / 1000 / steps
    milliseconds = 1000 * seconds / steps
    return Profile(milliseconds, kinds | {OVERHEAD: max(0.0, milliseconds - sum(kinds.values()))})
