"""What a comparison is, as data: entries, ranks, derived values and where the numbers come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import msgspec

from locbench.costs.calibration import Calibrated
from locbench.costs.measured.table import MeasuredCost
from locbench.spec.tables import Published, Table

Verdict: TypeAlias = Literal[
    "match",
    "off",
    "unconfirmed",
    "predicted",
    "measured",
    "reduced",
    "own",
    "missing",
    "failed",
    "blocked",
]

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

Kind: TypeAlias = Literal["trained", "exact", "predicted", "measured", "text"]

Value: TypeAlias = float | str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One published value and what was measured for it.

    Attributes:
        row, column, metric: where the value stands in the table.
        unit, kind: of the metric.
        published: what the paper prints; None in tables whose values are not legible, and of one's
            own places.
        measured: mean over seeds, or the computed value; None where there is none.
        std: sample standard deviation (n - 1) over seeds; None below two seeds.
        n: number of seeds behind ``measured``; 0 for a computed value.
        values: the value of every seed; empty for a computed value.
        seeds: which seeds these are.
        difference: measured - published, in the metric's unit; None for reduced runs and for text.
        ratio: measured / published, of predicted costs alone.
        at_chance: whether the mean is what guessing gives; see `report.verdicts`. None where that
            cannot be told.
        best: mean over seeds of the best epoch's value; secondary, never judged.
        detail: why there is no number, or what a reader should know of it.
        epochs, published_epochs: trained and published length; None where nothing was trained.
        dataset, data_label: what was trained on; empty where nothing was trained.
        own: nothing is published of the row, the column or the table.
    """

    row: str
    column: str
    metric: str
    unit: str
    kind: Kind
    published: Published | None
    verdict: Verdict
    measured: Value | None = None
    std: float | None = None
    n: int = 0
    values: tuple[float, ...] = ()
    difference: float | None = None
    ratio: float | None = None
    at_chance: bool | None = None
    best: float | None = None
    detail: str = ""
    epochs: int | None = None
    published_epochs: int | None = None
    dataset: str = ""
    data_label: str = ""
    seeds: tuple[int, ...] = ()
    own: bool = False


Scope: TypeAlias = Literal["table", "row", "column"]


class Rank(msgspec.Struct, frozen=True, kw_only=True):
    """Kendall's tau-b between measured and published values.

    Attributes:
        metric: the metric that is ranked.
        scope: over the whole table, or along one row or column.
        label: that row's or column's label; empty for the whole table.
        tau: between -1 and 1; None where there is none, and ``why`` says why.
        n: number of cells that have both values.
        low, high: the 95 % interval of ``tau``; see `report.ranks`.
        at_chance: how many of the cells are at chance.
        why: why there is no tau; empty where there is one.
    """

    metric: str
    scope: Scope
    label: str
    tau: float | None
    n: int
    low: float | None = None
    high: float | None = None
    at_chance: int = 0
    why: str = ""


class DerivedValue(msgspec.Struct, frozen=True, kw_only=True):
    """A value that follows from others, by the paper's numbers and by the measured ones.

    Attributes:
        label, metric, unit: which derived quantity.
        row, reference, column: derived from ``row`` against ``reference``.
        printed: what the paper prints; None where it prints nothing.
        from_published, from_measured: the formula's value; None where a number is missing.
        reduced: whether a number behind ``from_measured`` is of a reduced run.
        agrees: whether ``printed`` is ``from_published`` after rounding; None where one is missing.
    """

    label: str
    metric: str
    unit: str
    row: str
    reference: str
    column: str
    printed: Published | None
    from_published: float | None
    from_measured: float | None
    reduced: bool
    agrees: bool | None


ClaimVerdict: TypeAlias = Literal["holds", "does not hold", "undecided", "not run"]


