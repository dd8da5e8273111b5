"""What measurements of one device say of a step, as a report shows it. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from locbench.costs.measurement_book import Measurement
from locbench.results.record import Provenance


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one measurement says, or the mean of a local and a global step over the epochs; fields as in `Measurement`.

    Attributes:
        overhead: time over that of backpropagation on the same device, in percent: 100 * (t / t_BP - 1); None for
            backpropagation itself and where that was not measured.
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


def readings(measurements: Sequence[Measurement], bases: Mapping[bool, float]) -> dict[bool, Reading]:
    """Return what measurements of one step on one device say.

    Args:
        measurements: without and with cuDNN's search.
        bases: milliseconds of backpropagation, likewise; empty for backpropagation itself.
    """
    return {each.benchmark: _reading(each, bases.get(each.benchmark)) for each in measurements}


def mean_readings(local: Readings, guided: Readings, share: float, bases: Mapping[bool, float]) -> dict[bool, Reading]:
    """Return the mean over the epochs where both steps were measured; ``share`` of the epochs are global."""
    return {
        benchmark: _mean(local[benchmark], guided[benchmark], share, bases.get(benchmark))
        for benchmark in local
        if benchmark in guided and not (local[benchmark].error or guided[benchmark].error)
    }


def mixed(local: float | None, guided: float | None, share: float) -> float | None:
    """Return a figure of local and of global steps, weighted by their shares of the epochs; None without either."""
    return None if local is None or guided is None else (1 - share) * local + share * guided


def _reading(made: Measurement, base: float | None) -> Reading:
    own = {name: getattr(made, name) for name in Reading.__struct_fields__ if name in Measurement.__struct_fields__}
    return Reading(**own, overhead=_overhead(made.milliseconds, base) if made.fits else None)


def _mean(local: Reading, guided: Reading, share: float, base: float | None) -> Reading:
    milliseconds = (1 - share) * local.milliseconds + share * guided.milliseconds
    return Reading(
        allocated_bytes=(1 - share) * local.allocated_bytes + share * guided.allocated_bytes,
        reserved_bytes=mixed(local.reserved_bytes, guided.reserved_bytes, share),
        first_allocated_bytes=mixed(local.first_allocated_bytes, guided.first_allocated_bytes, share),
        first_reserved_bytes=mixed(local.first_reserved_bytes, guided.first_reserved_bytes, share),
        occupied_bytes=max(local.occupied_bytes, guided.occupied_bytes),
        milliseconds=milliseconds,
        steps=min(local.steps, guided.steps),
        overhead=_overhead(milliseconds, base),
    )


def _overhead(milliseconds: float, base: float | None) -> float | None:
    return 100 * (milliseconds / base - 1) if base else None
