"""Claims of a paper that order the cells of its table.

A claim of a table's file expects an order of the numbers of a metric::

    [[claims]]
    text = "Longer guidance is better"
    section = "3.2"
    metric = "test_acc"
    expect = "Q=3 > Q=2 > Q=1"

The whole grammar of ``expect``, with every sign between spaces:

* order: ``side > side`` or ``side < side``, or a longer chain, in which neighbours are compared;
* side: ``term``, or a difference ``term - term``;
* term: a ``label``, a ``label`` times a ``number`` as in ``0.6 * BP``, or a ``number``;
* label: a row's label or a part of it; or, if the rows do not have all labels of the order, a
  column's. ``label @ other`` also says at which column (or row) the number stands.

A part is whole words of a label, or of several of its parts between slashes: ``K=2 / Ours`` is in
``K=2 / Linear / Ours``. The order is looked at wherever the rest of the labels is the same, here
``Linear``, and at each place of the other axis where all its cells are printed. A whole label
stands for its row at all of these places.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Literal, TypeAlias

import msgspec

from locbench.registry import close_names, suggestion
from locbench.spec.tables import Claim, Table

Place: TypeAlias = tuple[str, str]
"""A cell by the labels of its row and its column."""


class Inequality(msgspec.Struct, frozen=True):
    """One comparison: claimed is that the weighted sum of cells, plus a constant, is above zero.

    Attributes:
        metric: whose numbers the cells hold.
        words: the two sides as the claim writes them.
        place: what the compared cells have in common.
        weights: the weight of each cell.
    """

    metric: str
    words: str
    place: str
    weights: tuple[tuple[Place, float], ...]
    constant: float = 0.0

    def value(self, numbers: Mapping[Place, float]) -> float:
        """Return the sum for these numbers of the cells."""
        return self.constant + sum(weight * numbers[cell] for cell, weight in self.weights)


class _Term(msgspec.Struct, frozen=True):
    """A factor of a label's number, or a number alone if the label is empty."""

    factor: float
    label: str
    at: str = ""


class _Order(msgspec.Struct, frozen=True):
    """Sides with the sign before each but the first; ``texts`` are the sides as written."""

    sides: tuple[tuple[_Term, ...], ...]
    signs: tuple[Literal[1, -1], ...]
    texts: tuple[str, ...]

    @property
    def terms(self) -> list[_Term]:
        """All terms that have a label."""
        return [term for side in self.sides for term in side if term.label]


_NUMBER = r"\d+(?:\.\d+)?"


def inequalities(table: Table, claim: Claim) -> list[Inequality]:
    """Return every comparison of a claim.

    Raises:
        ValueError: an order is malformed, names an unknown label or compares nothing, or the orders
            contradict each other.
    """
    compared = [
        inequality
        for metric in claim.metrics
        for text in claim.orders
        for inequality in _inequalities(_Grid(table, metric), claim, _parse(text))
    ]
    _refuse_circles(compared)
    return compared


def _refuse_circles(inequalities: Iterable[Inequality]) -> None:
    """Refuse cells of which each is to be above the next, and the last above the first."""
    order = TopologicalSorter[Hashable]()
    for inequality in inequalities:
        if inequality.constant <= 0:
            above, below = (
                (
                    inequality.metric,
                    frozenset(
                        (cell, abs(weight))
                        for cell, weight in inequality.weights
                        if weight * sign > 0
                    ),
                )
                for sign in (1, -1)
            )
            order.add(above, below)
    try:
        order.prepare()
    except CycleError:
        raise ValueError(
            "its orders lead back to where they begin, so that no numbers can fulfil them"
        ) from None


def claim_faults(table: Table) -> Iterator[tuple[str, str]]:
    """Yield the key and a message for every fault of a table's claims."""
    for index, claim in enumerate(table.claims):
        key = f"claims[{index}]"
        unknown = [metric for metric in claim.metrics if metric not in table.metrics]
        for metric in unknown:
            known = suggestion(metric, table.metrics)
            yield f"{key}.metric", f"metric {metric!r} is not declared; {known}"
        for metric in claim.metrics:
            if metric not in unknown and table.metrics[metric].kind == "text":
                yield f"{key}.metric", f"{metric!r} is text and has no order"
        for name in ("text", "section", "metric", "expect"):
            if not getattr(claim, name):
                yield f"{key}.{name}", "it is empty"
        if not unknown:
            try:
                inequalities(table, claim)
            except ValueError as error:
                yield f"{key}.expect", str(error)


