"""Which errors are a recipe's own, and which the machine's."""

from __future__ import annotations

import errno
import os

import torch

from locbench.errors import DivergedError, LocbenchError
from locbench.plugins import blamed

_COMPUTED = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    AttributeError,
)
"""What a computation raises of itself: shapes that do not fit, a kind of number that an operation
lacks, a mistake.
"""

_OUTSIDE = (
    *(
        "cuda error",
        "cuda driver",
        "cudnn",
        "cublas",
        "cusolver",
        "cufft",
        "hip error",
        "nccl",
        "gloo",
    ),
    *(
        "dataloader",
        "shared memory",
        "mmap",
        "unable to open",
        "failed writing",
        "failed reading",
        "filesystem",
    ),
    *(
        "allocate memory",
        "not enough memory",
        "bad_alloc",
        "start new thread",
        "connection",
        "socket",
    ),
    *(
        os.strerror(each).lower()
        for each in (errno.ENOSPC, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE)
    ),
)
"""Words, in lower case, by which PyTorch's errors tell that the machine failed: most have no class
of their own.
"""

_TOO_LARGE = ("out of memory", "alloc_failed")
"""Words of errors other than `torch.OutOfMemoryError` that a device's memory is too small."""


def is_recipes_own(error: Exception, epochs: int) -> bool:
    """Return whether a run failed for what its recipe is, and would fail again.

    That holds of numbers that are not finite, of a device's memory that is too small, and of an
    error in the computation before the first epoch was whole. What has worked for an epoch, and
    whatever a machine, its memory, files and processes may raise, is no word on the recipe: the
    sweep ends, and goes on from what is kept.

    Args:
        error: what ended the run.
        epochs: that were whole by then.
    """
    if isinstance(error, DivergedError) or does_not_fit(error):
        return True
    if isinstance(error, LocbenchError) or not isinstance(error, _COMPUTED) or epochs:
        return False
    text = str(error).lower()
    return not isinstance(error, _accelerators_error()) and not any(
        words in text for words in _OUTSIDE
    )


def error_text(error: Exception) -> str:
    """Return an error's class and text up to the first empty line, and its line in a plugin."""
    text = str(error).strip().partition("\n\n")[0]
    place = blamed(error)
    return f"{type(error).__name__}: {text}".removesuffix(": ") + f" ({place})" * bool(place)


def does_not_fit(error: BaseException) -> bool:
    """Return whether a device's memory is too small, by the error's class or its text."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return (
        isinstance(error, RuntimeError)
        and "cu" in text
        and any(words in text for words in _TOO_LARGE)
    )


def _accelerators_error() -> tuple[type[Exception], ...]:
    """Return the class of CUDA's own errors, which torch has from 2.8 on."""
    found = getattr(torch, "AcceleratorError", None)
    return () if found is None else (found,)
