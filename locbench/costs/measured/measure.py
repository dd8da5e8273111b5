"""Costs of training steps that are taken on a device.

A measurement stands beside a prediction, never in its place: a device holds more than tensors, and
what more depends on its libraries. The step is the training loop's own, without the loading of
images, the running sums and the tests.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import torch

from locbench.costs.measured.step_meter import (
    DOES_NOT_FIT,
    StepMeter,
    forget_workspaces,
    message_of,
    meter_of,
    switches,
)
from locbench.costs.measured.store import Measurement, MeasurementStore
from locbench.costs.measured.table import Variant, baseline, cost_cells
from locbench.costs.memory.options import TraceOptions, measured_part, phase_options
from locbench.errors import FailureError, LocbenchError
from locbench.results.provenance import now, provenance_of
from locbench.spec.recipe import Recipe, without_schedule
from locbench.spec.tables import Table
from locbench.training.device import device_name, numbered
from locbench.training.probe import PROBE_RATE, ProbeStep

_NOTHING: dict[str, Any] = {
    "allocated_bytes": 0,
    "reserved_bytes": None,
    "milliseconds": 0.0,
    "spread": (0.0, 0.0),
}
"""Figures of a step that failed."""


def measure(
    recipe: Recipe,
    device: torch.device | str,
    benchmark: bool = False,
    setting: TraceOptions = TraceOptions(),
    *,
    steps: int | None = None,
    warmup: int | None = None,
) -> Measurement:
    """Take training steps and return their costs, or of a step that fails its error.

    Args:
        recipe: what to train; its schedule is passed over.
        device: a CUDA device, or the CPU.
        benchmark: let cuDNN search for its fastest algorithms, which takes memory.
        setting: as of predictions.
        steps: how many are measured [default: 50, on the CPU 5].
        warmup: how many come before [default: 10, on the CPU 1]; at least one, since momentum
            exists from then on.

    Raises:
        FailureError: the device can take no further step.
        LocbenchError: the precision is not to be had on the device.
    """
    device = numbered(torch.device(device))
    meter = meter_of(device)
    steps, warmup = max(1, steps or meter.steps), max(1, warmup or meter.warmup)
    begun, started = time.perf_counter(), now()
    figures, error = _NOTHING, ""
    try:
        with switches(device, benchmark=benchmark):
            figures = _figures(meter, lambda: probe_step(recipe, device, setting), steps, warmup)
    except LocbenchError:
        raise
    except Exception as cause:  # one step that fails must not end a sweep; the measurement says why
        error = _why(cause)
    return Measurement(
        recipe=without_schedule(recipe),
        setting=measured_part(setting),
        device=device_name(device),
        benchmark=benchmark,
        meter=meter.name,
        steps=steps,
        warmup=warmup,
        error=error,
        provenance=provenance_of(
            device_name(device),
            started,
            round(time.perf_counter() - begun, 2),
            threads=torch.get_num_threads() if device.type == "cpu" else 0,
        ),
        **figures,
    )


def probe_step(
    recipe: Recipe, device: torch.device, setting: TraceOptions = TraceOptions()
) -> ProbeStep:
    """Return the step of a recipe with the sizes, the phase and the gradients of a setting."""
    side, batch_size = setting.side or recipe.image_size, setting.batch_size or recipe.batch_size
    changed = without_schedule(recipe, lr=PROBE_RATE, image_size=side, batch_size=batch_size)
    return ProbeStep(
        changed,
        device,
        guided=setting.guided,
        classes=setting.classes,
        keep_gradients=setting.keep_gradients,
    )


def _figures(
    meter: StepMeter, build: Callable[[], ProbeStep], steps: int, warmup: int
) -> dict[str, Any]:
    """Return the figures of a `Measurement`."""
    forget_workspaces()
    occupied = meter.start()
    step = build()
    for _ in range(warmup):
        step()
    first = meter.end_warmup()
    times = meter.milliseconds(step, steps)
    peaks = meter.peaks(step, step.resident_bytes)
    return {
        "allocated_bytes": peaks.allocated,
        "reserved_bytes": peaks.reserved,
        "first_allocated_bytes": first.allocated if first else None,
        "first_reserved_bytes": first.reserved if first else None,
        "occupied_bytes": occupied,
        "milliseconds": statistics.median(times),
        "spread": _quartiles(times),
    }


def _quartiles(times: Sequence[float]) -> tuple[float, float]:
    if len(times) < 2:
        return times[0], times[0]
    first, _, third = statistics.quantiles(times, n=4, method="inclusive")
    return first, third


def _why(cause: Exception) -> str:
    message = message_of(cause)
    if "CUDA error" in message and not message.startswith(DOES_NOT_FIT):
        raise FailureError(  # every later call of this process would fail as well
            f"the device failed: {' '.join(str(cause).split()).partition('. ')[0]}",
            "Start the command again: it goes on with what is not recorded.",
        ) from None
    return message


@dataclass(frozen=True)
class PlannedStep:
    """A step to be measured, and the place of the table that needs it."""

    recipe: Recipe
    setting: TraceOptions
    benchmark: bool
    row: str
    column: str


class MeasureListener(Protocol):
    """Is notified of measurements."""

    def measuring(self, step: PlannedStep, index: int, count: int) -> None:
        """The step number ``index`` (from 1) of ``count`` is measured now."""

    def measured(self, measurement: Measurement) -> None:
        """A measurement has been written."""


def measure_table(
    table: Table,
    measurements: MeasurementStore,
    device: torch.device | str,
    *,
    variant: Variant = Variant(),
    rerun: str | None = None,
    steps: int | None = None,
    listener: MeasureListener | None = None,
) -> list[Measurement]:
    """Measure what a table's costs lack on a device, and write each measurement at once.

    Args:
        table: the table, or a part of it.
        measurements: what is recorded, and where new measurements go.
        device: a CUDA device, or the CPU.
        variant: how steps are taken; the default is the paper's way.
        rerun: ``failed`` or ``all`` measures again what is there.
        steps: how many are measured.
        listener: is notified of every step.

    Returns:
        The new measurements, those that failed included.

    Raises:
        LocbenchError: see `measure`; or a measurement cannot be written. What was written before is
            safe.
    """
    device = torch.device(device)
    todo, new = missing_steps(table, measurements, device, variant, rerun), []
    for index, step in enumerate(todo, 1):
        if listener:
            listener.measuring(step, index, len(todo))
        measurement = measure(step.recipe, device, step.benchmark, step.setting, steps=steps)
        measurements.save(measurement)
        new.append(measurement)
        if listener:
            listener.measured(measurement)
    return new


def missing_steps(
    table: Table,
    measurements: MeasurementStore,
    device: torch.device,
    variant: Variant = Variant(),
    rerun: str | None = None,
) -> list[PlannedStep]:
    """Return the steps that `measure_table` would measure, in its order."""
    name = device_name(numbered(device))

    def is_missing(step: PlannedStep) -> bool:
        known = measurements.find(step.recipe, step.setting, name, benchmark=step.benchmark)
        return known is None or rerun == "all" or (rerun == "failed" and not known.fits)

    return [step for step in planned_steps(table, device, variant) if is_missing(step)]


def planned_steps(
    table: Table, device: torch.device, variant: Variant = Variant()
) -> list[PlannedStep]:
    """Return the steps behind a table's costs, each recipe after its backpropagation.

    On CUDA each comes without and with cuDNN's search. A recipe that has no such variant is left
    out.
    """
    searches = (False, True) if device.type == "cuda" else (False,)
    steps: dict[tuple[str, TraceOptions, bool], PlannedStep] = {}
    for cell in cost_cells(table):
        varied = variant.of(cell.recipe)
        for recipe in () if varied is None else (baseline(varied), varied):
            for setting, benchmark in product(phase_options(recipe), searches):
                step = PlannedStep(recipe, setting, benchmark, *cell.places[0])
                steps.setdefault((without_schedule(recipe).key, setting, benchmark), step)
    return list(steps.values())