def _parse(text: str) -> _Order:
    pieces = re.split(r"\s+([<>])\s+", text.strip())
    if len(pieces) < 3:
        raise ValueError(f"{text!r} is no order such as 'A > B', with spaces around the sign")
    return _Order(
        sides=tuple(tuple(_side(side)) for side in pieces[::2]),
        signs=tuple(1 if sign == ">" else -1 for sign in pieces[1::2]),
        texts=tuple(pieces[::2]),
    )


def _side(text: str) -> Iterator[_Term]:
    for index, term in enumerate(re.split(r"\s+-\s+", text)):
        sign = -1.0 if index else 1.0
        if re.fullmatch(_NUMBER, term):
            yield _Term(sign * float(term), "")
            continue
        times = re.fullmatch(rf"({_NUMBER})\s+\*\s+(.+)", term)
        label, _, at = (times[2] if times else term).partition(" @ ")
        if not label.strip() or re.search(r"(^|\s)[<>*@-](\s|$)", f"{label} {at}".strip()):
            raise ValueError(f"{term!r} is no label, no number and no '2 * label'")
        yield _Term(sign * float(times[1] if times else 1), label.strip(), at.strip())


class _Grid:
    """The labels of a table along both axes, and where it holds numbers of one metric."""

    def __init__(self, table: Table, metric: str) -> None:
        self.metric = metric
        # Claims are the paper's; where nothing is published they are of the table as a whole.
        self.rows = [row.label for row in table.rows if not row.own]
        self.columns = [column.label for column in table.columns if not column.own]
        self._places = {column.label: place for place, column in enumerate(table.columns)}
        self._printed = table.published.get(metric, {})
        self._computed = table.computed or table.unpublished

    def holds(self, place: Place) -> bool:
        """Whether there is a number at a place."""
        row, column = place
        printed = row in self._printed and bool(self._printed[row][self._places[column]])
        return printed or self._computed


def _inequalities(grid: _Grid, claim: Claim, order: _Order) -> Iterator[Inequality]:
    across = _across(grid, [term.label for term in order.terms])
    along, other = (grid.columns, grid.rows) if across else (grid.rows, grid.columns)
    spots = [
        spot
        for rest, labels in _settings([term.label for term in order.terms], along)
        for spot in _spots(grid, order, rest, labels, other, across)
    ]
    kept = [spot for spot in spots if not claim.only or _has_any(spot.where, claim.only)]
    for part in claim.only:
        if not any(_has_any(spot.where, [part]) for spot in spots):
            raise ValueError(f"'only' names {part!r}, which no compared cells have in common")
    if not kept:
        raise ValueError(f"{' , '.join(order.texts)!r} compares no cells of {grid.metric}")
    groups = _by_rest(kept) if claim.mean else [[spot] for spot in kept]
    for group in groups:
        for index, sign in enumerate(order.signs):
            yield _inequality(grid.metric, order, index, sign, group)


class _Spot(msgspec.Struct, frozen=True):
    """A place where an order is looked at, with the cell of each of its terms."""

    rest: str
    other: str
    cells: dict[_Term, Place]

    @property
    def where(self) -> tuple[str, str]:
        """What the compared labels have in common, and the label of the other axis."""
        return self.rest, self.other


def _by_rest(spots: Iterable[_Spot]) -> list[list[_Spot]]:
    groups: dict[str, list[_Spot]] = {}
    for spot in spots:
        groups.setdefault(spot.rest, []).append(spot)
    return list(groups.values())


def _inequality(
    metric: str, order: _Order, index: int, sign: int, spots: Sequence[_Spot]
) -> Inequality:
    weights: dict[Place, float] = {}
    constant = 0.0
    for term, weight in _weighted(order, index, sign):
        for spot in spots:
            share = weight / len(spots)
            if not term.label:
                constant += share
            else:
                cell = spot.cells[term]
                weights[cell] = weights.get(cell, 0.0) + share
    mean = f"mean of {len(spots)} places" if len(spots) > 1 else spots[0].other
    words = f"{order.texts[index]} {'>' if sign == 1 else '<'} {order.texts[index + 1]}"
    place = ", ".join(filter(None, [_shown(spots[0].rest), mean]))
    kept = tuple((cell, weight) for cell, weight in weights.items() if weight)
    if not kept:
        raise ValueError(f"{words!r} does not depend on any cell")
    return Inequality(metric, words, place, kept, constant)


