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
from locbench.results.store import Store
from locbench.terminal.progress import SlotView, watcher
from locbench.training.torchrun import process_count

if TYPE_CHECKING:
    from locbench.execution.sweep import SweepWatcher


def train(jobs: Sequence[Job], setup: Setup, console: Console) -> None:
    """Train jobs and record each, showing progress.

    Raises:
        UsageError: the engine cannot run one of the jobs, or `torchrun` has started this process beside others.
        LocbenchError: see `Sweep.run` and `run_side_by_side`.
        BudgetSpentError: the setup's time is over.
    """
    if why := code().no_commit:
        console.print(f"The records will name no git commit of the code: {why}.", markup=False, soft_wrap=True)
    if len(setup.devices) == 1:
        _train_here(jobs, setup, console)
        return
    if process_count() > 1:
        raise UsageError(
            "torchrun's processes share every run, so none can run beside others",
            "Leave out --jobs-per-device and further devices, or torchrun.",
        )
    from locbench.execution.sweep import refuse_missing, refuse_unready
    from locbench.training.device import choose_device
    from locbench.training.distributed import SINGLE_PROCESS
    from locbench.training.engine import choose_engine

    for device in map(choose_device, dict.fromkeys(setup.devices)):
        for job in jobs:
            choose_engine(setup.engine, job.recipe, device, SINGLE_PROCESS)
    if not setup.download:
        refuse_missing(dict.fromkeys(job.recipe.dataset for job in jobs), setup.root)
    refuse_unready(jobs, setup.root)
    Store(setup.results).prepare([job.recipe for job in jobs], weights=any(job.keeps_weights for job in jobs))
    with shown(SlotView(console)) as view:
        run_side_by_side(jobs, setup, view)


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
            setup.sweep(device, world=world).run(jobs, progress)
    finally:
        dismiss()
        leave_process_group()
