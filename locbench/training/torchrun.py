"""The processes that `torchrun` has started, as its environment tells."""

from __future__ import annotations

import os

from locbench.errors import UsageError


def process_count() -> int:
    """Return how many processes share the work; 1 without `torchrun`."""
    return _number("WORLD_SIZE", 1)


def is_main_process() -> bool:
    """Return whether this process writes records and talks to the user."""
    return process_count() == 1 or _number("RANK", 0) == 0


def local_device(name: str) -> str:
    """Return the device of this process: of several on CUDA, each takes the one of its local rank."""
    several = process_count() > 1 and name in ("cuda", "auto")
    return f"cuda:{_number('LOCAL_RANK', 0)}" if several and _has_cuda() else name


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "") or str(default)
    if not text.isdigit():
        raise UsageError(f"the environment has {name}={text!r}", "Start locbench with torchrun, or unset it.")
    return int(text)
