"""Calibrations of predicted memory, and how far off they are.

A calibrated value stands beside a prediction, never in its place: its constants are fitted to the
numbers that it is compared with, and say something of the paper's device and libraries, not of the
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
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table
from locbench.spec.tables import Calibration, Table, Term

Role: TypeAlias = Literal["fitted", "held out", "unfit"]
ROLES: tuple[Role, ...] = ("fitted", "held out", "unfit")


class Calibrated(msgspec.Struct, frozen=True):
    """A published memory beside its prediction with and without calibration, in ``unit``.

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
    """How far the values of one paper and role are from what is printed, in ``unit``.

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
    if table.calibration is None:
        return ()
    # The terms are of the whole table, even where this one is only a part of itself.
    source = load_table(table.calibration.of or table.id)
    assert source.calibration is not None
    fitted, scale = _fitted_keys(source, source.calibration), memory_scale(table)
    unfit, unit = table.calibration.unfit_places, table.metrics[MEMORY].unit
    values = []
    for cell in table.cells:
        published = cell.published[MEMORY].value if MEMORY in cell.published else None
        if cell.recipe is None or published is None:
            continue
        footprint = predictions.footprint(cell.recipe)
        calibrated = _calibrated_bytes(cell.recipe, footprint, source.calibration, predictions)
        if footprint is None or calibrated is None:
            continue
        place = cell.row, cell.column
        role: Role = "fitted" if cell.recipe.key in fitted else "held out"
        role, why = ("unfit", unfit[place]) if place in unfit else (role, "")
        numbers = published, footprint.mean / scale, calibrated / scale
        values.append(Calibrated(table.paper_name, table.id, *place, *numbers, role, why, unit))
    return tuple(values)


def _fitted_keys(source: Table, calibration: Calibration) -> set[str]:
    places = {place for term in calibration.terms for place in term.fitted}
    return {
        cell.recipe.key
        for cell in source.cells
        if cell.recipe and (cell.row, cell.column) in places
    }


def _calibrated_bytes(
    recipe: Recipe,
    footprint: Footprint | None,
    calibration: Calibration,
    predictions: PredictionStore,
) -> float | None:
    if calibration.legacy:
        as_in_2022 = predictions.footprint(recipe, legacy(TraceOptions()))
        return None if as_in_2022 is None else as_in_2022.mean
    if footprint is None:
        return None
    return footprint.averaged(lambda step: max(_totals(step, calibration.terms)))


def _totals(step: TracedStep, terms: list[Term]) -> Iterator[float]:
    yield step.peak
    for term in terms:
        base = term.base(step.peak, step.backwards)
        if base is not None:
            yield base + term.gigabytes * 1e9


def residuals(values: Iterable[Calibrated]) -> list[Residuals]:
    """Summarise calibrated values by paper and role.

    A number that two tables of a paper print counts once.
    """
    groups: dict[tuple[str, Role], dict[tuple[float, float], Calibrated]] = {}
    for value in values:
        group = groups.setdefault((value.paper, value.role), {})
        group[value.published, value.predicted] = value
    order = sorted(groups, key=lambda group: (group[0], ROLES.index(group[1])))
    return [_residuals(paper, role, list(groups[paper, role].values())) for paper, role in order]


def _residuals(paper: str, role: Role, values: list[Calibrated]) -> Residuals:
    before = [abs(value.predicted - value.published) for value in values]
    after = [abs(value.residual) for value in values]
    return Residuals(
        paper=paper,
        role=role,
        n=len(values),
        mean_before=statistics.fmean(before),
        worst_before=max(before),
        mean=statistics.fmean(after),
        worst=max(after),
        within=sum(abs(value.residual) <= 0.01 * value.published for value in values),
        unit=values[0].unit,
    )
