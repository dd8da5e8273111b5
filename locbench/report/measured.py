"""What was measured on devices, in words and columns, the same in every format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from locbench.costs.measured.table import MeasuredCost, MeasurementSummary
from locbench.report.document import Block, Bullets, Cell, Grid, Heading, Row
from locbench.report.formatting import NOTHING
from locbench.report.text import heading
from locbench.spec.tables import Table

_METERS = {"cuda allocator": "CUDA caching allocator", "cpu allocator": "CPU allocator"}

_STEPS = {"": "", "local": "local step", "global": "global step", "mean": "mean over epochs"}

Text = Callable[[MeasuredCost], str]


def measured_blocks(table: Table, measured: Sequence[MeasuredCost]) -> Iterator[Block]:
    """Yield one section per device, engine and meter: grids, and what a reader must know of them."""
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

_ALLOCATED: tuple[tuple[str, Text], ...] = (
    ("paper", lambda each: _printed_memory(each)),
    ("predicted", lambda each: _gigabytes(each.predicted_bytes)),
    ("allocated", lambda each: _of(each.off, lambda found: _gigabytes(found.allocated_bytes))),
    (
        "allocated, benchmark",
        lambda each: _of(each.on, lambda found: _gigabytes(found.allocated_bytes)),
    ),
    ("predicted / allocated (%)", lambda each: _decimal(each.predicted_share, 1)),
)

_RESERVED: tuple[tuple[str, Text], ...] = (
    ("reserved", lambda each: _of(each.off, lambda found: _gigabytes(found.reserved_bytes))),
    (
        "reserved, benchmark",
        lambda each: _of(each.on, lambda found: _gigabytes(found.reserved_bytes)),
    ),
    (
        "first steps",
        lambda each: _of(each.off, lambda found: _gigabytes(found.first_allocated_bytes)),
    ),
    (
        "first steps, benchmark",
        lambda each: _of(each.on, lambda found: _gigabytes(found.first_allocated_bytes)),
    ),
)

_TIME: tuple[tuple[str, Text], ...] = (
    ("ms", lambda each: _of(each.off, lambda found: _decimal(found.milliseconds, 2))),
    ("quartiles", lambda each: _of(each.off, _quartiles)),
    ("ms, benchmark", lambda each: _of(each.on, lambda found: _decimal(found.milliseconds, 2))),
    ("overhead (%)", lambda each: _of(each.off, lambda found: _decimal(found.overhead, 1))),
    (
        "overhead, benchmark (%)",
        lambda each: _of(each.on, lambda found: _decimal(found.overhead, 1)),
    ),
    ("paper (%)", lambda each: each.published_overhead.text if each.published_overhead else ""),
)


def label(each: MeasuredCost) -> str:
    """Return which step was measured: its place in the table, and what of it is not the whole or
    not the paper's.
    """
    words = step_words(each)
    return f"{each.row}, {each.column}" + (f" ({words})" if words else "")


def step_words(each: MeasuredCost) -> str:
    """Return what of a measured step is not the whole or not the paper's; empty for nothing."""
    return ", ".join(filter(None, [each.variant, _STEPS[each.step]]))


def _words(own: Sequence[MeasuredCost]) -> Iterator[str]:
    found = [reading for each in own for reading in (each.off, each.on) if reading is not None]
    steps = sorted({each.steps for each in found if not each.error})
    counts = " or ".join(map(str, steps)) or "no"
    if own[0].meter == "cuda allocator":
        yield (
            f"allocated, reserved: torch.cuda.max_memory_allocated and max_memory_reserved over {counts} training "
            "steps on random images at the paper's batch, after warm-up, nothing subtracted; benchmark: cuDNN searches "
            "for its fastest algorithms. first steps: allocated from the building of the network to the end of the "
            "warm-up, with what the search takes for shapes that the process meets here first. The CUDA context is in "
            "none of them."
        )
    else:
        yield (
            "allocated: bytes live at the peak of a training step in the CPU's allocator, which knows no cuDNN and "
            "takes buffers of its own: no figure of a GPU."
        )
    yield (
        f"ms: median of {counts} steps. overhead: 100 (t / t_BP - 1), t_BP measured on the same device; the "
        "paper's is of its own device. predicted: peak of live tensors; gradients stay allocated between steps in both."
    )
    yield from _remarks(own)
    yield from _sources(found)


def _remarks(own: Sequence[MeasuredCost]) -> Iterator[str]:
    failed: dict[str, dict[str, None]] = {}
    for each in own:
        for reading in (each.off, each.on):
            if reading is not None and reading.error:
                failed.setdefault(reading.error, {})[label(each)] = None
    for error, labels in failed.items():
        yield f"{error} ({'; '.join(labels)})"
    occupied = max(
        (each.occupied_bytes for one in own for each in (one.off, one.on) if each), default=0
    )
    if occupied:
        held = _gigabytes(occupied)
        yield f"Up to {held} GB of these figures were held before the network was built, such as cuBLAS's workspaces."


def _sources(found: Sequence[MeasurementSummary]) -> Iterator[str]:
    made = [each.provenance for each in found if each.provenance is not None]
    commits = dict.fromkeys(each.code for each in made if each.code)
    versions = dict.fromkeys(
        ", ".join(f"{name} {each}" for name, each in one.versions.items()) for one in made
    )
    days = sorted({each.started[:10] for each in made if each.started})
    period = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}" if days else ""
    words = [f"measured {period}" if period else "", *versions]
    words += [f"commit {', '.join(commits)}"] if commits else []
    threads = sorted({each.threads for each in made if each.threads})
    words += (
        [f"{', '.join(map(str, threads))} CPU thread{'s' if threads != [1] else ''}"]
        if threads
        else []
    )
    yield "; ".join(filter(None, words))


def _of(reading: MeasurementSummary | None, write: Callable[[MeasurementSummary], str]) -> str:
    if reading is None:
        return ""
    return NOTHING if reading.error else write(reading)


def _quartiles(reading: MeasurementSummary) -> str:
    return "" if reading.spread is None else f"{reading.spread[0]:.2f} to {reading.spread[1]:.2f}"


def _gigabytes(count: float | None) -> str:
    # A small network's steps take thousandths of a GB.
    return "" if count is None else f"{count / 1e9:.{3 if count >= 1e8 else 5}f}"


def _decimal(number: float | None, digits: int) -> str:
    return "" if number is None else f"{number:.{digits}f}"


def _printed_memory(each: MeasuredCost) -> str:
    if each.published_memory is None:
        return ""
    return (
        each.published_memory.text
        if each.memory_unit == "GB"
        else f"{each.published_memory.text} {each.memory_unit}"
    )
