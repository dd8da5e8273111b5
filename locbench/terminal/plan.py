"""View of a plan: its runs with states, parameters and times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from locbench.costs.counts import parameter_counts
from locbench.execution.estimates import Forecast, trace_seconds
from locbench.execution.job import Job
from locbench.execution.plan import Plan
from locbench.printable import duration
from locbench.report.text import split_label
from locbench.spec.recipe import Recipe
from locbench.terminal.columns import WIDE, empty_table

_COLOURS = {"done": "green", "failed": "red", "unfinished": "yellow", "to do": ""}


def plan_entry(plan: Plan, forecast: Forecast) -> dict[str, Any]:
    """Return a plan as plain data."""
    return {
        "table": plan.title,
        "notes": plan.notes,
        "runs": [_job_entry(job, forecast) for job in plan.jobs],
        "estimated_seconds_left": round(forecast.left(plan.jobs), 1),
        "traces_left": len(forecast.traces),
        "trace_seconds_left": round(trace_seconds(forecast.traces), 1),
        "missing": forecast.lacking,
    }


def print_plan(console: Console, plan: Plan, forecast: Forecast) -> None:
    """Print a plan, one line per recipe with all its seeds, and the time that is left."""
    console.print(f"{plan.title}: {len(plan.jobs)} runs, {len(plan.open)} to do", markup=False)
    for note in plan.notes:
        console.print(note, markup=False, soft_wrap=True)
    console.print(_grid(plan, forecast, console.width >= WIDE))
    for reason, count in Counter(cell.blocked for cell in plan.blocked).items():
        cells = "1 cell" if count == 1 else f"{count} cells"
        console.print(f"not runnable: {cells}: {reason}", markup=False, soft_wrap=True)
    left = f"About {duration(forecast.left(plan.jobs))} left on this device."
    console.print(f"{left} {forecast.words(plan.jobs)}".rstrip(), markup=False)
    for sentence in forecast.lacking:
        console.print(f"Missing: {sentence}", markup=False, soft_wrap=True)


def _grid(plan: Plan, forecast: Forecast, wide: bool) -> Table:
    names = ("row", "column", "method") if wide else ("row", "column")
    header = (*names, "parameters", "epochs", "time", "runs")
    grid = empty_table(header, f"{'l' * len(names)}rrrl")
    previous = ""
    for jobs in _by_recipe(plan.jobs):
        group, row, column = _place(jobs[0])
        if group != previous:
            grid.add_row(Text(group, style="bold"))
        previous = group
        words = [row, column, jobs[0].recipe.method][: len(names)]
        states = Counter(job.state for job in jobs)
        style = _COLOURS[jobs[0].state] if len(states) == 1 else ""
        grid.add_row(
            *map(Text, (*words, *_costs(jobs, forecast), _state_words(states))), style=style
        )
    return grid


def _by_recipe(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Yield the jobs that differ in their seed alone."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(msgspec.structs.replace(job.recipe, seed=0).key, []).append(job)
    yield from groups.values()


def _place(job: Job) -> tuple[str, str, str]:
    """Return the group of the row, the row and the column; cells that share the run are counted."""
    row, column = job.place
    group, own = split_label(row) if job.cells else ("", row)
    return group, own, column


def _costs(jobs: Sequence[Job], forecast: Forecast) -> tuple[str, str, str]:
    counts = _parameters(jobs[0].recipe)
    seconds = sum(forecast.of(job).seconds for job in jobs if job.open)
    parameters = f"{counts['primary'] / 1e6:.2f} + {counts['auxiliary'] / 1e6:.2f} M"
    return parameters, str(jobs[0].recipe.epochs), duration(seconds) if seconds else ""


def _state_words(states: Counter[Any]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items())


def _job_entry(job: Job, forecast: Forecast) -> dict[str, Any]:
    estimate = forecast.of(job)
    return {
        "key": job.recipe.key,
        "cells": [{"row": row, "column": column} for row, column in job.cells],
        "backbone_of": job.backbone_of,
        "state": job.state,
        "seed": job.recipe.seed,
        "parameters": _parameters(job.recipe),
        "estimated_seconds": round(estimate.seconds, 1),
        "estimated_from": estimate.basis,
        "recipe": job.recipe.describe(),
    }


def _parameters(recipe: Recipe) -> dict[str, int]:
    if recipe.detection is None:
        return parameter_counts(recipe)
    from locbench.detection.costs import detector_parameters

    return detector_parameters(recipe)
