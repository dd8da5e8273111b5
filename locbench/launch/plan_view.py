"""How a plan is shown: every run, whether it is there, its parameters and an estimate of its time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from locbench.costs.duration import estimated_seconds
from locbench.costs.parameters import parameter_counts
from locbench.detection.costs import detector_parameters, detector_seconds
from locbench.launch.plan import Job, Plan
from locbench.launch.progress import duration
from locbench.recipe import Recipe
from locbench.report.sentences import split_label

_COLOURS = {"done": "green", "failed": "red", "unfinished": "yellow", "to do": ""}

WIDE = 100
"""Columns of the terminal from which on the method is shown too."""


def plan_entry(plan: Plan, rate: float) -> dict[str, Any]:
    """Return a plan as plain data; ``rate`` is the device's multiply-accumulates per second."""
    jobs = [_job_entry(job, rate) for job in plan.jobs]
    left = sum(entry["estimated_seconds"] for entry, job in zip(jobs, plan.jobs, strict=True) if job in plan.open)
    return {"table": plan.title, "notes": plan.notes, "runs": jobs, "estimated_seconds_left": round(left, 1)}


def print_plan(console: Console, plan: Plan, rate: float) -> None:
    """Print a plan, one line per recipe with all its seeds, and the time that is left."""
    console.print(f"{plan.title}: {len(plan.jobs)} runs, {len(plan.open)} to do", markup=False)
    for note in plan.notes:
        console.print(note, markup=False, soft_wrap=True)
    console.print(_grid(plan, rate, console.width >= WIDE))
    for reason, count in Counter(cell.blocked for cell in plan.blocked).items():
        cells = "1 cell" if count == 1 else f"{count} cells"
        console.print(f"not runnable: {cells}: {reason}", markup=False, soft_wrap=True)
    left = duration(sum(_seconds(job.recipe, rate) for job in plan.open))
    console.print(f"About {left} left on this device: counted operations over a rate measured now, a rough figure.")


def _grid(plan: Plan, rate: float, wide: bool) -> Grid:
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    names = ("row", "column", "method") if wide else ("row", "column")
    for name in names:
        grid.add_column(name, overflow="fold")
    for name in ("parameters", "epochs", "time"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("runs", no_wrap=True)
    previous = ""
    for jobs in _by_recipe(plan.jobs):
        group, own, column = _place(jobs[0])
        if group != previous:
            grid.add_row(Text(group, style="bold"))
        previous = group
        words = [own, column, jobs[0].recipe.method][: len(names)]
        states = Counter(job.state for job in jobs)
        style = _COLOURS[jobs[0].state] if len(states) == 1 else ""
        grid.add_row(*map(Text, (*words, *_costs(jobs, plan, rate), _state_words(states))), style=style)
    return grid


def _by_recipe(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Yield the jobs that differ in their seed alone."""
    found: dict[str, list[Job]] = {}
    for job in jobs:
        found.setdefault(msgspec.structs.replace(job.recipe, seed=0).key, []).append(job)
    yield from found.values()


def _place(job: Job) -> tuple[str, str, str]:
    """Return the group of the row, the row and the column; cells that share the run are counted."""
    row, column = job.place
    group, own = split_label(row) if job.cells else ("", row)
    return group, own, column


def _costs(jobs: Sequence[Job], plan: Plan, rate: float) -> tuple[str, str, str]:
    counts = _parameters(jobs[0].recipe)
    seconds = sum(_seconds(job.recipe, rate) for job in jobs if job in plan.open)
    parameters = f"{counts['primary'] / 1e6:.2f} + {counts['auxiliary'] / 1e6:.2f} M"
    return parameters, str(jobs[0].recipe.epochs), duration(seconds) if seconds else ""


def _state_words(states: Counter[Any]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items())


def _job_entry(job: Job, rate: float) -> dict[str, Any]:
    return {
        "key": job.recipe.key,
        "cells": [{"row": row, "column": column} for row, column in job.cells],
        "backbone_of": job.backbone_of,
        "state": job.state,
        "seed": job.recipe.seed,
        "parameters": _parameters(job.recipe),
        "estimated_seconds": round(_seconds(job.recipe, rate), 1),
        "recipe": job.recipe.describe(),
    }


def _parameters(recipe: Recipe) -> dict[str, int]:
    return detector_parameters(recipe) if recipe.detection else parameter_counts(recipe)


def _seconds(recipe: Recipe, rate: float) -> float:
    return detector_seconds(recipe, rate) if recipe.detection else estimated_seconds(recipe, rate)
