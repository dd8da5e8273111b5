"""The device that trains, its arithmetic, and its memory on the CPU."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path

import torch

from locbench.errors import UsageError
from locbench.spec.choices import Precision

CPU_INFO = Path("/proc/cpuinfo")
"""Where Linux describes the cores."""


def choose_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is a CUDA device where there is one, else the CPU.

    A CUDA device without a number gets that of the current one.

    Raises:
        UsageError: the device does not exist here.
    """
    if name == "auto":
        return numbered(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # fails on "meta" too
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UsageError(
            f"there is no device {name!r} here", "Use --device cpu, or auto."
        ) from None
    return numbered(device)


def numbered(device: torch.device) -> torch.device:
    """Return a device with the number that `torch.cuda.set_device` asks for."""
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def device_name(device: torch.device) -> str:
    """Return what the device is called, for a record."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {_cpu_model()}" if device.type == "cpu" else str(device)


def refuse_precision(precision: Precision, device: torch.device) -> None:
    """Refuse TF32 where there is none.

    Raises:
        UsageError: it is asked for there.
    """
    if precision == "tf32" and device.type != "cuda":
        raise UsageError("TF32 exists on CUDA devices only", "Use --precision fp32 or bf16.")


def set_precision(precision: Precision, device: torch.device) -> None:
    """Let float32 products be exact, or TensorFloat-32 for ``tf32``.

    Raises:
        UsageError: TF32 is asked for where there is none.
    """
    refuse_precision(precision, device)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context of a forward pass.

    Weights that it has cast are gone with it. So it may be part of a captured step if it begins
    and ends there.
    """
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


LAYOUT_SWITCH = "LOCBENCH_CHANNELS_LAST"
"""Environment variable; 1 lays feature maps out with channels last, 0 never does."""


def memory_layout(precision: Precision, device: torch.device) -> torch.memory_format:
    """Return how weights, images and feature maps of classifiers lie in memory.

    Channels last, except in full single precision on a CUDA device: the tensor cores, which want
    that layout, do not compute it, and cuDNN's other kernels are made for contiguous maps.

    Raises:
        UsageError: the environment variable is neither 0 nor 1.
    """
    choice = _switched(LAYOUT_SWITCH)
    last = device.type != "cuda" or precision != "fp32" if choice is None else choice
    return torch.channels_last if last else torch.contiguous_format


SEARCH_SWITCH = "LOCBENCH_CUDNN_SEARCH"
"""Environment variable; with 1 cuDNN searches before a step is captured."""


def searches_algorithms() -> bool:
    """Return whether cuDNN is to time its algorithms for every shape and keep the fastest.

    It keeps one per shape, device and thread until the process ends, found by a search or not.

    Raises:
        UsageError: the environment variable is neither 0 nor 1.
    """
    return _switched(SEARCH_SWITCH) or False


@contextmanager
def algorithm_search(on: bool) -> Iterator[None]:
    """Let cuDNN search in the context if ``on``, or where it does so anyway."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = on or before
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _switched(name: str) -> bool | None:
    """Return what an environment variable says; None where it says nothing.

    Raises:
        UsageError: it is neither 0 nor 1.
    """
    choice = os.environ.get(name)
    if choice not in (None, "0", "1"):
        raise UsageError(f"{name} is {choice!r}", "Set it to 0 or 1, or leave it out.")
    return None if choice is None else choice == "1"


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies in bfloat16; elsewhere it is emulated, which is slow."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    flags = _cpu_entry("flags", "Features").split()  # as Linux names them on x86 and on ARM
    return device.type == "cpu" and not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)


def _cpu_model() -> str:
    return _cpu_entry("model name") or platform.processor() or platform.machine()


def _cpu_entry(*names: str) -> str:
    """Return what Linux says of the first core under a name; empty where nothing is said."""
    try:
        with CPU_INFO.open(encoding="utf-8") as lines:
            entries = (line.partition(":") for line in lines)
            return next(value.strip() for name, _, value in entries if name.strip() in names)
    except (OSError, StopIteration):
        return ""


SWITCH = "LOCBENCH_KEEP_BLOCKS"
"""Environment variable; 0 leaves the C library's allocator as it is."""

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Parameters of mallopt, from glibc's malloc.h."""

_PAD = 64 * 2**20
"""Bytes that the heap grows by at least."""


@cache
def keep_blocks() -> bool:
    """Let glibc keep freed blocks for the whole process.

    None is mapped apart, and the heap never shrinks.

    Returns:
        Whether it does so now; other C libraries are left alone without a word.
    """
    if os.environ.get(SWITCH) == "0" or platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # All of them, whatever the first returns: any() would stop at it.
    done = [mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, -1), mallopt(_TOP_PAD, _PAD)]
    return all(done)
