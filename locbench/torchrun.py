"""The processes that `torchrun` has started, as its environment tells."""

from __future__ import annotations

import os

from locbench.errors import UsageError


def started_by_torchrun() -> bool:
    """Return whether `torchrun` has started this process, be it alone."""
    return "WORLD_SIZE" in os.environ


def process_count() -> int:
    """Return how many processes share the work; 1 without `torchrun`."""
    return _number("WORLD_SIZE", 1)


def processes_here() -> int:
    """Return how many of the processes that share the work run on this machine.

    1 without `torchrun`.
    """
    return max(1, _number("LOCAL_WORLD_SIZE", 1))


def is_main_process() -> bool:
    """Return whether this process writes records and talks to the user."""
    return process_count() == 1 or _number("RANK", 0) == 0


def local_device(name: str) -> str:
    """Return the device of this process: of several on CUDA, the one of its local rank."""
    several = process_count() > 1 and name in ("cuda", "auto")
    return f"cuda:{_number('LOCAL_RANK', 0)}" if several and _has_cuda() else name


def refuse_incomplete_environment() -> None:
    """Raise UsageError if a variable is missing that processes need to find each other."""
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        if name not in os.environ:
            raise UsageError(
                f"WORLD_SIZE is set and {name} is not",
                "Start locbench with torchrun, or unset WORLD_SIZE.",
            )


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "") or str(default)
    if not text.isdigit():
        raise UsageError(
            f"the environment has {name}={text!r}", "Start locbench with torchrun, or unset it."
        )
    return int(text)
