"""What the pages of the site show: tables, methods and records, linked with each other."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from urllib.parse import quote

import msgspec

from locbench.analysis.recorded import flat_settings
from locbench.datasets.naming import short
from locbench.printable import duration
from locbench.report.compare import runs_of
from locbench.report.document import Block
from locbench.report.grouping import Place, group_records
from locbench.report.leaderboard import Board, boards, by_seeds, network_label
from locbench.report.model import Comparison, TableComparisons, Verdict
from locbench.report.provenance import versions_text
from locbench.report.scoreboard import Score, TableScore, table_score, total_score
from locbench.report.sections import closing_blocks, comparison_blocks
from locbench.report.site.pictures import curves_name, draw_curves, draw_plot, plot_name
from locbench.report.text import heading, origin, paper_name
from locbench.results.record import Record
from locbench.spec.arguments import value_words
from locbench.spec.tables import Table


def table_url(table: Table) -> str:
    """Return the address of a table's page, from the top of the site."""
    return f"tables/{quote(table.id)}.html"


def record_url(record: Record) -> str:
    """Return the address of a record's page, from the top of the site."""
    return f"records/{record.recipe.name}.html"


@dataclass(frozen=True)
class CellRuns:
    """The runs behind a cell of a table.

    Attributes:
        row, column: the place.
        anchor: of it on the table's page.
        records: the finished and the failed ones, by seed.
        curves: file name of their learning curves; empty where there are none.
    """

    row: str
    column: str
    anchor: str
    records: tuple[Record, ...]
    curves: str


@dataclass(frozen=True)
class Section:
    """One comparison on a table's page.

    Attributes:
        comparison: what it shows.
        blocks: in words and grids.
        runs: by place, in the table's order.
    """

    comparison: Comparison
    blocks: tuple[Block, ...]
    runs: dict[Place, CellRuns]


@dataclass(frozen=True)
class TablePage:
    """A table as the paper lays it out, with what is behind its numbers.

    Attributes:
        table: the table.
        score: how much of it is known.
        title, origin: which one it is, and where it is printed.
        sections: its comparisons.
        closing: what belongs to it as a whole.
        plot: file name of its plot; empty where there is nothing of ours.
    """

    table: Table
    score: TableScore
    title: str
    origin: str
    sections: tuple[Section, ...]
    closing: tuple[Block, ...]
    plot: str

    @property
    def verdicts(self) -> set[Verdict]:
        """Those that its numbers have."""
        return {entry.verdict for each in self.sections for entry in each.comparison.entries}

    @property
    def url(self) -> str:
        """Its address."""
        return table_url(self.table)


@dataclass(frozen=True)
class RecordPage:
    """A record, where it is shown, and how it is run again.

    Attributes:
        record: the record.
        cells: tables and places that show it, each with the kind of runs.
        seeds: the runs that differ in the seed alone, this one among them.
        curves: file name of their learning curves; empty where there are none.
        command: what runs it again.
    """

    record: Record
    cells: tuple[tuple[TablePage, CellRuns], ...]
    seeds: tuple[Record, ...]
    curves: str
    command: str

    @property
    def url(self) -> str:
        """Its address."""
        return record_url(self.record)

    @property
    def network(self) -> str:
        """What the network is called."""
        return network_label(self.record.recipe.network)

    @property
    def dataset(self) -> str:
        """What the data set is called."""
        return self.record.data.label if self.record.data else short(self.record.recipe.dataset)

    @property
    def title(self) -> str:
        """What was trained, on what."""
        recipe = self.record.recipe
        return f"{self.network}, {recipe.method}, {self.dataset}, seed {recipe.seed}"

    @property
    def settings(self) -> dict[str, str]:
        """The recipe with its defaults, by name."""
        described = self.record.described or self.record.recipe.describe()
        return {
            name: value_words(value)
            for name, value in flat_settings(msgspec.to_builtins(described)).items()
            if value is not None
        }

    @property
    def origin(self) -> dict[str, str]:
        """With what it was made."""
        made, data = self.record.provenance, self.record.data
        lines = {
            "started": made.started,
            "time": duration(made.seconds),
            "device": made.device,
            "engine": made.engine,
            "versions": versions_text(made),
            "commit": made.code or "outside a checkout",
            "continued": f"{made.resumed} times" if made.resumed else "",
            "beside others": f"up to {made.beside} runs on the device" if made.beside > 1 else "",
            "data": f"{data.label}, fingerprint {data.fingerprint}, {data.train:,} training and "
            f"{data.test:,} test images"
            if data
            else "",
        }
        return {name: value for name, value in lines.items() if value}


