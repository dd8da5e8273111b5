"""Where the time of a step goes, by PyTorch's profiler: kinds of kernels, and what is none."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from locbench.bench.results import Shares

KINDS = (
    ("convolution", ("conv", "mkldnn", "cudnn_conv")),
    ("batch norm", ("batch_norm",)),
    ("optimizer", ("fused_sgd", "fused_adam", "foreach")),
)
"""Kinds of operations by parts of their names, the first that fits."""

OTHER, OVERHEAD = "other", "overhead"
"""Other operations.

And what of the clock's time is no operation: Python, and launches that the device waits for.
"""


def take_apart(step: Callable[[], None], steps: int, device: torch.device) -> Shares:
    """Profile some steps.

    Args:
        step: takes one, warmed up.
        steps: how many.
        device: on the CPU an operation's own time counts, on CUDA that of its kernels.
    """
    os.environ.setdefault(
        "KINETO_LOG_LEVEL", "6"
    )  # else it says on standard error that it starts and stops
    cuda = device.type == "cuda"
    with profile(
        activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    ) as seen:
        begun = time.perf_counter()
        for _ in range(steps):
            step()
        if cuda:
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - begun
    microseconds: dict[str, float] = {}
    for each in seen.key_averages():
        if each.key.startswith("aten::") and each.device_type == DeviceType.CPU:
            own = each.self_device_time_total if cuda else each.self_cpu_time_total
            microseconds[each.key] = microseconds.get(each.key, 0.0) + own
    return shares_of(microseconds, seconds, steps)


def shares_of(microseconds: dict[str, float], seconds: float, steps: int) -> Shares:
    """Sum up operations' own times by kind.

    Args:
        microseconds: by operation, over all steps.
        seconds: by the clock, over all steps.
        steps: how many.
    """
    kinds = dict.fromkeys([*(name for name, _ in KINDS), OTHER], 0.0)
    for operation, own in microseconds.items():
        kinds[kind_of(operation)] += own / 1000 / steps
    whole = 1000 * seconds / steps
    return Shares(whole, kinds | {OVERHEAD: max(0.0, whole - sum(kinds.values()))})


def kind_of(operation: str) -> str:
    """Return the kind of an operation such as ``aten::convolution_backward``."""
    return next((name for name, words in KINDS if any(word in operation for word in words)), OTHER)
