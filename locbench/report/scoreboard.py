"""How much of a table is run, and how it compares, in a few numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

from locbench.report.claim_blocks import claim_verdict_text, is_begun
from locbench.report.formatting import DAGGER
from locbench.report.model import Comparison, Entry, Rank
from locbench.report.plots import chosen_comparison
from locbench.report.text import metric_label
from locbench.spec.tables import Table

Extent: TypeAlias = Literal["full", "reduced", "counted", "predicted", "failed", "not run"]

EXTENTS: dict[Extent, str] = {
    "full": "trained on the published schedule",
    "reduced": f"trained on a shorter schedule or other data, marked {DAGGER}",
    "counted": "parameters, FLOPs and texts, computed",
    "predicted": "memory, predicted without a device",
    "failed": "the run ended in an error",
    "not run": "nothing is known of them yet",
}
"""What is known of a number of a table, best first, and what that means."""


@dataclass(frozen=True)
class RankScore:
    """A tau over a whole table, and what it means.

    Attributes:
        metric: label of the metric.
        rank: the tau, or why there is none.
        how: how the runs are reduced; empty for full ones and for computed numbers.
        alike: pairs of cells that are ordered as in the paper.
        pairs: pairs of cells that both sides order.
    """

    metric: str
    rank: Rank
    how: str
    alike: int
    pairs: int

    @property
    def reduced(self) -> bool:
        """Whether it is of reduced runs."""
        return bool(self.how)

    @property
    def meaning(self) -> str:
        """What the tau says, in words; why there is none where there is none."""
        if self.rank.tau is None:
            return f"{self.rank.n} cells not ranked: {self.rank.why}"
        return f"{self.alike} of {self.pairs} pairs of cells in the paper's order"


@dataclass(frozen=True)
class Score:
    """What is known of some numbers.

    Attributes:
        extents: how many of the numbers are known how far; what a paper prints in words too.
        exact_equal, exact: numbers that are counted and equal the paper's, and all of these.
        match, off: numbers of full runs that are the paper's, and that are not.
    """

    extents: Counter[Extent]
    exact_equal: int
    exact: int
    match: int
    off: int

    @property
    def numbers(self) -> int:
        """How many numbers there are."""
        return sum(self.extents.values())


@dataclass(frozen=True)
class TableScore(Score):
    """What is known of a table's numbers.

    Attributes:
        table: the table.
        ranks: over the whole table; of trained numbers one for each kind of runs, full ones first.
        claims: how many claims have which verdict, by the runs that fill most cells.
    """

    table: Table
    ranks: tuple[RankScore, ...]
    claims: Counter[str]


def total_score(scores: Sequence[Score]) -> Score:
    """Return what is known of several tables together."""
    extents: Counter[Extent] = Counter()
    for score in scores:
        extents.update(score.extents)
    return Score(
        extents=extents,
        exact_equal=sum(score.exact_equal for score in scores),
        exact=sum(score.exact for score in scores),
        match=sum(score.match for score in scores),
        off=sum(score.off for score in scores),
    )


def table_score(table: Table, comparisons: Sequence[Comparison]) -> TableScore:
    """Return what is known of a table.

    Args:
        table: the table.
        comparisons: at least one, full runs first.
    """
    places: dict[tuple[str, str, str], list[Extent]] = {}
    for entry in (entry for comparison in comparisons for entry in comparison.entries):
        places.setdefault((entry.row, entry.column, entry.metric), []).append(extent(entry))
    order = list(EXTENTS)
    computed = [entry for entry in comparisons[0].entries if entry.kind == "exact"]
    judged = Counter(entry.verdict for entry in computed)
    trained = Counter(
        entry.verdict
        for comparison in comparisons
        for entry in comparison.entries
        if entry.kind == "trained"
    )
    return TableScore(
        table=table,
        extents=Counter(min(known, key=order.index) for known in places.values()),
        exact_equal=judged["match"],
        exact=judged["match"] + judged["off"],
        match=trained["match"],
        off=trained["off"],
        ranks=tuple(
            score
            for number, each in enumerate(comparisons)
            for score in _rank_scores(table, each, computed=number == 0)
        ),
        claims=Counter(
            claim_verdict_text(claim)
            for claim in chosen_comparison(comparisons).claims
            if is_begun(claim)
        ),
    )


def extent(entry: Entry) -> Extent:
    """Return how far a number is known."""
    if entry.measured is None:
        return "failed" if entry.verdict == "failed" else "not run"
    if entry.kind == "trained":
        return "reduced" if entry.verdict == "reduced" else "full"
    return "predicted" if entry.kind in ("predicted", "measured") else "counted"


def _rank_scores(table: Table, comparison: Comparison, *, computed: bool) -> Iterable[RankScore]:
    """Yield the ranks of one comparison; computed numbers are the same in every one."""
    for rank in comparison.ranks:
        trained = table.metrics[rank.metric].kind == "trained"
        if rank.scope != "table" or not (trained or computed):
            continue
        alike, pairs = pairs_alike(
            [entry for entry in comparison.entries if entry.metric == rank.metric]
        )
        yield RankScore(
            metric=metric_label(table, rank.metric),
            rank=rank,
            how=comparison.how if trained else "",
            alike=alike,
            pairs=pairs,
        )


def pairs_alike(entries: Sequence[Entry]) -> tuple[int, int]:
    """Return how many pairs of numbers are ordered as in the paper, of those that both sides order.

    Pairs that are equal on one side are left out.
    """
    numbers = [
        (entry.measured, entry.published.value)
        for entry in entries
        if isinstance(entry.measured, float | int)
        and entry.published is not None
        and entry.published.value is not None
    ]
    products = [
        (ours - other_ours) * (paper - other_paper)
        for (ours, paper), (other_ours, other_paper) in combinations(numbers, 2)
    ]
    return sum(each > 0 for each in products), sum(each != 0 for each in products)
