"""Progress of one process and of several: lines, and bars on a terminal."""

from __future__ import annotations

import io

import msgspec
from report_builders import make_record, make_table, recipe_at
from rich.console import Console

from locbench.execution.events import JobDone, JobStarted
from locbench.execution.job import Job
from locbench.terminal.progress import SweepProgress
from locbench.training.events import EpochDone, RunStarted, StepDone

RECIPE = recipe_at(make_table(), "DGL")
RECORD = make_record(RECIPE, 45.05)
METRICS = {"train_loss": 1.25, "test_acc": 50.0, "seconds": 1.0}


def job(seed: int) -> Job:
    return Job(msgspec.structs.replace(RECIPE, seed=seed), (("DGL", "K=2"),), "to do")


def display(rows: int, *, terminal: bool = False) -> tuple[SweepProgress, io.StringIO]:
    """Return a display that says where each run is after every epoch, and what it prints on."""
    file = io.StringIO()
    console = Console(file=file, width=200, force_terminal=terminal, color_system=None)
    return SweepProgress(console, rows, every=-1.0), file


def test_lines_of_one_process_follow_the_one_that_names_the_run() -> None:
    shown, file = display(1)
    for event in (JobStarted(job(0), 1, 2), RunStarted(9, 2, 3), StepDone(), EpochDone(METRICS)):
        shown.on(event)
    shown.on(JobDone(RECORD))
    shown.on(JobStarted(job(1), 2, 2))
    named, continued, epoch, done, second = file.getvalue().splitlines()
    assert named == "[1/2] DGL, K=2, seed 0"
    assert continued == "  continued after epoch 3 of 9"
    assert epoch == "  epoch 4/9: training loss 1.2500, test 50.00 %"
    assert done.startswith("  done: dgl on cifar10, seed 0: 45.05 % test accuracy")
    assert second.startswith("[2/2] DGL, K=2, seed 1, about ")


def test_lines_of_several_processes_name_their_runs() -> None:
    shown, file = display(2)
    for row in (0, 1):
        shown.on(JobStarted(job(row), row + 1, 2), row)
        shown.on(RunStarted(9, 2, row), row)
    shown.on(EpochDone(METRICS | {"test_acc": None}), 1)
    shown.on(JobDone(RECORD), 0)
    assert "  DGL, K=2, seed 1: continued after epoch 1 of 9\n" in file.getvalue()
    assert "  DGL, K=2, seed 1: epoch 2/9: training loss 1.2500\n" in file.getvalue()
    assert "\ndone: DGL, K=2, seed 0: 45.05 % test accuracy" in file.getvalue()


def test_bars_count_runs_epochs_and_the_steps_of_a_single_process() -> None:
    for rows in (1, 2):
        shown, file = display(rows, terminal=True)
        for event in (JobStarted(job(0), 1, 3), RunStarted(9, 5, 2), EpochDone(METRICS)):
            shown.on(event)
        shown.on(StepDone())
        tasks = {task.description: task for task in shown.bars.tasks if task.visible}
        assert (tasks["sweep"].completed, tasks["sweep"].total) == (0, 3)
        assert (tasks["DGL, K=2, seed 0"].completed, tasks["DGL, K=2, seed 0"].total) == (3, 9)
        assert ("  epoch" in tasks) == (rows == 1)
        if rows == 1:
            assert (tasks["  epoch"].completed, tasks["  epoch"].total) == (1, 5)
        shown.on(JobDone(RECORD))
        assert tasks["sweep"].completed == 1
        assert file.getvalue().startswith("done: DGL, K=2, seed 0: 45.05 % test accuracy")
