"""Trains open jobs: in this process, or side by side in several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console

from locbench.console import is_verbose
from locbench.errors import UsageError
from locbench.execution.budget import Deadline
from locbench.execution.config import ExecutionConfig
from locbench.execution.events import FailSafe
from locbench.execution.job import Job
from locbench.execution.pool import run_side_by_side
from locbench.results.provenance import code
from locbench.terminal.lines import say
from locbench.terminal.progress import SweepProgress
from locbench.torchrun import process_count

if TYPE_CHECKING:
    from locbench.execution.sweep import Sweep


def train(jobs: Sequence[Job], config: ExecutionConfig, console: Console) -> None:
    """Train jobs and record each, showing progress.

    Raises:
        UsageError: the engine cannot run one of the jobs, or `torchrun` has started this process
            beside others.
        LocbenchError: see `Sweep.run` and `run_side_by_side`.
        BudgetSpentError: the time of the config is over.
    """
    if why := code().no_commit:
        say(console, f"The records will name no git commit of the code: {why}.")
    if len(config.devices) == 1:
        _train_here(jobs, config, console)
        return
    if process_count() > 1:
        raise UsageError(
            "torchrun's processes share every run, so none can run beside others",
            "Leave out --jobs-per-device and further devices, or torchrun.",
        )
    sweeps = {name: config.sweep(name) for name in config.devices}
    engines = {name: sweep.choose_engines(jobs) for name, sweep in sweeps.items()}
    sweeps[config.devices[0]].prepare(jobs)
    _say_engines(jobs, sweeps[config.devices[0]], console)
    progress = SweepProgress(console, len(config.devices), verbose=is_verbose())
    with FailSafe(progress) as display:
        run_side_by_side(jobs, replace(config, chosen_engines=engines), display)


def _say_engines(jobs: Sequence[Job], sweep: Sweep, console: Console) -> None:
    """Say which engines run the jobs and why, if everything is to be said."""
    if is_verbose():
        for line in dict.fromkeys(sweep.engine_words(job.recipe) for job in jobs):
            say(console, line)


def _train_here(jobs: Sequence[Job], config: ExecutionConfig, console: Console) -> None:
    from locbench.data.decoding import stop_workers
    from locbench.training.device import choose_device
    from locbench.training.distributed import join_process_group, leave_process_group

    world = join_process_group(choose_device(config.devices[0]))
    try:
        with FailSafe(SweepProgress(console, verbose=is_verbose())) as display:
            sweep = config.sweep(config.devices[0], world=world)
            sweep.prepare(jobs)
            _say_engines(jobs, sweep, console)
            until = config.until
            sweep.run(jobs, display if until is None else Deadline(display, until))
    finally:
        stop_workers()
        leave_process_group()
