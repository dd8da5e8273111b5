"""Learning curves and plots of tables as SVG files, named by what they show."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import locbench
from locbench.figures import figure_file
from locbench.report.model import Comparison
from locbench.report.plots import chosen_comparison, plot_table, table_panels
from locbench.results.record import Record
from locbench.spec.tables import Table

CURVES = {"train_loss": "training loss of the output", "test_acc": "test accuracy (%)"}
"""What is drawn over the epochs, each in its part of the picture."""


def curves_name(records: Sequence[Record]) -> str:
    """Return the file name of the curves of runs that differ in the seed alone.

    Runs of other numbers have another name, so that a file that is there need not be drawn again.
    Empty if the runs have no curves.
    """
    series = [(record.recipe.seed, _series(record, name)) for record in records for name in CURVES]
    if not any(len(points) > 1 for _, points in series):
        return ""
    return _name(series)


def draw_curves(records: Sequence[Record], path: Path) -> None:
    """Draw loss and accuracy over the epochs, one line per seed.

    Args:
        records: runs that differ in the seed alone.
        path: an SVG file.

    Raises:
        FailureError: the file cannot be written.
    """
    shown = {
        name: label
        for name, label in CURVES.items()
        if any(_series(record, name) for record in records)
    }
    size = (3.2 * len(shown), 2.4)
    with svg_text(), figure_file(path, grid=(1, len(shown)), size=size) as (_, axes):
        for axis, (name, label) in zip(axes[0], shown.items(), strict=True):
            for record in records:
                points = _series(record, name)
                axis.plot(
                    [epoch for epoch, _ in points],
                    [value for _, value in points],
                    marker="." if len(points) < MARKED else "",
                    linewidth=1.2,
                    label=f"seed {record.recipe.seed}",
                )
            axis.set(xlabel="epoch", ylabel=label)
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.grid(alpha=0.3)
        if len(records) > 1:
            axes[0][0].legend(frameon=False, fontsize="small")


MARKED = 40
"""Fewest epochs of a curve without a mark at each."""


def plot_name(table: Table, comparisons: Sequence[Comparison]) -> str:
    """Return the file name of a table's plot; see `curves_name`.

    Empty if there is nothing of ours to draw.
    """
    panels = table_panels(table, chosen_comparison(comparisons))
    return _name((table.title, panels)) if any(panel.ours for panel in panels) else ""


def draw_plot(table: Table, comparisons: Sequence[Comparison], path: Path) -> None:
    """Draw a table's numbers beside the paper's into an SVG file; see `plot_table`."""
    with svg_text():
        plot_table(table, comparisons, path)


def _name(shown: object) -> str:
    digest = hashlib.sha256(repr((locbench.__version__, shown)).encode()).hexdigest()
    return f"{digest[:12]}.svg"


@contextmanager
def svg_text() -> Iterator[None]:
    """Let SVG files have letters rather than outlines, and equal files for equal pictures."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "locbench"}):
        yield


def _series(record: Record, name: str) -> list[tuple[Any, float]]:
    return [(row["epoch"], value) for row in record.history if (value := row.get(name)) is not None]
