"""Measured costs of training steps, one JSON file each below ``<results>/measured``.

A measurement is a fact of a device at a time, so that nothing but the user's wish replaces it:
unlike a trace it stays when the code changes, and says with which commit and which versions it was
made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec

from locbench.costs.memory.options import TraceOptions, measured_part, step_words
from locbench.costs.trace_store import Bytes
from locbench.files import file_name
from locbench.results.json_store import JsonStore
from locbench.results.record import Provenance
from locbench.spec.recipe import Recipe

Milliseconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]

MeterName: TypeAlias = Literal["cuda allocator", "cpu allocator"]


class Measurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a training step took on a device. Nothing is subtracted from any figure.

    Attributes:
        recipe, setting: what was stepped; the recipe without its schedule.
        device: the processor's or accelerator's name.
        benchmark: whether cuDNN was to search for its fastest algorithms
            (``torch.backends.cudnn.benchmark``).
        meter: who counted the bytes.
        allocated_bytes: the allocator's peak over the measured steps: on CUDA
            ``max_memory_allocated``, on the CPU the bytes live at the peak of one more, profiled
            step.
        reserved_bytes: ``max_memory_reserved`` over the same steps; None on the CPU, whose
            allocator keeps no reserve.
        first_allocated_bytes, first_reserved_bytes: the same from the building of the network to
            the end of the warm-up: with ``benchmark`` the workspaces that cuDNN tries, of the
            shapes that this process meets here first; None on the CPU.
        occupied_bytes: what the allocator held before the network was built, and holds in the
            figures above.
        milliseconds: median time of a step.
        spread: first and third quartile of it.
        steps, warmup: measured steps, and steps before them.
        error: why there are no figures, which are 0 then; "does not fit" where memory ran out.
        provenance: versions, commit, engine and time; ``device`` of it is this device.
    """

    recipe: Recipe
    setting: TraceOptions
    device: str
    benchmark: bool
    meter: MeterName
    allocated_bytes: Bytes
    reserved_bytes: Bytes | None
    first_allocated_bytes: Bytes | None = None
    first_reserved_bytes: Bytes | None = None
    occupied_bytes: Bytes = 0
    milliseconds: Milliseconds
    spread: tuple[Milliseconds, Milliseconds]
    steps: Annotated[int, msgspec.Meta(ge=0)]
    warmup: Annotated[int, msgspec.Meta(ge=0)]
    error: str = ""
    provenance: Provenance

    @property
    def fits(self) -> bool:
        """Whether there are figures."""
        return not self.error


class MeasurementStore(JsonStore[Measurement]):
    """The measurements of a results folder, in its ``measured``, and those of further ones."""

    def __init__(self, results: Path, *others: Path) -> None:
        further = [other / "measured" for other in others]
        super().__init__(results / "measured", Measurement, others=further)

    def _fault_of(self, value: Measurement, path: Path) -> str:
        key = _step_words(value.recipe, value.setting)[-1]
        return "" if key in path.stem else "it holds another step than its name says"

    @property
    def lines(self) -> tuple[str, ...]:
        """What was passed over so far because it cannot be read, one sentence each."""
        faults = self.set_aside.why.items()
        return tuple(
            f"The measurement {path} cannot be read and counts as missing: {why}"
            for path, why in faults
        )

    def of(self, recipe: Recipe, setting: TraceOptions = TraceOptions()) -> tuple[Measurement, ...]:
        """Return what was measured of a recipe, whatever its schedule, on any device.

        They come in the order of the files' names. Those that failed, for want of memory or
        otherwise, are left out; see `tried`.
        """
        tried = self.tried(recipe, setting)
        return tuple(measurement for measurement in tried if measurement.fits)

    def tried(
        self, recipe: Recipe, setting: TraceOptions = TraceOptions()
    ) -> tuple[Measurement, ...]:
        """Return the same with what failed."""
        return tuple(self.matching(f"*-{_step_words(recipe, setting)[-1]}-*.json"))

    def find(
        self,
        recipe: Recipe,
        setting: TraceOptions,
        device: str,
        *,
        benchmark: bool,
        engine: str = "eager",
    ) -> Measurement | None:
        """Return a step's measurement on a device.

        None if it was not measured, or its file cannot be read.
        """
        return self.read(self.path(recipe, setting, device, benchmark=benchmark, engine=engine))

    def path(
        self,
        recipe: Recipe,
        setting: TraceOptions,
        device: str,
        *,
        benchmark: bool,
        engine: str = "eager",
    ) -> Path:
        """Return the file of a measurement: readable words, a key of the step, and the device."""
        *words, key = _step_words(recipe, setting)
        step = "-".join([key, device, engine, *(["benchmark"] if benchmark else [])])
        return self.folder / file_name([*words, step], ".json")

    def save(self, measurement: Measurement) -> Path:
        """Write a measurement in the place of an older one of the same step, device and engine.

        Raises:
            FailureError: it cannot be written.
        """
        path = self.path(
            measurement.recipe,
            measurement.setting,
            measurement.device,
            benchmark=measurement.benchmark,
            engine=measurement.provenance.engine,
        )
        self.write(path, measurement)
        return path


def _step_words(recipe: Recipe, setting: TraceOptions) -> list[str]:
    return step_words(recipe, measured_part(setting))
