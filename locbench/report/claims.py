"""The paper's claims judged by the numbers there are, with the spread of their seeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from locbench.report.model import ClaimVerdict, Entry, JudgedClaim
from locbench.spec.claims import Inequality, Place, inequalities
from locbench.spec.tables import Claim, Table

Outcome: TypeAlias = Literal["as claimed", "otherwise", "undecided", "not run"]

STANDARD_ERRORS = 2
"""A difference of more standard errors than this decides a comparison."""


# Sums of decimal numbers carry a binary rounding error far below any printed digit or byte.
_ROUNDING_ERROR = 1e-10


def judged_claims(table: Table, entries: Sequence[Entry]) -> tuple[JudgedClaim, ...]:
    """Judge every claim of a table by the entries of one comparison.

    A comparison of the claim is decided when its sides differ by more than two standard errors of
    their means. A cell with one seed takes the standard deviation pooled over all cells of the
    metric that have several; without any, comparisons of trained numbers are undecided. Computed
    numbers have no error. Where all cells are at chance nothing is decided.
    """
    places = {(entry.metric, entry.row, entry.column): entry for entry in entries}
    pooled = pooled_variances(entries)
    return tuple(_judged(table, claim, places, pooled) for claim in table.claims)


def pooled_variances(entries: Iterable[Entry]) -> dict[str, float]:
    """Return each metric's variance over seeds, pooled over its cells with several.

    A metric without such cells is left out.
    """
    squares: dict[str, float] = defaultdict(float)
    degrees: dict[str, int] = defaultdict(int)
    for entry in entries:
        if entry.std is not None and entry.n > 1:
            squares[entry.metric] += (entry.n - 1) * entry.std**2
            degrees[entry.metric] += entry.n - 1
    return {metric: squares[metric] / degrees[metric] for metric in degrees}


def decide(outcomes: Sequence[Outcome]) -> ClaimVerdict:
    """Return a claim's verdict from those of its comparisons: one decided otherwise refutes it."""
    if not outcomes:
        return "not run"
    for outcome, verdict in (
        ("otherwise", "does not hold"),
        ("not run", "not run"),
        ("undecided", "undecided"),
    ):
        if outcome in outcomes:
            return verdict  # type: ignore[return-value]
    return "holds"


def is_computed(table: Table, claim: Claim) -> bool:
    """Whether a claim is of numbers that need no training, the same in every comparison."""
    return all(table.metrics[metric].kind != "trained" for metric in claim.metrics)


def published_agreement(table: Table, claim: Claim) -> tuple[int, int]:
    """Return how many of a claim's comparisons the paper's own numbers satisfy, and of how many."""
    numbers: dict[str, dict[Place, float]] = defaultdict(dict)
    for cell in table.cells:
        for metric, published in cell.published.items():
            if published.value is not None:
                numbers[metric][cell.row, cell.column] = published.value
    printed = [
        each.value(numbers[each.metric]) > _ROUNDING_ERROR
        for each in inequalities(table, claim)
        if all(place in numbers[each.metric] for place, _ in each.weights)
    ]
    return sum(printed), len(printed)


def _judged(
    table: Table,
    claim: Claim,
    places: Mapping[tuple[str, str, str], Entry],
    pooled: Mapping[str, float],
) -> JudgedClaim:
    compared = inequalities(table, claim)
    cells = [[places.get((each.metric, *place)) for place, _ in each.weights] for each in compared]
    seen = [_seen(each, own) for each, own in zip(compared, cells, strict=True)]
    outcomes = [
        _outcome(value, own, each, pooled)
        for value, own, each in zip(seen, cells, compared, strict=True)
    ]
    agreeing, printed = published_agreement(table, claim)
    return JudgedClaim(
        text=claim.text,
        section=claim.section,
        metrics=tuple(claim.metrics),
        expect=tuple(claim.orders),
        note=claim.note,
        verdict=decide(outcomes),
        so_far=decide([outcome for outcome in outcomes if outcome != "not run"]),
        reduced=any(
            entry is not None and entry.verdict == "reduced"
            for value, own in zip(seen, cells, strict=True)
            if value is not None
            for entry in own
        ),
        comparisons=len(compared),
        as_claimed=outcomes.count("as claimed"),
        undecided=outcomes.count("undecided"),
        undecided_as_claimed=sum(
            outcome == "undecided" and value is not None and value > 0
            for outcome, value in zip(outcomes, seen, strict=True)
        ),
        not_run=outcomes.count("not run"),
        at_chance=sum(
            value is not None and _guessed(own) for value, own in zip(seen, cells, strict=True)
        ),
        against=tuple(
            f"{each.words} ({each.place})" if each.place else each.words
            for each, outcome in zip(compared, outcomes, strict=True)
            if outcome == "otherwise"
        ),
        published_as_claimed=agreeing,
        published_comparisons=printed,
    )


def _seen(inequality: Inequality, cells: Sequence[Entry | None]) -> float | None:
    """Return by how much a comparison comes out as claimed; None where a number is missing."""
    numbers = {}
    for (place, _), entry in zip(inequality.weights, cells, strict=True):
        if entry is None or not isinstance(entry.measured, float):
            return None
        numbers[place] = entry.measured
    return inequality.value(numbers)


def _outcome(
    value: float | None,
    cells: Sequence[Entry | None],
    inequality: Inequality,
    pooled: Mapping[str, float],
) -> Outcome:
    if value is None:
        return "not run"
    entries = [entry for entry in cells if entry is not None]
    if all(entry.n == 0 for entry in entries):
        return "as claimed" if value > _ROUNDING_ERROR else "otherwise"
    variance = 0.0
    for entry, (_, weight) in zip(entries, inequality.weights, strict=True):
        own = _variance(entry, pooled.get(inequality.metric))
        if own is None:
            return "undecided"
        variance += weight**2 * own
    if _guessed(entries) or abs(value) <= STANDARD_ERRORS * math.sqrt(variance):
        return "undecided"
    return "as claimed" if value > 0 else "otherwise"


def _variance(entry: Entry, pooled: float | None) -> float | None:
    """Return the variance of a cell's mean; None where nothing tells it."""
    if entry.n == 0:
        return 0.0
    single = entry.std**2 if entry.std is not None else pooled
    return None if single is None else single / entry.n


def _guessed(cells: Sequence[Entry | None]) -> bool:
    return all(entry is not None and entry.at_chance is True for entry in cells)
