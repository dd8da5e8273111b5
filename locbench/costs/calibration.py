"""What papers' memory holds beyond tensors: predictions calibrated on some of a paper's numbers,
tested on the rest.

A calibrated value stands beside a prediction, never in its place: its constants are fitted to the
numbers that it is held against, and say something of the paper's device and libraries, not of the
method.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec

from locbench.costs.memory.options import TraceOptions, legacy
from locbench.costs.memory.store import Footprint, PredictionStore, TracedStep
from locbench.costs.table_values import MEMORY, memory_scale
from locbench.spec.table_files import load_table
from locbench.spec.tables import Calibration, Cell, Table, Term

Role: TypeAlias = Literal["fitted", "held out", "unfit"]
ROLES: tuple[Role, ...] = ("fitted", "held out", "unfit")


class Calibrated(msgspec.Struct, frozen=True):
    """A published memory, its prediction, and the prediction with the paper's calibration; in
    ``unit``.

    Attributes:
        paper, table, row, column: where it is printed.
        role: whether the calibration was ``fitted`` on it, may be tested on it (``held out``), or
            is known not to fit.
        why: why it does not fit; empty for others.
        unit: ``GB`` (10^9 bytes) or ``MiB``, as the table prints memory.
    """

    paper: str
    table: str
    row: str
    column: str
    published: float
    predicted: float
    calibrated: float
    role: Role
    why: str = ""
    unit: str = "GB"

    @property
    def residual(self) -> float:
        """Calibrated - published."""
        return self.calibrated - self.published


class Residuals(msgspec.Struct, frozen=True, kw_only=True):
    """How far predictions and calibrated values of one paper and role are from what is printed, in
    ``unit``.

    Attributes:
        n: number of different published numbers.
        mean_before, worst_before: mean and largest absolute difference of the predictions.
        mean, worst: the same after calibration.
        within: number of calibrated values that are at most 1 % off.
    """

    paper: str
    role: Role
    n: int
    mean_before: float
    worst_before: float
    mean: float
    worst: float
    within: int = 0
    unit: str = "GB"


def calibrated_values(table: Table, predictions: PredictionStore) -> tuple[Calibrated, ...]:
    """Return every published memory of a table beside its prediction with and without calibration.

    Empty for a table without calibration; what the store lacks is left out.
    """
    calibration = table.calibration
    if calibration is None:
        return ()
    source = load_table(
        calibration.of or table.id
    )  # whole, even where the table is only a part of itself
    assert source.calibration is not None
    fitted, scale = _fitted_keys(source, source.calibration), memory_scale(table)
    unit = table.metrics[MEMORY].unit
    values = []
    for cell in table.cells:
        published, footprint = _published(cell), _footprint(cell, predictions)
        calibrated = _calibrated(cell, footprint, source.calibration, predictions)
        if published is not None and footprint is not None and calibrated is not None:
            role, why = _role(cell, calibration, fitted)
            numbers = (published, footprint.mean / scale, calibrated / scale)
            values.append(
                Calibrated(table.paper, table.id, cell.row, cell.column, *numbers, role, why, unit)
            )
    return tuple(values)


def _calibrated(
    cell: Cell, footprint: Footprint | None, calibration: Calibration, predictions: PredictionStore
) -> float | None:
    """Return a cell's calibrated memory in bytes."""
    if not calibration.legacy:
        return None if footprint is None else _with_terms(footprint, calibration.terms)
    found = _footprint(cell, predictions, legacy(TraceOptions()))
    return None if found is None else found.mean


def refitted(table: Table, predictions: PredictionStore) -> list[Term]:
    """Return a table's terms with their gigabytes fitted anew: the mean of published - base over
    the fitted places.

    A term that is fitted nowhere, or whose places the store lacks, stays as it is.
    """
    places = {(cell.row, cell.column): cell for cell in table.cells}
    terms = []
    for term in table.calibration.terms if table.calibration else ():
        excesses = [
            excess
            for place in term.fitted
            if (excess := _excess(places[place], term, predictions, memory_scale(table)))
            is not None
        ]
        kept = statistics.fmean(excesses) if excesses else term.gigabytes
        terms.append(msgspec.structs.replace(term, gigabytes=kept))
    return terms


def residuals(values: Iterable[Calibrated]) -> list[Residuals]:
    """Summarise calibrated values by paper and role.

    A number that two tables of a paper print counts once.
    """
    groups: dict[tuple[str, Role], dict[tuple[float, float], Calibrated]] = {}
    for each in values:
        groups.setdefault((each.paper, each.role), {})[each.published, each.predicted] = each
    order = sorted(groups, key=lambda group: (group[0], ROLES.index(group[1])))
    return [_summary(paper, role, list(groups[paper, role].values())) for paper, role in order]


def _summary(paper: str, role: Role, values: list[Calibrated]) -> Residuals:
    before = [abs(each.predicted - each.published) for each in values]
    after = [abs(each.residual) for each in values]
    return Residuals(
        paper=paper,
        role=role,
        n=len(values),
        mean_before=statistics.fmean(before),
        worst_before=max(before),
        mean=statistics.fmean(after),
        worst=max(after),
        within=sum(abs(each.residual) <= 0.01 * each.published for each in values),
        unit=values[0].unit,
    )


def _fitted_keys(source: Table, calibration: Calibration) -> set[str]:
    places = {place for term in calibration.terms for place in term.fitted}
    return {
        cell.recipe.key
        for cell in source.cells
        if cell.recipe and (cell.row, cell.column) in places
    }


def _role(cell: Cell, calibration: Calibration, fitted: set[str]) -> tuple[Role, str]:
    for each in calibration.unfit:
        if (each.row, each.column) == (cell.row, cell.column):
            return "unfit", each.why
    return (
        ("fitted", "")
        if cell.recipe is not None and cell.recipe.key in fitted
        else ("held out", "")
    )


def _footprint(
    cell: Cell, predictions: PredictionStore, setting: TraceOptions = TraceOptions()
) -> Footprint | None:
    return (
        predictions.footprint(cell.recipe, setting)
        if cell.recipe is not None and MEMORY in cell.published
        else None
    )


def _published(cell: Cell) -> float | None:
    return cell.published[MEMORY].value if MEMORY in cell.published else None


def _with_terms(footprint: Footprint, terms: list[Term]) -> float:
    return footprint.averaged(lambda step: max(_with(step, terms)))


def _with(step: TracedStep, terms: list[Term]) -> Iterator[float]:
    yield step.peak
    for term in terms:
        base = _base(step, term)
        if base is not None:
            yield base + term.gigabytes * 1e9


def _base(step: TracedStep, term: Term) -> int | None:
    return step.backwards.get(term.shape) if term.shape else step.peak


def _excess(cell: Cell, term: Term, predictions: PredictionStore, scale: int) -> float | None:
    footprint, published = _footprint(cell, predictions), _published(cell)
    if footprint is None or published is None:
        return None
    return (
        published * scale / 1e9
        - footprint.averaged(lambda step: _base(step, term) or step.peak) / 1e9
    )
