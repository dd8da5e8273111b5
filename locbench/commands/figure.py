"""What `locbench figure` does: plan, train, analyse, draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from locbench.commands.analyse import MOST_IMAGES, write_frame
from locbench.commands.table import Training
from locbench.console import Output, Terminal, remark
from locbench.costs.memory.store import PredictionStore
from locbench.costs.table_values import computed_if_needed
from locbench.errors import FailureError
from locbench.execution.config import ExecutionConfig
from locbench.execution.plan import Plan
from locbench.report.text import PAPERS
from locbench.results.store import Store
from locbench.spec.claims import Place
from locbench.spec.figures import Figure, load_figure, load_figures
from locbench.spec.presets import reductions
from locbench.spec.selection import RunOptions
from locbench.spec.tables import Table
from locbench.spec.validation import refuse_count
from locbench.terminal.analyses import figure_entry, print_figure, print_figures
from locbench.torchrun import is_main_process

if TYPE_CHECKING:
    from locbench.analysis.analyses import Settings, Subject

REDUCTION = "flops_reduction"


def list_figures(output: Output) -> None:
    """Show the published figures that can be drawn."""
    figures = load_figures()
    output.show(lambda: figures, lambda console: print_figures(console, figures))


def draw_figure(
    figure_id: str,
    options: RunOptions,
    config: ExecutionConfig,
    settings: Settings,
    *,
    as_json: bool,
    out: Path | None = None,
    data: Path | None = None,
    plan_only: bool = False,
) -> None:
    """Draw a figure of a paper and show its numbers and trends.

    Args:
        figure_id: which figure.
        options: schedule and selection of its runs.
        config: where to train what is missing of them.
        settings: of the analysis.
        as_json: print JSON on standard output, and progress on standard error.
        out: file of the picture.
        data: file of the numbers, CSV.
        plan_only: show the plan of its runs and do nothing.

    Raises:
        LocbenchError: there is no such figure, or see `Training.train_cells` and
            `analyses.analyse`.
        FailureError: no run of it succeeded, or a file cannot be written.
    """
    refuse_count("--images", settings.images, MOST_IMAGES)
    figure = load_figure(figure_id)
    table = figure.table()
    options = msgspec.structs.replace(options, keep_weights=figure.needs_weights)
    training = Training(config, as_json=as_json)
    again = f"locbench figure {figure_id} with the same options"
    plan = training.train_cells(table, options, again=again, plan_only=plan_only)
    if plan is None or not is_main_process():
        return
    subjects = list(_subjects(figure, table, plan, training.store))
    if not subjects:
        raise FailureError(f"no run of {figure.number} succeeded", f"To run them again: {again}.")
    from locbench.analysis.analyses import analyse, caption
    from locbench.analysis.drawing import draw
    from locbench.analysis.trends import trends_seen

    with training.console.status("analysing"):
        frame = analyse(figure.kind, subjects, settings)
    seen = trends_seen(figure, frame)
    words, how = caption(figure.kind, subjects, settings), _reduced(plan)
    if data is not None:
        write_frame(frame, data)
    if out is not None:
        title = f"{PAPERS[figure.paper]}, {figure.number}: {figure.title}"
        draw(figure.kind, frame, out, title=title, note=" ".join(filter(None, (words, how))))
    files = [path for path in (out, data) if path is not None]

    def view(console: Terminal) -> None:
        print_figure(console, figure, frame, seen, words, how, files)

    training.output.show(lambda: figure_entry(figure, frame, seen, words, how), view)


def _subjects(figure: Figure, table: Table, plan: Plan, store: Store) -> Iterator[Subject]:
    """Yield every recorded run of the plan at its place in the figure."""
    from locbench.analysis.analyses import Subject

    places, reduced = figure.places(table), _flops_reductions(figure, table, store)
    found: dict[tuple[str, str, int], Subject] = {}
    failed: list[str] = []
    for job in plan.jobs:
        record = store.find(job.recipe.key)
        for cell in job.cells:
            panel, label = places[cell]
            if record is None or record.status != "done":
                failed.append(f"{panel} / {label}")
                continue
            subject = Subject(label, record, store, panel, reduction=reduced.get(cell, 0.0))
            found[panel, label, job.recipe.seed] = subject
    if failed:
        remark(f"Left out, since they failed: {', '.join(dict.fromkeys(failed))}.")
    yield from _compared(found, places, figure.reference)


def _compared(
    found: Mapping[tuple[str, str, int], Subject], places: Mapping[Place, Place], reference: str
) -> Iterator[Subject]:
    """Yield runs in the order of the figure, each with its reference of the same panel and seed.

    References are compared with nothing, and runs without one are left out.
    """
    for panel, label in dict.fromkeys(places.values()):
        for (*place, seed), subject in found.items():
            if place != [panel, label] or label == reference:
                continue
            other = found.get((panel, reference, seed))
            if other is not None or not reference:
                yield replace(subject, reference=other)


def _flops_reductions(figure: Figure, table: Table, store: Store) -> dict[Place, float]:
    if figure.kind != "reduction":
        return {}
    values = computed_if_needed(table, PredictionStore(store.folder, trace=True))
    return {place: float(metrics[REDUCTION]) for place, metrics in values.items()}


def _reduced(plan: Plan) -> str:
    """Return in words how the runs fall short of the published ones; empty for full runs."""
    published = {
        (cell.row, cell.column): cell.recipe for cell in plan.cells if cell.recipe is not None
    }
    words = dict.fromkeys(
        each
        for job in plan.jobs
        for cell in job.cells[:1]
        for each in reductions(job.recipe, published[cell])
    )
    return f"Reduced runs: {', '.join(words)}." if words else ""
