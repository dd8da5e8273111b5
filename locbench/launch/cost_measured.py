"""Measured steps beside predicted ones; a measurement never takes a prediction's place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from locbench.costs.measured_costs import phase_settings
from locbench.costs.measurement_book import Measurement, MeasurementBook
from locbench.costs.rows import CostRow
from locbench.launch.cost_grids import Column, Group, Labels, print_grids
from locbench.launch.cost_labels import full_label

LEGEND = (
    "measured: on that device, at the same batch; allocated, reserved: by the allocator over a training step, nothing "
    "subtracted; time: of a step; predicted: share of what was allocated."
)


class MeasuredStep(msgspec.Struct, frozen=True):
    """One measurement of a recipe's step, and the prediction for the same step.

    Attributes:
        step: ``local`` or ``global`` with PGL's phases; else empty.
        predicted_bytes: the predicted peak of this kind of step.
    """

    step: str
    predicted_bytes: int
    made: Measurement

    @property
    def predicted_percent(self) -> float | None:
        """Predicted bytes in percent of the allocated ones; None where nothing was."""
        return 100 * self.predicted_bytes / self.made.allocated_bytes if self.made.allocated_bytes else None


def measured_steps(row: CostRow, book: MeasurementBook) -> tuple[MeasuredStep, ...]:
    """Return what was measured of a row's recipe, in its own variant, on any device."""
    phases = len(phase_settings(row.recipe)) > 1
    found = []
    for each in phase_settings(row.recipe):
        predicted = row.memory_guided_bytes if each.guided else row.memory_local_bytes
        step = ("global" if each.guided else "local") if phases else ""
        own = book.of(row.recipe, each)
        for made in sorted(own, key=lambda made: (made.device, made.provenance.engine, made.benchmark)):
            found.append(MeasuredStep(step, predicted or row.memory_peak_bytes, made))
    return tuple(found)


def measured_entry(measured: MeasuredStep) -> dict[str, Any]:
    """Return a measurement as plain JSON types: bytes and milliseconds."""
    names = ("device", "benchmark", "meter", "allocated_bytes", "reserved_bytes", "milliseconds", "steps")
    own = {name: getattr(measured.made, name) for name in names}
    shares = {"predicted_bytes": measured.predicted_bytes, "predicted_percent": measured.predicted_percent}
    return {"step": measured.step, "engine": measured.made.provenance.engine} | own | shares


def print_measured_steps(console: Console, labels: Labels, steps: Sequence[tuple[MeasuredStep, ...]]) -> None:
    """Print what was measured of each row, device by device; nothing where nothing was."""
    found = [(index, each) for index, own in enumerate(steps) for each in own]
    if not found:
        return
    found.sort(key=lambda pair: _device(pair[1]))
    made = [each.made for _, each in found]
    names = tuple(" ".join(filter(None, (full_label(labels, index), each.step))) for index, each in found)
    columns = (
        _column(("cuDNN", "benchmark"), ["on" if each.benchmark else "off" for each in made]),
        _column(("allocated", "(GB)"), [_gigabytes(each.allocated_bytes) for each in made]),
        _column(("reserved", "(GB)"), [_gigabytes(each.reserved_bytes) for each in made]),
        _column(("time", "(ms)"), [f"{each.milliseconds:.1f}" for each in made]),
        _column(("predicted", "(%)"), [_percent(each) for _, each in found]),
    )
    console.print()
    print_grids(console, Labels("measured", tuple(_device(each) for _, each in found), names), [Group(columns)])
    console.print(Text(LEGEND, style="dim"))


def _device(measured: MeasuredStep) -> str:
    return f"{measured.made.device}, {measured.made.provenance.engine}"


def _column(head: tuple[str, str], texts: Sequence[str]) -> Column:
    return Column(head, tuple(map(Text, texts)))


def _gigabytes(count: int | None) -> str:
    return "" if count is None else f"{count / 1e9:.3f}"


def _percent(measured: MeasuredStep) -> str:
    share = measured.predicted_percent
    return "" if share is None else f"{share:.1f}"
