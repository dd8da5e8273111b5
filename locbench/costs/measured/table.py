"""What was measured of a table's recipes, beside what was predicted and what the paper prints.

A measured value never takes a prediction's place: it belongs to one device with its libraries, and
is labelled so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Literal, TypeAlias, get_args

import msgspec

from locbench.costs.measured.store import Measurement, MeasurementStore, MeterName
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.store import PredictionStore
from locbench.costs.table_values import MEMORY
from locbench.results.record import Provenance
from locbench.spec.choices import Memory, Precision
from locbench.spec.components import Periodic
from locbench.spec.phases import global_share, weighted
from locbench.spec.recipe import Recipe
from locbench.spec.tables import Published, Table
from locbench.spec.validation import lean_obstacle

KINDS = ("predicted", "measured")
"""Kinds of metrics whose cells a measurement stands beside."""

OVERHEAD = "wall_clock_overhead"

StepKind: TypeAlias = Literal["", "local", "global", "mean"]


class CostCell(msgspec.Struct, frozen=True):
    """A recipe of which a table prints costs: the places where it does, and the costs by metric."""

    places: tuple[tuple[str, str], ...]
    recipe: Recipe
    published: dict[str, Published]


class Variant(msgspec.Struct, frozen=True):
    """Another way of taking a recipe's steps; None leaves the recipe's own."""

    memory: Memory | None = None
    precision: Precision | None = None

    def of(self, recipe: Recipe) -> Recipe | None:
        """Return the recipe in this variant; None if its method does not have it."""
        memory, precision = self.memory or recipe.memory, self.precision or recipe.precision
        varied = msgspec.structs.replace(recipe, memory=memory, precision=precision)
        return None if memory == "lean" and lean_obstacle(recipe) else varied


class MeasuredCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a step of one recipe took on one device, with and without cuDNN's search.

    Attributes:
        row, column: the first place of the table that holds a cost of the recipe.
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
    off: Reading | None
    on: Reading | None

    @property
    def predicted_share(self) -> float | None:
        """Predicted bytes in percent of the allocated ones, without cuDNN's search."""
        if self.predicted_bytes is None or self.off is None or not self.off.allocated_bytes:
            return None
        return 100 * self.predicted_bytes / self.off.allocated_bytes


def cost_cells(table: Table) -> list[CostCell]:
    """Return the recipes of which a table holds costs, in the table's order, each once."""
    metrics = {name for name, metric in table.metrics.items() if metric.kind in KINDS}
    found: dict[str, CostCell] = {}
    for cell in table.cells:
        published = {name: value for name, value in cell.published.items() if name in metrics}
        if cell.recipe is not None and (published or (table.computed and metrics)):
            first = found.get(cell.recipe.key, CostCell((), cell.recipe, {}))
            places = (*first.places, (cell.row, cell.column))
            found[cell.recipe.key] = CostCell(places, first.recipe, published | first.published)
    return list(found.values())


def phase_settings(recipe: Recipe) -> tuple[TraceOptions, ...]:
    """Return the kinds of steps that a recipe takes: with PGL's phases a local and a global one."""
    both = isinstance(recipe.composition.phases, Periodic)
    return (TraceOptions(), TraceOptions(guided=True)) if both else (TraceOptions(),)


def baseline(recipe: Recipe) -> Recipe:
    """Return what a recipe's time is held against: backpropagation in the same precision, in plain
    memory.
    """
    from locbench.costs.table_rows import backpropagation  # imports torch

    return msgspec.structs.replace(backpropagation(recipe), memory="plain")


def measured_costs(
    table: Table, measurements: MeasurementStore, predictions: PredictionStore
) -> tuple[MeasuredCost, ...]:
    """Return what is recorded of a table's costs, recipe by recipe, on whatever devices."""
    if not measurements.folder.is_dir():
        return ()
    return tuple(
        line
        for cell in cost_cells(table)
        for recipe in _variants(cell.recipe)
        for line in _lines(table, cell, recipe, measurements, predictions)
    )


def _variants(recipe: Recipe) -> Iterator[Recipe]:
    """Yield the recipe itself and then the other ways of running it that its method has."""
    ways = [Variant(), *(Variant(*way) for way in product(get_args(Memory), get_args(Precision)))]
    found = {other.key: other for way in ways if (other := way.of(recipe)) is not None}
    yield from found.values()


def _lines(
    table: Table,
    cell: CostCell,
    recipe: Recipe,
    measurements: MeasurementStore,
    predictions: PredictionStore,
) -> Iterator[MeasuredCost]:
    tried = [measurements.tried(recipe, setting) for setting in phase_settings(recipe)]
    peaks = (
        [_peak(recipe, setting, predictions) for setting in phase_settings(recipe)]
        if any(tried)
        else []
    )
    bases = measurements.of(baseline(recipe)) if any(tried) else ()
    for place in dict.fromkeys(_place(each) for step in tried for each in step):
        base = {each.benchmark: each.milliseconds for each in bases if _place(each) == place}
        own = base if recipe.key != baseline(recipe).key else {}
        here = [readings([each for each in step if _place(each) == place], own) for step in tried]
        for kind, predicted, found in _kinds(recipe, peaks, here, own):
            if found:
                yield _line(table, cell, recipe, place, kind, predicted, found)


