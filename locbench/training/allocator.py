"""Keep memory that a CPU step frees in this process, for the next step to use again.

glibc gives blocks from 128 KiB on (later up to 32 MiB) back to the system as soon as they are free, and the end of its
heap too. A training step frees all its feature maps; the next one then takes a page fault for each 4 KiB of them, which
costs ResNet-32 at batch 128 about a tenth of its time. Kept blocks come back with their pages. The process holds its
peak between steps, as CUDA's caching allocator does. No number changes.
"""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

SWITCH = "LOCBENCH_KEEP_BLOCKS"
"""Environment variable; 0 leaves the C library's allocator as it is."""

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Parameters of mallopt, from glibc's malloc.h."""

_PAD = 64 * 2**20
"""Bytes that the heap grows by at least."""


@cache
def keep_blocks() -> bool:
    """Let glibc keep freed blocks: none is mapped apart, and the heap never shrinks. For the whole process, once.

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
