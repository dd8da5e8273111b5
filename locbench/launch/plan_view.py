"""How a plan is shown: every run, whether it is there, its parameters and an estimate of its time."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from locbench.costs.duration import estimated_seconds
from locbench.costs.parameters import parameter_counts
from locbench.launch.plan import Job, Plan
from locbench.launch.progress import duration

_COLOURS = {"done": "green", "failed": "red", "unfinished": "yellow", "to do": ""}


def plan_entry(plan: Plan, rate: float) -> dict[str, Any]:
    """Return a plan as plain data; ``rate`` is the device's multiply-accumulates per second."""
    jobs = [_job_entry(job, rate) for job in plan.jobs]
    left = sum(entry["estimated_seconds"] for entry, job in zip(jobs, plan.jobs, strict=True) if job in plan.open)
    return {"table": plan.title, "notes": plan.notes, "runs": jobs, "estimated_seconds_left": round(left, 1)}


def print_plan(console: Console, plan: Plan, rate: float) -> None:
    """Print a plan as a table and the time that is left."""
    entry = plan_entry(plan, rate)
    console.print(f"{plan.title}: {len(plan.jobs)} runs, {len(plan.open)} to do", markup=False)
    for note in plan.notes:
        console.print(note, markup=False, soft_wrap=True)
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    for name in ("row", "column", "method"):
        grid.add_column(name, overflow="fold")
    for name in ("epochs", "seed", "primary", "auxiliary", "about"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("state", no_wrap=True)
    for job, each in zip(plan.jobs, entry["runs"], strict=True):
        row, column = job.cells[0] if job.cells else ("", "")
        about = duration(each["estimated_seconds"])
        counts = [f"{each['parameters'][name]:,}" for name in ("primary", "auxiliary")]
        schedule = [str(job.recipe.epochs), str(job.recipe.seed)]
        grid.add_row(row, column, job.recipe.method, *schedule, *counts, about, job.state, style=_COLOURS[job.state])
    console.print(grid)
    for cell in plan.blocked:
        console.print(f"not runnable: {cell.row}, {cell.column}: {cell.blocked}", markup=False, soft_wrap=True)
    left = duration(entry["estimated_seconds_left"])
    console.print(f"About {left} left on this device: counted operations over a rate measured now, a rough figure.")


def _job_entry(job: Job, rate: float) -> dict[str, Any]:
    return {
        "key": job.recipe.key,
        "cells": [{"row": row, "column": column} for row, column in job.cells],
        "state": job.state,
        "seed": job.recipe.seed,
        "parameters": parameter_counts(job.recipe),
        "estimated_seconds": round(estimated_seconds(job.recipe, rate), 1),
        "recipe": job.recipe.describe(),
    }