class JudgedClaim(msgspec.Struct, frozen=True, kw_only=True):
    """What the paper says of its numbers, and whether the measured ones say so too.

    Attributes:
        text, section, metrics, expect, note: of the claim, see `locbench.spec.tables.Claim`.
        verdict: ``holds`` if all comparisons are decided as claimed, ``does not hold`` if one is
            decided otherwise, else ``not run`` if one lacks a number, else ``undecided``.
        so_far: the verdict of those comparisons that have their numbers.
        reduced: whether a number behind it is of a reduced run.
        comparisons: how many the claim makes.
        as_claimed: how many are decided as claimed.
        undecided: how many lie within the spread of the seeds, or lack a second seed.
        undecided_as_claimed: how many of these come out as claimed.
        not_run: how many lack a number.
        at_chance: how many compare numbers that are no better than guessing.
        against: those decided otherwise, in words.
        published_as_claimed, published_comparisons: how many of the comparisons that the paper
            prints numbers for come out as claimed by these.
    """

    text: str
    section: str
    metrics: tuple[str, ...]
    expect: tuple[str, ...]
    verdict: ClaimVerdict
    so_far: ClaimVerdict
    reduced: bool
    comparisons: int
    as_claimed: int
    undecided: int
    undecided_as_claimed: int
    not_run: int
    at_chance: int
    against: tuple[str, ...]
    published_as_claimed: int
    published_comparisons: int
    note: str = ""


class Sources(msgspec.Struct, frozen=True):
    """With what the runs of a comparison were made; each list without repetitions.

    Attributes:
        runs: number of finished runs; one that stands in several places counts once.
        threads: numbers of CPU threads, as far as they are known.
        commits: short hashes, with a mark where the code differed from the commit.
        data: label, fingerprint and image counts.
        schedules: epochs, batch, learning rate and precision by data set.
        first, last: UTC start of the first and of the last run, ISO 8601.
        seconds: training and evaluation time of all runs.
        resumed: number of runs that were continued from a checkpoint.
        side_by_side: number of runs that shared a device with others.
        predictions: with what predicted memory and divisions were traced; empty where there are
            none.
    """

    runs: int = 0
    devices: tuple[str, ...] = ()
    threads: tuple[int, ...] = ()
    engines: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    first: str = ""
    last: str = ""
    seconds: float = 0.0
    resumed: int = 0
    side_by_side: int = 0
    predictions: str = ""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A table and its runs of one kind of schedule: full, or reduced in the same way.

    Attributes:
        table: the table's id.
        reduced: whether the runs fall short of the published schedule.
        how: the reduction in words; empty for full runs.
        data_labels: the data sets as the records name them.
        entries: one per published value, row by row.
        ranks, derived: see `Rank` and `DerivedValue`.
        notes: what a reader must know of these numbers.
        sources: provenance of the runs.
        claims: what the paper says of its numbers, judged by these.
        calibrated: published memory beside its prediction with and without calibration.
        measured: what was measured of the table's costs on devices; the same in every comparison of
            a table.
        hidden: how many entries were left out, since nothing was run of their rows or columns.
    """

    table: str
    reduced: bool
    how: str
    data_labels: tuple[str, ...]
    entries: tuple[Entry, ...]
    ranks: tuple[Rank, ...]
    derived: tuple[DerivedValue, ...]
    notes: tuple[str, ...]
    sources: Sources
    claims: tuple[JudgedClaim, ...] = ()
    calibrated: tuple[Calibrated, ...] = ()
    measured: tuple[MeasuredCost, ...] = ()
    hidden: int = 0

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many numbers have each verdict, in the order of `VERDICTS`.

        Verdicts that nothing has are left out.
        """
        return self._counted(text=False)

    @property
    def text_counts(self) -> dict[Verdict, int]:
        """The same of what the paper prints in words."""
        return self._counted(text=True)

    def _counted(self, *, text: bool) -> dict[Verdict, int]:
        counted = Counter(entry.verdict for entry in self.entries if (entry.kind == "text") is text)
        return {verdict: counted[verdict] for verdict in VERDICTS if counted[verdict]}


TableComparisons: TypeAlias = tuple[Table, Sequence[Comparison]]
"""A table with what `compare` returned for it."""