def _kinds(
    recipe: Recipe,
    peaks: Sequence[float | None],
    here: Sequence[Readings],
    base: Mapping[bool, float],
) -> Iterator[tuple[StepKind, float | None, Readings]]:
    """Yield the recipe's steps, and with phases their mean, each with its predicted peak and its
    readings.
    """
    if len(here) == 1:
        yield "", peaks[0], here[0]
        return
    assert isinstance(recipe.composition.phases, Periodic)
    share = global_share(recipe.composition.phases, recipe.epochs)
    yield "local", peaks[0], here[0]
    yield "global", peaks[1], here[1]
    yield "mean", mixed(peaks[0], peaks[1], share), mean_readings(here[0], here[1], share, base)


def _line(
    table: Table,
    cell: CostCell,
    recipe: Recipe,
    place: tuple[str, str, MeterName],
    kind: StepKind,
    predicted: float | None,
    found: Readings,
) -> MeasuredCost:
    printed = cell.published if kind in ("", "mean") else {}
    return MeasuredCost(
        row=cell.places[0][0],
        column=cell.places[0][1],
        places=cell.places,
        variant=_variant(recipe, cell.recipe),
        step=kind,
        device=place[0],
        engine=place[1],
        meter=place[2],
        predicted_bytes=predicted,
        published_memory=printed.get(MEMORY),
        memory_unit=table.metrics[MEMORY].unit if MEMORY in table.metrics else "",
        published_overhead=printed.get(OVERHEAD),
        off=found.get(False),
        on=found.get(True),
    )


def _place(made: Measurement) -> tuple[str, str, MeterName]:
    return made.device, made.provenance.engine, made.meter


def _peak(recipe: Recipe, setting: TraceOptions, predictions: PredictionStore) -> float | None:
    step = predictions.step(recipe, setting)
    return None if step is None else step.peak


def _variant(recipe: Recipe, published: Recipe) -> str:
    words = [f"{recipe.memory} memory"] if recipe.memory != published.memory else []
    return ", ".join(
        [*words, *([recipe.precision] if recipe.precision != published.precision else [])]
    )


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one measurement says, or the mean of a local and a global step over the epochs; fields
    as in `Measurement`.

    Attributes:
        overhead: time over that of backpropagation on the same device, in percent: 100 * (t / t_BP
            - 1); None for backpropagation itself and where that was not measured.
        spread, provenance: None for a mean.
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


Readings = Mapping[bool, Reading]
"""By whether cuDNN was to search for its fastest algorithms."""


def readings(
    measurements: Sequence[Measurement], bases: Mapping[bool, float]
) -> dict[bool, Reading]:
    """Return what measurements of one step on one device say.

    Args:
        measurements: without and with cuDNN's search.
        bases: milliseconds of backpropagation, likewise; empty for backpropagation itself.
    """
    return {each.benchmark: _reading(each, bases.get(each.benchmark)) for each in measurements}


def mean_readings(
    local: Readings, guided: Readings, share: float, bases: Mapping[bool, float]
) -> dict[bool, Reading]:
    """Return the mean over the epochs where both steps were measured.

    ``share`` of the epochs are global.
    """
    return {
        benchmark: _mean(local[benchmark], guided[benchmark], share, bases.get(benchmark))
        for benchmark in local
        if benchmark in guided and not (local[benchmark].error or guided[benchmark].error)
    }


def mixed(local: float | None, guided: float | None, share: float) -> float | None:
    """Return a figure of local and of global steps, weighted by their shares of the epochs.

    None without either.
    """
    return None if local is None or guided is None else weighted(local, guided, share)


def _reading(made: Measurement, base: float | None) -> Reading:
    own = {
        name: getattr(made, name)
        for name in Reading.__struct_fields__
        if name in Measurement.__struct_fields__
    }
    return Reading(**own, overhead=_overhead(made.milliseconds, base) if made.fits else None)


def _mean(local: Reading, guided: Reading, share: float, base: float | None) -> Reading:
    milliseconds = weighted(local.milliseconds, guided.milliseconds, share)
    return Reading(
        allocated_bytes=weighted(local.allocated_bytes, guided.allocated_bytes, share),
        reserved_bytes=mixed(local.reserved_bytes, guided.reserved_bytes, share),
        first_allocated_bytes=mixed(
            local.first_allocated_bytes, guided.first_allocated_bytes, share
        ),
        first_reserved_bytes=mixed(local.first_reserved_bytes, guided.first_reserved_bytes, share),
        occupied_bytes=max(local.occupied_bytes, guided.occupied_bytes),
        milliseconds=milliseconds,
        steps=min(local.steps, guided.steps),
        overhead=_overhead(milliseconds, base),
    )


def _overhead(milliseconds: float, base: float | None) -> float | None:
    return 100 * (milliseconds / base - 1) if base else None
