"""Methods across all tables: ours and the paper's numbers by data set, network and metric."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import msgspec

from locbench.datasets.known import DATASETS
from locbench.datasets.naming import short
from locbench.report.machine_formats import cell_words
from locbench.report.model import Comparison, Entry, TableComparisons
from locbench.report.text import metric_label
from locbench.results.record import Record
from locbench.spec.arguments import setting_words
from locbench.spec.networks import NETWORKS
from locbench.spec.tables import Cell, Table


@dataclass(frozen=True)
class Line:
    """A method on a network and a data set.

    Attributes:
        dataset, network, metric: labels; lines that share them are one board.
        method: the method's expression.
        options: its options, in words.
        modules: K; empty where every local layer is a module.
        entry: ours and the paper's number.
        how: how our runs are reduced; empty for full ones, or without ours.
        lower: whether less is better.
        table: where the number stands; None for runs of no table.
        records: our runs of no table; empty of those of tables.
    """

    dataset: str
    network: str
    metric: str
    method: str
    options: str
    modules: str
    entry: Entry
    how: str = ""
    lower: bool = False
    table: Table | None = None
    records: tuple[Record, ...] = ()

    @property
    def board(self) -> tuple[str, str, str]:
        """What it is compared on."""
        return self.dataset, self.network, self.metric

    @property
    def best(self) -> float:
        """The better one of both numbers, as a key that sorts the best first."""
        printed = self.entry.published.value if self.entry.published else None
        numbers = [
            each if self.lower else -each
            for each in (self.entry.measured, printed)
            if isinstance(each, float | int)
        ]
        return min(numbers, default=float("inf"))


@dataclass(frozen=True)
class Board:
    """All methods on a network and a data set, the best first."""

    dataset: str
    network: str
    metric: str
    lines: tuple[Line, ...]

    @property
    def ours(self) -> int:
        """How many of its lines have a number of ours."""
        return sum(line.entry.measured is not None for line in self.lines)


def boards(found: Sequence[TableComparisons], apart: Iterable[Record]) -> list[Board]:
    """Return the trained numbers of all tables by data set, network and metric.

    Args:
        found: tables with at least one comparison each.
        apart: records that no table shows.

    Returns:
        Boards with numbers of ours first.
    """
    lines = [line for table, comparisons in found for line in _table_lines(table, comparisons)]
    lines += _apart(apart)
    ordered = sorted(lines, key=lambda line: (line.board, line.best, line.method))
    groups = (list(group) for _, group in groupby(ordered, key=lambda line: line.board))
    found_boards = [Board(*group[0].board, tuple(group)) for group in groups]
    return sorted(found_boards, key=lambda board: not board.ours)


def _table_lines(table: Table, comparisons: Sequence[Comparison]) -> Iterator[Line]:
    """Yield one line per trained number, of the first comparison that has ours."""
    shown: dict[tuple[str, str, str], tuple[Entry, Comparison]] = {}
    for comparison in comparisons:
        for entry in comparison.entries:
            place = (entry.row, entry.column, entry.metric)
            known = shown.get(place)
            if known is None or (known[0].measured is None and entry.measured is not None):
                shown[place] = entry, comparison
    cells = {(cell.row, cell.column): cell for cell in table.cells}
    for entry, comparison in shown.values():
        cell = cells[entry.row, entry.column]
        nothing = entry.measured is None and entry.published is None
        if entry.kind == "trained" and cell.recipe is not None and not nothing:
            yield _line(table, cell, entry, comparison)


def _line(table: Table, cell: Cell, entry: Entry, comparison: Comparison) -> Line:
    words = cell_words(table, cell)
    return Line(
        dataset=dataset_label(words["published_dataset"] or ""),
        network=network_label(words["network"] or ""),
        metric=metric_label(table, entry.metric),
        method=words["method"] or "",
        options=words["options"],
        modules=str(words["modules"] or ""),
        entry=entry,
        how=comparison.how if entry.verdict == "reduced" else "",
        lower=table.metrics[entry.metric].better == "lower",
        table=table,
    )


def network_label(name: str) -> str:
    """Return what a network is called; its name where it is not known here."""
    return NETWORKS[name].label if name in NETWORKS else name


def dataset_label(name: str) -> str:
    """Return what a data set is called; the name of one that is not known here, or a folder's."""
    return DATASETS[name].label if name in DATASETS else short(name)


def _apart(records: Iterable[Record]) -> Iterator[Line]:
    """Yield one line per recipe of no table, over its seeds."""
    for runs in by_seeds(record for record in records if "test_acc" in record.metrics):
        recipe = runs[0].recipe
        values = [record.metrics["test_acc"] for record in runs]
        yield Line(
            dataset=runs[0].data.label if runs[0].data else dataset_label(recipe.dataset),
            network=network_label(recipe.network),
            metric="Test accuracy (%)",
            method=recipe.method,
            options=setting_words({"epochs": recipe.epochs, "batch_size": recipe.batch_size}),
            modules=str(recipe.modules or ""),
            entry=Entry(
                row=recipe.method,
                column="",
                metric="test_acc",
                unit="%",
                kind="trained",
                published=None,
                verdict="own",
                measured=statistics.fmean(values),
                std=statistics.stdev(values) if len(values) > 1 else None,
                n=len(values),
                values=tuple(values),
                seeds=tuple(record.recipe.seed for record in runs),
                own=True,
            ),
            records=tuple(runs),
        )


def by_seeds(records: Iterable[Record]) -> list[list[Record]]:
    """Return records in groups whose recipes differ in the seed alone, by seed."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        alike = msgspec.structs.replace(record.recipe, seed=0).key
        groups.setdefault(alike, []).append(record)
    return [sorted(group, key=lambda record: record.recipe.seed) for group in groups.values()]
