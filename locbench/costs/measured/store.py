"""Measured costs of training steps, kept on disk: one JSON file each below ``<results>/measured``.

A measurement is a fact of a device at a time, so that nothing but the user's wish replaces it: unlike a trace it stays
when the code changes, and says with which commit and which versions it was made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec

from locbench.costs.memory.options import Setting
from locbench.costs.memory.store import timeless
from locbench.costs.trace_files import Bytes
from locbench.errors import UsageError
from locbench.files import file_name, listed, read_regular, write_atomically
from locbench.results.record import Provenance
from locbench.spec.recipe import Recipe

Milliseconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]

MeterName: TypeAlias = Literal["cuda allocator", "cpu allocator"]


class Measurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a training step took on a device. Nothing is subtracted from any figure.

    Attributes:
        recipe, setting: what was stepped; the recipe without its schedule.
        device: the processor's or accelerator's name.
        benchmark: whether cuDNN was to search for its fastest algorithms (``torch.backends.cudnn.benchmark``).
        meter: who counted the bytes.
        allocated_bytes: the allocator's peak over the measured steps: on CUDA ``max_memory_allocated``, on the CPU the
            bytes live at the peak of one more, profiled step.
        reserved_bytes: ``max_memory_reserved`` over the same steps; None on the CPU, whose allocator keeps no reserve.
        first_allocated_bytes, first_reserved_bytes: the same from the building of the network to the end of the
            warm-up: with ``benchmark`` the workspaces that cuDNN tries, of the shapes that this process meets here
            first; None on the CPU.
        occupied_bytes: what the allocator held before the network was built, and holds in the figures above.
        milliseconds: median time of a step.
        spread: first and third quartile of it.
        steps, warmup: measured steps, and steps before them.
        error: why there are no figures, which are 0 then; "does not fit" where memory ran out.
        provenance: versions, commit, engine and time; ``device`` of it is this device.
    """

    recipe: Recipe
    setting: Setting
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


class MeasurementBook:
    """The measurements of one results folder.

    Args:
        results: the results folder; measurements are in its ``measured``.

    Attributes:
        faults: what was passed over so far because it cannot be read, one sentence each.
    """

    def __init__(self, results: Path) -> None:
        self.folder = results / "measured"
        self.faults: dict[Path, str] = {}

    def of(self, recipe: Recipe, setting: Setting = Setting()) -> tuple[Measurement, ...]:
        """Return what was measured of a recipe, whatever its schedule, on any device, in the order of the files' names.

        Those that failed, for want of memory or otherwise, are left out; see `tried`.
        """
        return tuple(each for each in self.tried(recipe, setting) if each.fits)

    def tried(self, recipe: Recipe, setting: Setting = Setting()) -> tuple[Measurement, ...]:
        """Return the same with what failed."""
        return tuple(self._read(f"*-{_step_key(recipe, setting)}-*.json"))

    def find(
        self, recipe: Recipe, setting: Setting, device: str, *, benchmark: bool, engine: str = "eager"
    ) -> Measurement | None:
        """Return a step's measurement on a device; None if it was not measured, or its file cannot be read."""
        path = self.path(recipe, setting, device, benchmark=benchmark, engine=engine)
        return next(self._read(path.name), None)

    def path(self, recipe: Recipe, setting: Setting, device: str, *, benchmark: bool, engine: str = "eager") -> Path:
        """Return the file of a measurement: readable words, a key of the step, and the device."""
        words = [recipe.network, recipe.dataset, f"b{setting.batch_size or recipe.batch_size}"]
        words += ["guided"] if setting.guided else []
        step = "-".join([_step_key(recipe, setting), device, engine, *(["benchmark"] if benchmark else [])])
        return self.folder / file_name([*words, step], ".json")

    def save(self, measurement: Measurement) -> Path:
        """Write a measurement in the place of an older one of the same step, device and engine."""
        made = measurement
        path = self.path(
            made.recipe, made.setting, made.device, benchmark=made.benchmark, engine=made.provenance.engine
        )
        write_atomically(path, msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
        return path

    def _read(self, pattern: str) -> Iterator[Measurement]:
        for path in listed(self.folder):
            found = self._decoded(path) if fnmatchcase(path.name, pattern) else None
            if found is not None:
                yield found

    def _decoded(self, path: Path) -> Measurement | None:
        try:
            found = msgspec.json.decode(read_regular(path), type=Measurement)
            if _step_key(found.recipe, found.setting) in path.stem:
                return found
            fault = "it holds another step than its name says"
        except OSError as error:
            fault = error.strerror or str(error)
        except (ValueError, RecursionError, UsageError) as error:  # msgspec's errors are ValueErrors
            fault = str(error)
        self.faults[path] = f"The measurement {path} cannot be read and counts as missing: {fault}"
        return None


def real(setting: Setting) -> Setting:
    """Return what of a setting decides a real step; the rest tells how a step is traced."""
    names = ("batch_size", "side", "classes", "guided", "keep_gradients")
    return Setting(**{name: getattr(setting, name) for name in names})


def _step_key(recipe: Recipe, setting: Setting) -> str:
    content = timeless(recipe).key.encode() + msgspec.json.encode(real(setting), order="deterministic")
    return hashlib.sha256(content).hexdigest()[:12]
