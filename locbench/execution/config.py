"""Where and how a sweep runs: folders, devices, engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from locbench.errors import UsageError
from locbench.results.store import Store
from locbench.spec.choices import EngineName
from locbench.spec.selection import RunOptions
from locbench.spec.validation import refuse_count
from locbench.torchrun import local_device

if TYPE_CHECKING:
    from locbench.execution.sweep import Sweep

MOST_JOBS = 256
"""Largest number of processes on one device."""


@dataclass(frozen=True)
class ExecutionConfig:
    """What every process needs to run a part of a sweep.

    Attributes:
        results: folder of the records.
        others: further folders of records, which are read and not written into.
        root: folder of the data sets.
        devices: one entry per process: the name of its device; no more processes start than there
            are runs.
        engine: see `choose_engine`.
        download: fetch a data set that is missing.
        weights: file of pretrained weights.
        until: when to stop, on `time.monotonic`'s clock; None runs everything.
        chosen_engines: by device and key of a recipe; a sweep chooses those that are not there.
    """

    results: Path
    root: Path
    devices: tuple[str, ...]
    engine: str = "auto"
    download: bool = False
    weights: Path | None = None
    until: float | None = None
    chosen_engines: Mapping[str, Mapping[str, EngineName]] = field(default_factory=dict)
    others: tuple[Path, ...] = ()

    @property
    def store(self) -> Store:
        """The records of all folders."""
        return Store(self.results, *self.others)

    def sweep(self, device: str, **others: Any) -> Sweep:
        """Return a sweep on one of the devices; ``others`` are further arguments of `Sweep`."""
        from locbench.execution.sweep import Sweep
        from locbench.training.device import choose_device

        return Sweep(
            self.store,
            choose_device(device),
            self.root,
            download=self.download,
            weights=self.weights,
            engine=self.engine,
            chosen_engines=self.chosen_engines.get(device, {}),
            **others,
        )


def execution_config(
    results: Path, root: Path, device: str, jobs_per_device: int = 1, **others: Any
) -> ExecutionConfig:
    """Return what a command line asks for; see `device_names` for its devices."""
    devices = tuple(map(local_device, device_names(device, jobs_per_device)))
    return ExecutionConfig(results, root, devices, **others)


def device_names(device: str, jobs_per_device: int) -> tuple[str, ...]:
    """Return one device name per process.

    Args:
        device: a name, several with commas between them, or ``all`` for every CUDA device.
        jobs_per_device: cells at a time on each.

    Raises:
        UsageError: there is no such device, or fewer than one job.
    """
    refuse_count("--jobs-per-device", jobs_per_device, MOST_JOBS)
    names = (
        _every_cuda_device()
        if device == "all"
        else [name.strip() for name in device.split(",") if name.strip()]
    )
    if not names:
        raise UsageError(f"--device {device!r} names no device", "Use --device cpu, or auto.")
    if len(set(names)) < len(names):
        raise UsageError(
            f"--device {device!r} names a device twice", "Use --jobs-per-device for several on one."
        )
    # Side by side on each device, not one device after the other: few cells then spread over all of
    # them.
    return tuple(name for _ in range(jobs_per_device) for name in names)


def with_device(options: RunOptions, name: str) -> RunOptions:
    """Return the options with what the device of a name decides of them.

    Raises:
        UsageError: the device does not exist here.
    """
    if options.preset != "short":  # nothing else asks, and looking at a device takes PyTorch
        return options
    from locbench.training.device import choose_device, has_bfloat16

    return msgspec.structs.replace(options, bfloat16=has_bfloat16(choose_device(name)))


def _every_cuda_device() -> list[str]:
    import torch

    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if not names:
        raise UsageError("there is no CUDA device here", "Use --device cpu, or auto.")
    return names