@dataclass(frozen=True)
class Site:
    """All pages.

    Args:
        found: tables with at least one comparison each.
        records: all records, those of no table too.
        file_of: the file of a record, as the user names its folder.
    """

    found: Sequence[TableComparisons]
    records: Sequence[Record]
    file_of: Callable[[Record], Path]
    pictures: dict[str, Callable[[Path], None]] = field(default_factory=dict)
    """What draws the pictures that the pages show, by their paths."""

    @cached_property
    def tables(self) -> list[TablePage]:
        """One page per table."""
        return [self._table_page(*each) for each in self.found]

    @cached_property
    def total(self) -> Score:
        """What is known of all tables."""
        return total_score([page.score for page in self.tables])

    @property
    def papers(self) -> dict[str, list[TablePage]]:
        """The pages of tables by paper."""
        papers: dict[str, list[TablePage]] = {}
        for page in self.tables:
            papers.setdefault(paper_name(page.table), []).append(page)
        return papers

    @cached_property
    def record_pages(self) -> list[RecordPage]:
        """One page per record, newest first."""
        places: dict[str, list[tuple[TablePage, CellRuns]]] = {}
        for page in self.tables:
            for section in page.sections:
                for runs in section.runs.values():
                    for record in runs.records:
                        places.setdefault(record.key, []).append((page, runs))
        pages = [
            RecordPage(
                record=record,
                cells=tuple(places.get(record.key, ())),
                seeds=tuple(group),
                curves=self._curves(group),
                command=self._command(record),
            )
            for group in by_seeds(self.records)
            for record in group
        ]
        return sorted(
            pages, key=lambda page: (page.record.provenance.started, page.url), reverse=True
        )

    @cached_property
    def boards(self) -> list[Board]:
        """Methods across all tables, with runs of no table."""
        apart = [page.record for page in self.record_pages if not page.cells]
        return boards(self.found, apart)

    def _command(self, record: Record) -> str:
        return shlex.join(["locbench", "rerun", str(self.file_of(record))])

    def _curves(self, records: Sequence[Record]) -> str:
        name = curves_name(records)
        if name:
            self.pictures[f"curves/{name}"] = partial(draw_curves, tuple(records))
        return name

    def _table_page(self, table: Table, comparisons: Sequence[Comparison]) -> TablePage:
        plot = plot_name(table, comparisons)
        if plot:
            self.pictures[f"plots/{plot}"] = partial(draw_plot, table, comparisons)
        groups = group_records(table, self.records)
        placed = [group.runs for group in groups] or [{}]
        sections = (
            Section(
                comparison=comparison,
                blocks=tuple(comparison_blocks(table, comparison, number, legends=False)),
                runs=dict(self._cell_runs(table, placed_runs, number)),
            )
            for number, (comparison, placed_runs) in enumerate(
                zip(comparisons, placed, strict=True), start=1
            )
        )
        return TablePage(
            table=table,
            score=table_score(table, comparisons),
            title=heading(table),
            origin=origin(table),
            sections=tuple(sections),
            closing=tuple(closing_blocks(table, comparisons)),
            plot=plot,
        )

    def _cell_runs(
        self, table: Table, placed: dict[Place, tuple[Record, ...]], number: int
    ) -> Iterator[tuple[Place, CellRuns]]:
        for index, cell in enumerate(table.cells):
            place = cell.row, cell.column
            if place not in placed:
                continue
            runs = runs_of(placed[place])
            records = sorted((*runs.done, *runs.failed), key=lambda each: each.recipe.seed)
            anchor = f"runs-{number}-{index}"
            yield place, CellRuns(*place, anchor, tuple(records), self._curves(records))
