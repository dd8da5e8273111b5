"""Measured costs of a table's recipes, beside predicted and published ones.

A measured value never takes a prediction's place: it belongs to one device with its libraries, and
is labelled so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from locbench.costs.measured.store import Measurement, MeasurementStore, MeterName
from locbench.costs.memory.options import TraceOptions, phase_options
from locbench.costs.memory.store import PredictionStore
from locbench.costs.table_values import MEMORY
from locbench.results.record import Provenance
from locbench.spec.choices import Memory, Precision
from locbench.spec.compatibility import lean_obstacle
from locbench.spec.expression import backpropagation
from locbench.spec.phases import global_share, weighted
from locbench.spec.recipe import Recipe
from locbench.spec.tables import Published, Table

KINDS = ("predicted", "measured")
"""Kinds of metrics whose cells a measurement stands beside."""

OVERHEAD = "wall_clock_overhead"

StepKind: TypeAlias = Literal["", "local", "global", "mean"]

Place: TypeAlias = tuple[str, str, MeterName]
"""Device, engine and meter of a measurement."""


class CostCell(msgspec.Struct, frozen=True):
    """A recipe and the costs that are printed of it.

    Attributes:
        places: where a table prints them, as (row, column).
        published: by metric.
        memory_unit: of the published memory.
    """

    places: tuple[tuple[str, str], ...]
    recipe: Recipe
    published: dict[str, Published]
    memory_unit: str = ""


class Variant(msgspec.Struct, frozen=True):
    """Another way of taking a recipe's steps; None leaves the recipe's own."""

    memory: Memory | None = None
    precision: Precision | None = None

    def of(self, recipe: Recipe) -> Recipe | None:
        """Return the recipe in this variant; None if its method does not have it."""
        memory, precision = self.memory or recipe.memory, self.precision or recipe.precision
        if memory == "lean" and lean_obstacle(recipe):
            return None
        return msgspec.structs.replace(recipe, memory=memory, precision=precision)


class MeasurementSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement, or the mean of a local and a global step over the epochs.

    Attributes:
        overhead: time over that of backpropagation on the same device, in percent: 100 * (t / t_BP
            - 1); None for backpropagation itself and where that was not measured.
        spread, provenance: None for a mean.

    The others are those of `Measurement`.
    """

    allocated_bytes: float
    reserved_bytes: float | None
    first_allocated_bytes: float | None = None
    first_reserved_bytes: float | None = None
    occupied_bytes: int = 0
    milliseconds: float
    spread: tuple[float, float] | None = None
    steps: int
    overhead: float | None = None
    error: str = ""
    provenance: Provenance | None = None


class MeasuredCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a step of one recipe took on one device, with and without cuDNN's search.

    Attributes:
        row, column: the first place of the table that has a cost of the recipe; empty outside one.
        places: all of these places.
        variant: what of the step is not the paper's, such as ``lean memory``; empty for none.
        step: with PGL's phases a local or a global step or the mean over the epochs; else empty.
        device, engine, meter: what was measured on, how steps were run, and who counted the bytes.
        predicted_bytes: the predicted peak of tensors; None where it was not traced.
        published_memory, memory_unit, published_overhead: as printed; None where nothing is.
        off, on: without and with cuDNN's search for its fastest algorithms; None where not
            measured.
    """

    row: str
    column: str
    places: tuple[tuple[str, str], ...]
    variant: str
    step: StepKind
    device: str
    engine: str
    meter: MeterName
    predicted_bytes: float | None
    published_memory: Published | None
    memory_unit: str
    published_overhead: Published | None
    off: MeasurementSummary | None
    on: MeasurementSummary | None

    @property
    def predicted_share(self) -> float | None:
        """Predicted bytes in percent of the allocated ones, without cuDNN's search."""
        return None if self.off is None else self.share_of(self.off)

    def share_of(self, summary: MeasurementSummary) -> float | None:
        """Return the predicted bytes in percent of the allocated ones."""
        if self.predicted_bytes is None or not summary.allocated_bytes:
            return None
        return 100 * self.predicted_bytes / summary.allocated_bytes


def cost_cells(table: Table) -> list[CostCell]:
    """Return the recipes of which a table has costs, in the table's order, each once."""
    metrics = {name for name, metric in table.metrics.items() if metric.kind in KINDS}
    unit = table.metrics[MEMORY].unit if MEMORY in table.metrics else ""
    cells: dict[str, CostCell] = {}
    for cell in table.cells:
        published = {name: value for name, value in cell.published.items() if name in metrics}
        if cell.recipe is not None and not metrics.isdisjoint(cell.metrics):
            first = cells.get(cell.recipe.key, CostCell((), cell.recipe, {}, unit))
            places = (*first.places, (cell.row, cell.column))
            known = published | first.published
            cells[cell.recipe.key] = CostCell(places, first.recipe, known, unit)
    return list(cells.values())


def baseline(recipe: Recipe) -> Recipe:
    """Return backpropagation in a recipe's precision and plain memory, to compare its time with."""
    return msgspec.structs.replace(backpropagation(recipe), memory="plain")


def measured_costs(
    table: Table, measurements: MeasurementStore, predictions: PredictionStore
) -> tuple[MeasuredCost, ...]:
    """Return what is recorded of a table's costs, recipe by recipe, on whatever devices."""
    if not measurements.folder.is_dir():
        return ()
    return tuple(
        cost
        for cell in cost_cells(table)
        for recipe in _variants(cell.recipe)
        for cost in recipe_costs(cell, recipe, measurements, predictions)
    )


