"""How much memory a process may still take."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["free_memory"]

_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Return the bytes that this process may still take, None where the system does not tell.

    It is the least of what the machine has available, what its control groups (a container's limit)
    leave, and what the limit of its address space (``ulimit -v``) leaves.
    """
    return min(
        (each for each in (_machine(), *_groups(), _address_space()) if each is not None),
        default=None,
    )


def _machine() -> int | None:
    available = _number(_PROC / "meminfo", r"MemAvailable:\s+(\d+) kB")
    if available is not None:
        return 1024 * available
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _groups() -> Iterator[int]:
    """Yield what each control group leaves, with the file cache that it would give up."""
    for limit, used, stat, cache in (
        ("memory.max", "memory.current", "memory.stat", r"^inactive_file (\d+)"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            r"^inactive_file (\d+)",
        ),
    ):
        for folder in _group_folders():
            most, now = (_number(folder / name, r"^(\d+)") for name in (limit, used))
            if most is not None and now is not None:
                yield max(0, most - now + (_number(folder / stat, cache) or 0))


def _group_folders() -> list[Path]:
    """Return the folder of the process's own control group, and that of the whole container."""
    group = ""
    with contextlib.suppress(OSError):
        match = re.search(r"^0::/(.+)$", (_PROC / "self" / "cgroup").read_text(), re.MULTILINE)
        group = match[1] if match else ""
    return list(dict.fromkeys((_GROUPS, _GROUPS / group)))


def _address_space() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = _number(_PROC / "self" / "status", r"VmSize:\s+(\d+) kB")
    return None if most == resource.RLIM_INFINITY or used is None else max(0, most - 1024 * used)


def _number(path: Path, pattern: str) -> int | None:
    try:
        match = re.search(pattern, path.read_text(), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return None
    return int(match[1]) if match else None
