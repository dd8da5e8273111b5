"""Plot of what the pyramidal depth saves and costs (AugLocal, Figure 5)."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from locbench.datasets.naming import short
from locbench.errors import UsageError
from locbench.figures import figure_file
from locbench.report.grouping import latest_versions, recipe_as_run, version_of
from locbench.results.record import Record
from locbench.spec.presets import same_task_key, schedule_of
from locbench.spec.recipe import Recipe
from locbench.spec.tables import Table

REDUCTION = "flops_reduction"


def plot_reduction(
    table: Table, reductions: Mapping[tuple[str, str], float], records: Iterable[Record], path: Path
) -> None:
    """Draw the FLOPs reduction of every cell against accuracy, one line per row.

    Accuracies come from one schedule alone, the one with most records; without any, the reduction
    is drawn over the columns.

    Args:
        table: a table with the metric ``flops_reduction``.
        reductions: percent by (row, column).
        records: all records there are.
        path: the file; its ending says the format.

    Raises:
        UsageError: the table has no such metric.
        FailureError: the file cannot be written.
    """
    if REDUCTION not in table.metrics:
        raise UsageError(f"there is no plot of {table.id}", "Plots exist of: auglocal-pyramid.")
    accuracies, how = accuracy_by_task(table, records)
    with figure_file(path, size=(7, 4.5)) as (_, axes):
        if accuracies:
            _against_accuracy(axes, table, reductions, accuracies, how)
        else:
            _over_columns(axes, table, reductions)
        axes.set_title(table.caption, fontsize="medium", wrap=True)
        axes.legend(frameon=False)


def accuracy_by_task(table: Table, records: Iterable[Record]) -> tuple[dict[str, float], str]:
    """Return mean test accuracy by task key, and the name of the schedule it is of.

    The schedule is the one with most records.
    """
    tasks = {same_task_key(cell.recipe) for cell in table.cells if cell.recipe is not None}
    found: dict[tuple[Any, ...], dict[str, list[float]]] = {}
    counts: Counter[tuple[Any, ...]] = Counter()
    records = list(records)
    latest = latest_versions(records)
    for record in records:
        task = same_task_key(record.recipe)
        if (
            record.status == "done"
            and task in tasks
            and version_of(record) == latest[record.recipe.dataset]
        ):
            schedule = schedule_of(recipe_as_run(record))
            counts[schedule] += 1
            found.setdefault(schedule, {}).setdefault(task, []).append(record.metrics["test_acc"])
    if not counts:
        return {}, ""
    best = counts.most_common(1)[0][0]
    values = dict(best)
    name = f"{short(values['dataset'])}, {values['epochs']} epochs" + (
        f", {values['train_limit']:,} images" if values["train_limit"] else ""
    )
    return {task: statistics.fmean(each) for task, each in found[best].items()}, name


def _against_accuracy(
    axes: Any,
    table: Table,
    reductions: Mapping[tuple[str, str], float],
    accuracies: Mapping[str, float],
    how: str,
) -> None:
    for label, points in _lines(table, reductions):
        shown = [(x, accuracies[task]) for x, task, _ in points if task in accuracies]
        if shown:
            axes.plot(*zip(*shown, strict=True), marker="o", label=label)
    axes.set(xlabel="FLOPs reduction of the auxiliary nets (%)", ylabel=f"test accuracy (%), {how}")


def _over_columns(axes: Any, table: Table, reductions: Mapping[tuple[str, str], float]) -> None:
    for label, points in _lines(table, reductions):
        axes.plot(
            [column for _, _, column in points], [x for x, _, _ in points], marker="o", label=label
        )
    axes.set(
        xlabel="decay rate (no accuracies recorded yet)",
        ylabel="FLOPs reduction of the auxiliary nets (%)",
    )


def _lines(
    table: Table, reductions: Mapping[tuple[str, str], float]
) -> Sequence[tuple[str, list[tuple[float, str, str]]]]:
    """Return, for each row, its points: the reduction, the task key and the column's label."""
    recipes: dict[tuple[str, str], Recipe] = {
        (cell.row, cell.column): cell.recipe for cell in table.cells if cell.recipe is not None
    }
    return [
        (
            row.label,
            [
                (
                    reductions[row.label, column.label],
                    same_task_key(recipes[row.label, column.label]),
                    column.label,
                )
                for column in table.columns
                if (row.label, column.label) in reductions
            ],
        )
        for row in table.rows
    ]