def _variants(recipe: Recipe) -> Iterator[Recipe]:
    """Yield the recipe itself and then the other ways of running it that its method has."""
    ways = [Variant(), *(Variant(*way) for way in product(get_args(Memory), get_args(Precision)))]
    varied = {other.key: other for way in ways if (other := way.of(recipe)) is not None}
    yield from varied.values()


def recipe_costs(
    cell: CostCell,
    recipe: Recipe,
    measurements: MeasurementStore,
    predictions: PredictionStore,
    options: TraceOptions = TraceOptions(),
) -> Iterator[MeasuredCost]:
    """Yield what is recorded of one recipe, device by device, with phases followed by the mean.

    Args:
        cell: what is printed of the recipe.
        recipe: that of the cell, or a variant of it.
        measurements: what is recorded.
        predictions: the predicted peaks.
        options: of the predictions.
    """
    steps = phase_options(recipe, options)
    tried = [measurements.tried(recipe, step) for step in steps]
    if not any(tried):
        return
    peaks = [step.peak if (step := predictions.step(recipe, each)) else None for each in steps]
    compared = recipe.key != baseline(recipe).key
    references = measurements.of(baseline(recipe)) if compared else ()
    for place in dict.fromkeys(_place(measurement) for step in tried for measurement in step):
        times = {each.benchmark: each.milliseconds for each in references if _place(each) == place}
        summaries = [
            {each.benchmark: _summary(each, times) for each in step if _place(each) == place}
            for step in tried
        ]
        for kind, peak, of_kind in _by_kind(recipe, peaks, summaries, times):
            if of_kind:
                yield _cost(cell, recipe, place, kind, peak, of_kind)


_Summaries: TypeAlias = Mapping[bool, MeasurementSummary]
"""By whether cuDNN was to search for its fastest algorithms."""


def _by_kind(
    recipe: Recipe,
    peaks: list[int | None],
    summaries: list[dict[bool, MeasurementSummary]],
    times: Mapping[bool, float],
) -> list[tuple[StepKind, float | None, _Summaries]]:
    """Return each kind of step with its predicted peak and what was measured of it."""
    if len(summaries) == 1:
        return [("", peaks[0], summaries[0])]
    share = global_share(recipe.composition.phases, recipe.epochs)
    (local, guided), mean_peak = summaries, _weighted(peaks[0], peaks[1], share)
    means = {
        benchmark: _mean(local[benchmark], guided[benchmark], share, times.get(benchmark))
        for benchmark in local
        if benchmark in guided and not (local[benchmark].error or guided[benchmark].error)
    }
    return [("local", peaks[0], local), ("global", peaks[1], guided), ("mean", mean_peak, means)]


def _cost(
    cell: CostCell,
    recipe: Recipe,
    place: Place,
    kind: StepKind,
    peak: float | None,
    summaries: _Summaries,
) -> MeasuredCost:
    row, column = cell.places[0] if cell.places else ("", "")
    published = cell.published if kind in ("", "mean") else {}
    variant = [f"{recipe.memory} memory"] if recipe.memory != cell.recipe.memory else []
    variant += [recipe.precision] if recipe.precision != cell.recipe.precision else []
    return MeasuredCost(
        row=row,
        column=column,
        places=cell.places,
        variant=", ".join(variant),
        step=kind,
        device=place[0],
        engine=place[1],
        meter=place[2],
        predicted_bytes=peak,
        published_memory=published.get(MEMORY),
        memory_unit=cell.memory_unit,
        published_overhead=published.get(OVERHEAD),
        off=summaries.get(False),
        on=summaries.get(True),
    )


def _place(measurement: Measurement) -> Place:
    return measurement.device, measurement.provenance.engine, measurement.meter


_COPIED = tuple(name for name in MeasurementSummary.__struct_fields__ if name != "overhead")

_AVERAGED = (
    "allocated_bytes",
    "reserved_bytes",
    "first_allocated_bytes",
    "first_reserved_bytes",
    "milliseconds",
)


def _summary(measurement: Measurement, times: Mapping[bool, float]) -> MeasurementSummary:
    """Return a measurement's figures beside the time of backpropagation, with or without search."""
    figures: dict[str, Any] = {name: getattr(measurement, name) for name in _COPIED}
    time = times.get(measurement.benchmark) if measurement.fits else None
    return MeasurementSummary(**figures, overhead=_overhead(measurement.milliseconds, time))


def _mean(
    local: MeasurementSummary, guided: MeasurementSummary, share: float, time: float | None
) -> MeasurementSummary:
    figures: dict[str, Any] = {
        name: _weighted(getattr(local, name), getattr(guided, name), share) for name in _AVERAGED
    }
    return MeasurementSummary(
        **figures,
        occupied_bytes=max(local.occupied_bytes, guided.occupied_bytes),
        steps=min(local.steps, guided.steps),
        overhead=_overhead(figures["milliseconds"], time),
    )


def _weighted(local: float | None, guided: float | None, share: float) -> float | None:
    return None if local is None or guided is None else weighted(local, guided, share)


def _overhead(milliseconds: float, baseline_milliseconds: float | None) -> float | None:
    return 100 * (milliseconds / baseline_milliseconds - 1) if baseline_milliseconds else None
