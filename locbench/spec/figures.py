"""Published figures as data: which runs, which analysis, and what the text says of it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from locbench.errors import FailureError, LocbenchError, UsageError
from locbench.files import read_regular
from locbench.printable import shortened
from locbench.registry import suggestion
from locbench.spec.choices import FigureKind
from locbench.spec.claims import Place
from locbench.spec.selection import chosen, narrow
from locbench.spec.table_files import LARGEST_FILE, load_table, shipped_folder
from locbench.spec.tables import Metric, Table

Measure: TypeAlias = Literal["mean", "early", "late", "last"]
"""A number of a line: its mean, that of its first or last third, or its last value."""


class Trend(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the text says of a figure, as an order of numbers or a course along a line.

    Attributes:
        text: the statement in a few words.
        section: where the paper makes it.
        order: labels whose numbers are said to rise in this order; of several in a list, the mean
            counts. Empty if ``along`` is given.
        measure: which number of a label's line is meant.
        along: the course of each line from left to right.
        panel: the one part of the figure that is meant; empty means every one.
    """

    text: str
    section: str
    order: list[str | list[str]] = []
    measure: Measure = "mean"
    along: Literal["", "rising", "falling"] = ""
    panel: str = ""


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A published figure.

    Its runs are cells of a table: of another one's, or of ``grid``, which is written like a table.
    A cell's row names its panel and, after the last slash, its label.

    Attributes:
        id, paper, number, title, source: what it is and where it is printed.
        of: id of the table whose cells it shows; empty with a ``grid``.
        rows, columns: which of them, by labels or patterns; empty means all.
        grid: ``recipe``, ``rows`` and ``columns`` as in a table's file.
        reference: label of the runs that others are compared with, panel by panel.
        trends: what the text says.
        notes: choices that the paper leaves open, one sentence or two each.
    """

    id: str
    paper: Literal["auglocal", "hpff", "pgl", "swin"]
    number: str
    title: str
    source: str
    kind: FigureKind
    of: str = ""
    rows: list[str] = []
    columns: list[str] = []
    grid: dict[str, Any] = {}
    reference: str = ""
    trends: Annotated[list[Trend], msgspec.Meta(min_length=1)] = []
    notes: list[str] = []

    @property
    def needs_weights(self) -> bool:
        """Whether it looks at trained networks, beyond their records."""
        return self.kind not in ("accuracy", "reduction", "curves")

    def table(self) -> Table:
        """Return the cells as a table of their own.

        Raises:
            LocbenchError: there is no such table, no such cells, or the grid is malformed.
        """
        if self.of:
            table = load_table(self.of)
            table = narrow(table, chosen(table, tuple(self.rows), tuple(self.columns)))
            if any(metric.kind == "trained" for metric in table.metrics.values()):
                return table
            # Its paper prints costs alone there, and the figure has the accuracies.
            metrics = {**table.metrics, "test_acc": Metric("%")}
            return msgspec.structs.replace(table, metrics=metrics, published={}, computed=True)
        plain = {
            **{name: getattr(self, name) for name in ("id", "paper", "number", "title", "source")},
            "metrics": {"test_acc": {"unit": "%"}},
            "published": {},
            "computed": True,
            **self.grid,
        }
        return msgspec.convert(plain, Table)

    def places(self, table: Table) -> dict[Place, Place]:
        """Return the panel and the label of each cell, by its row and column.

        Where columns tell cells of one row apart, they are panels too.
        """
        cells = [(cell.row, cell.column) for cell in table.cells]
        several = len(cells) > len({row for row, _ in cells}) and self.kind != "reduction"
        places = {}
        for row, column in cells:
            panel, _, label = row.rpartition(" / ")
            words = [panel, *([column] if several else [])]
            places[row, column] = " / ".join(filter(None, words)), label
        return places


def figures_folder() -> Path:
    """Return the folder of the shipped figures."""
    return shipped_folder() / "figures"


def figure_ids() -> list[str]:
    """Return the ids of all figures, by paper and number."""
    return sorted(path.stem for path in figures_folder().glob("*.toml"))


def load_figure(figure_id: str) -> Figure:
    """Read one figure.

    Raises:
        UsageError: there is no figure of that id.
        FailureError: its file is malformed; the message names file and key.
    """
    known = figure_ids()
    if figure_id not in known:
        raise UsageError(
            f"unknown figure {shortened(figure_id)}",
            suggestion(figure_id, known) + " See: locbench figure",
        )
    return read_figure(figures_folder() / f"{figure_id}.toml")


def load_figures(faults: list[LocbenchError] | None = None) -> list[Figure]:
    """Read all figures.

    Args:
        faults: where it is noted why a figure cannot be read, which is then left out; None raises
            it.

    Raises:
        FailureError: as `load_figure` does.
    """
    figures = []
    for figure_id in figure_ids():
        try:
            figures.append(load_figure(figure_id))
        except LocbenchError as fault:
            if faults is None:
                raise
            faults.append(fault)
    return figures


def read_figure(path: Path) -> Figure:
    """Read and check one TOML file; see `load_figure` for errors."""
    try:
        plain = tomllib.loads(read_regular(path, LARGEST_FILE).decode("utf-8-sig"))
        figure = msgspec.convert(plain, Figure)
        fault = next(_faults(figure, path.stem), "")
    except OSError as error:
        raise FailureError(f"{path}: {error.strerror}", "Put a readable file there.") from None
    except LocbenchError as error:
        raise FailureError(f"{path}: {error.message}", error.remedy) from None
    except (ValueError, RecursionError) as error:  # msgspec's errors among them
        raise FailureError(f"{path}: {error}", "Mend the file at the place named.") from None
    if fault:
        raise FailureError(f"{path}: {fault}", "Mend this key of the file.")
    return figure


def _faults(figure: Figure, name: str) -> Iterator[str]:
    if figure.id != name:
        yield f"key id: {figure.id!r} is not the file's name"
    if bool(figure.of) == bool(figure.grid):
        yield "key of: give the id of a table, or a grid, and not both"
        return
    places = set(figure.places(figure.table()).values())
    labels = {label for _, label in places}
    if (name := figure.reference) and name not in labels:
        yield f"key reference: no label {name!r}; {suggestion(name, labels)}"
    if (figure.kind == "cka") != bool(figure.reference):
        yield "key reference: it is for cka alone, which needs it"
    for index, trend in enumerate(figure.trends):
        key = f"key trends[{index}]"
        if bool(trend.order) == bool(trend.along):
            yield f"{key}: give order or along, and not both"
        for label in labels_of(trend):
            if label not in labels:
                yield f"{key}.order: no label {label!r}; {suggestion(label, labels)}"
        if trend.panel and trend.panel not in {panel for panel, _ in places}:
            yield f"{key}.panel: no panel {trend.panel!r}"


def labels_of(trend: Trend) -> list[str]:
    """Return all labels of a trend's order."""
    return [label for each in trend.order for label in (each if isinstance(each, list) else [each])]
