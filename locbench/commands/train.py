"""Trains open jobs: in this process, or side by side in several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from locbench.errors import UsageError
from locbench.execution.budget import Deadline
from locbench.execution.job import Job
from locbench.execution.pool import Setup, run_side_by_side
from locbench.execution.sheltered import Sheltered, shown
from locbench.results.provenance import code
from locbench.terminal.progress import SlotView, watcher
from locbench.torchrun import process_count

if TYPE_CHECKING:
    from locbench.execution.sweep import SweepWatcher


def train(jobs: Sequence[Job], setup: Setup, console: Console) -> None:
    """Train jobs and record each, showing progress.

    Raises:
        UsageError: the engine cannot run one of the jobs, or `torchrun` has started this process
            beside others.
        LocbenchError: see `Sweep.run` and `run_side_by_side`.
        BudgetSpentError: the setup's time is over.
    """
    if why := code().no_commit:
        console.print(
            f"The records will name no git commit of the code: {why}.", markup=False, soft_wrap=True
        )
    if len(setup.devices) == 1:
        _train_here(jobs, setup, console)
        return
    if process_count() > 1:
        raise UsageError(
            "torchrun's processes share every run, so none can run beside others",
            "Leave out --jobs-per-device and further devices, or torchrun.",
        )
    _prepare(jobs, setup)
    with shown(SlotView(console)) as view:
        run_side_by_side(jobs, setup, view)


def _prepare(jobs: Sequence[Job], setup: Setup) -> None:
    from locbench.training.device import choose_device

    first, *others = [setup.sweep(choose_device(name)) for name in dict.fromkeys(setup.devices)]
    for sweep in others:
        sweep.choose_engines(jobs)
    first.prepare(jobs)


def _train_here(jobs: Sequence[Job], setup: Setup, console: Console) -> None:
    from locbench.data.decoding import dismiss
    from locbench.training.device import choose_device
    from locbench.training.distributed import join_process_group, leave_process_group

    device = choose_device(setup.devices[0])
    world = join_process_group(device)
    try:
        with shown(watcher(console)) as display:
            progress: SweepWatcher = Sheltered(display)
            if setup.until is not None:
                progress = Deadline(progress, setup.until)
            sweep = setup.sweep(device, world=world)
            sweep.prepare(jobs)
            sweep.run(jobs, progress)
    finally:
        dismiss()
        leave_process_group()