def _weighted(order: _Order, index: int, sign: int) -> Iterator[tuple[_Term, float]]:
    for side, direction in zip(order.sides[index : index + 2], (sign, -sign), strict=True):
        for term in side:
            yield term, direction * term.factor


def _across(grid: _Grid, labels: Sequence[str]) -> bool:
    """Whether the labels are those of columns; rows come first."""
    for across, labelled in ((False, grid.rows), (True, grid.columns)):
        if all(any(_rest(label, full) is not None for full in labelled) for label in labels):
            return across
    for label in labels:
        if all(_rest(label, full) is None for full in [*grid.rows, *grid.columns]):
            hint = _hint(label, [*grid.rows, *grid.columns])
            raise ValueError(f"no row and no column has {label!r} in its label; {hint}")
    raise ValueError(f"neither the rows nor the columns have all of {', '.join(labels)}")


_HERE = "…"
"""Stands in the rest of a label for the part that was taken out."""


def _settings(labels: Sequence[str], axis: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield every rest that all labels share, with the whole label that each has there."""
    whole = {label: label for label in labels if label in axis}
    partial: dict[str, dict[str, str]] = {}
    for label in labels:
        if label not in whole:
            partial[label] = {
                rest: full for full in reversed(axis) if (rest := _rest(label, full)) is not None
            }
    if not partial:
        yield "", whole
        return
    first = next(iter(partial.values()))
    rests = [rest for rest in reversed(first) if all(rest in full for full in partial.values())]
    for rest in rests:
        yield rest, whole | {label: partial[label][rest] for label in partial}


def _spots(
    grid: _Grid,
    order: _Order,
    rest: str,
    labels: Mapping[str, str],
    other: Sequence[str],
    across: bool,
) -> Iterator[_Spot]:
    pins = {term.at: _pin(term.at, other) for term in order.terms if term.at}
    free = any(not term.at for term in order.terms)
    for label in other if free else [""]:
        ends = {term: (labels[term.label], pins.get(term.at, label)) for term in order.terms}
        cells = {term: (end[1], end[0]) if across else end for term, end in ends.items()}
        if all(grid.holds(cell) for cell in cells.values()):
            yield _Spot(rest, label, cells)


def _pin(part: str, labels: Sequence[str]) -> str:
    matches = (
        [part] if part in labels else [label for label in labels if _rest(part, label) is not None]
    )
    if len(matches) != 1:
        problem = (
            f"is in {len(matches)} labels" if matches else f"is unknown; {_hint(part, labels)}"
        )
        raise ValueError(f"{part!r} after '@' {problem}")
    return matches[0]


def _hint(part: str, labels: Iterable[str]) -> str:
    labels = list(dict.fromkeys(labels))
    pieces = [piece for label in labels for piece in (*label.split(" / "), *label.split())]
    near = close_names(part, [*labels, *pieces])
    return suggestion(part, near or labels)


def _has_any(labels: Iterable[str], parts: Sequence[str]) -> bool:
    return any(_rest(part, label) is not None for label in labels for part in parts)


def _rest(part: str, label: str) -> str | None:
    """Return a label without a part of it, or None if it does not have the part."""
    sections = label.split(" / ")
    start = 0
    for words in part.split(" / "):
        for index in range(start, len(sections)):
            taken = _without(words.split(), sections[index].split())
            if taken is not None:
                sections[index], start = taken, index + 1
                break
        else:
            return None
    return " / ".join(sections)


def _without(part: list[str], words: list[str]) -> str | None:
    for start in range(len(words) - len(part) + 1):
        end = start + len(part)
        if part and words[start:end] == part:
            return " ".join([*words[:start], _HERE, *words[end:]])
    return None


def _shown(rest: str) -> str:
    sections = [" ".join(section.replace(_HERE, "").split()) for section in rest.split(" / ")]
    return " / ".join(section for section in sections if section)
