"""What was measured on devices, as blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from locbench.costs.measured.table import MeasuredCost, MeasurementSummary
from locbench.report.document import Block, Bullets, Cell, Grid, Heading, Row
from locbench.report.formatting import NOTHING, decimal, gigabytes, published_text
from locbench.report.provenance import versions_text
from locbench.report.text import heading
from locbench.spec.tables import Table

_METERS = {"cuda allocator": "CUDA caching allocator", "cpu allocator": "CPU allocator"}

_STEPS = {"": "", "local": "local step", "global": "global step", "mean": "mean over epochs"}


def measured_blocks(table: Table, measured: Sequence[MeasuredCost]) -> Iterator[Block]:
    """Yield one section per device, engine and meter: grids, and what their numbers are."""
    places = dict.fromkeys((cost.device, cost.engine, cost.meter) for cost in measured)
    for number, (device, engine, meter) in enumerate(places, start=1):
        costs = [c for c in measured if (c.device, c.engine, c.meter) == (device, engine, meter)]
        section = f"Measured on {device} ({_METERS[meter]}, engine {engine})"
        yield Heading(2, section)
        for name, caption, columns in (
            ("allocated", _ALLOCATED_CAPTION[meter], _ALLOCATED),
            ("reserved", "GPU memory (GB), reserved, and allocated in the first steps", _RESERVED),
            ("time", "Time of a training step", _TIME),
        ):
            texts = {head: [text(cost) for cost in costs] for head, text in columns}
            filled = {head: column for head, column in texts.items() if any(column)}
            if filled:
                rows = zip(map(label, costs), *filled.values(), strict=True)
                yield Grid(
                    title=f"{heading(table)}. {section}",
                    caption=caption,
                    label=f"{table.id}-measured-{number}-{name}",
                    header=("row, column", *filled),
                    align="l" + "r" * len(filled),
                    rows=tuple(Row(tuple(map(Cell, row))) for row in rows),
                )
        yield Bullets(tuple(_words(costs)), "quiet")


_ALLOCATED_CAPTION = {
    "cuda allocator": "GPU memory (GB), allocated",
    "cpu allocator": "CPU memory (GB)",
}

Column: TypeAlias = tuple[str, Callable[[MeasuredCost], str]]
"""Head and text of a column."""


def _both(
    name: str, text: Callable[[MeasurementSummary], str], unit: str = ""
) -> tuple[Column, Column]:
    """Return a column without and one with cuDNN's search for its fastest algorithms."""

    def shown(reading: MeasurementSummary | None) -> str:
        return "" if reading is None else NOTHING if reading.error else text(reading)

    return (
        (f"{name}{unit}", lambda cost: shown(cost.off)),
        (f"{name}, benchmark{unit}", lambda cost: shown(cost.on)),
    )


_ALLOCATED: tuple[Column, ...] = (
    ("paper", lambda cost: _printed_memory(cost)),
    ("predicted", lambda cost: gigabytes(cost.predicted_bytes)),
    *_both("allocated", lambda reading: gigabytes(reading.allocated_bytes)),
    ("predicted / allocated (%)", lambda cost: decimal(cost.predicted_share, 1)),
)

_RESERVED: tuple[Column, ...] = (
    *_both("reserved", lambda reading: gigabytes(reading.reserved_bytes)),
    *_both("first steps", lambda reading: gigabytes(reading.first_allocated_bytes)),
)

_MS = _both("ms", lambda reading: decimal(reading.milliseconds, 2))

_TIME: tuple[Column, ...] = (
    _MS[0],
    ("quartiles", lambda cost: _quartiles(cost.off)),
    _MS[1],
    *_both("overhead", lambda reading: decimal(reading.overhead, 1), " (%)"),
    ("paper (%)", lambda cost: published_text(cost.published_overhead)),
)


def label(cost: MeasuredCost) -> str:
    """Return a step's place in the table, and what of it is not the whole or not the paper's."""
    words = step_words(cost)
    return f"{cost.row}, {cost.column}" + (f" ({words})" if words else "")


def step_words(cost: MeasuredCost) -> str:
    """Return what of a measured step is not the whole or not the paper's; empty for nothing."""
    return ", ".join(filter(None, [cost.variant, _STEPS[cost.step]]))


def _words(costs: Sequence[MeasuredCost]) -> Iterator[str]:
    readings = [reading for cost in costs for reading in (cost.off, cost.on) if reading is not None]
    steps = sorted({reading.steps for reading in readings if not reading.error})
    counts = " or ".join(map(str, steps)) or "no"
    if costs[0].meter == "cuda allocator":
        yield (
            "allocated, reserved: torch.cuda.max_memory_allocated and max_memory_reserved over "
            f"{counts} training steps on random images at the paper's batch, after warm-up, "
            "nothing subtracted; benchmark: cuDNN searches for its fastest algorithms. "
            "first steps: allocated from the building of the network to the end of the warm-up, "
            "with what the search takes for shapes that the process meets here first. "
            "The CUDA context is in none of them."
        )
    else:
        yield (
            "allocated: bytes live at the peak of a training step in the CPU's allocator, which "
            "knows no cuDNN and takes buffers of its own: no figure of a GPU."
        )
    yield (
        f"ms: median of {counts} steps. overhead: 100 (t / t_BP - 1), t_BP measured on the same "
        "device; the paper's is of its own device. predicted: peak of live tensors; gradients stay "
        "allocated between steps in both."
    )
    yield from _remarks(costs)
    yield _sources(readings)


def _remarks(costs: Sequence[MeasuredCost]) -> Iterator[str]:
    failed: dict[str, dict[str, None]] = {}
    occupied = 0
    for cost in costs:
        for reading in (cost.off, cost.on):
            if reading is not None:
                occupied = max(occupied, reading.occupied_bytes)
                if reading.error:
                    failed.setdefault(reading.error, {})[label(cost)] = None
    for error, labels in failed.items():
        yield f"{error} ({'; '.join(labels)})"
    if occupied:
        yield (
            f"Up to {gigabytes(occupied)} GB of these figures were held before the network was "
            "built, such as cuBLAS's workspaces."
        )


def _sources(readings: Sequence[MeasurementSummary]) -> str:
    found = [reading.provenance for reading in readings if reading.provenance is not None]
    days = sorted({provenance.started[:10] for provenance in found if provenance.started})
    period = " to ".join(dict.fromkeys((days[0], days[-1]))) if days else ""
    versions = dict.fromkeys(map(versions_text, found))
    commits = ", ".join(dict.fromkeys(provenance.code for provenance in found if provenance.code))
    threads = sorted({provenance.threads for provenance in found if provenance.threads})
    words = [f"measured {period}" if period else "", *versions]
    words += [f"commit {commits}"] if commits else []
    if threads:
        plural = "s" if threads != [1] else ""
        words.append(f"{', '.join(map(str, threads))} CPU thread{plural}")
    return "; ".join(filter(None, words))


def _quartiles(reading: MeasurementSummary | None) -> str:
    if reading is None or reading.spread is None or reading.error:
        return NOTHING if reading is not None and reading.error else ""
    return f"{reading.spread[0]:.2f} to {reading.spread[1]:.2f}"


def _printed_memory(cost: MeasuredCost) -> str:
    text = published_text(cost.published_memory)
    return f"{text} {cost.memory_unit}" if text and cost.memory_unit != "GB" else text
