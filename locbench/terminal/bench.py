"""How `locbench bench` shows what it found: grids on a terminal, plain lines elsewhere, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from locbench.bench.results import Found, Line, Shares, Speeds, Spread, ratios
from locbench.report.machine_formats import as_cell

Column = tuple[str, Callable[[Line], str]]


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _milliseconds(value: float) -> str:
    return _number(value, 1 if value >= 100 else 2)


def _time(line: Line) -> str:
    return _milliseconds(line.milliseconds.median) if line.milliseconds else ""


def _range(line: Line) -> str:
    took = line.milliseconds
    return f"{_milliseconds(took.least)} to {_milliseconds(took.most)}" if took else ""


def _over(line: Line) -> str:
    return "" if line.overhead is None else f"{line.overhead:+.1f}"


def _percent(share: float | None) -> str:
    return _number(None if share is None else 100 * share, 1)


def _median(spread: Spread | None) -> str:
    return _number(spread.median if spread else None)


def _gigabytes(line: Line) -> str:
    return _number(line.prepared.peak_bytes / 1e9, 3) if line.prepared else ""


def _compiling(line: Line) -> str:
    return _number(line.prepared.compile_seconds or None, 1) if line.prepared else ""


TIMES: tuple[Column, ...] = (
    ("ms/step", _time),
    ("range", _range),
    ("images/s", lambda line: _number(line.images_per_second, 0)),
    ("x reference", lambda line: _median(line.speedup)),
    ("over BP (%)", _over),
    ("paper (%)", lambda line: line.published_overhead),
)

RESOURCES: tuple[Column, ...] = (
    ("roofline (%)", lambda line: _percent(line.roofline_share)),
    ("memory (GB)", _gigabytes),
    ("start (s)", lambda line: _number(line.prepared.seconds, 1) if line.prepared else ""),
    ("compile (s)", _compiling),
    ("epoch (s)", lambda line: _number(line.epoch_seconds, 1)),
    ("x reference", lambda line: _number(line.epoch_speedup)),
)


def print_found(console: Console, found: Found) -> None:
    """Print everything: on a terminal two grids per network, else one line per step and engine."""
    for network, group in groupby(found.lines, key=lambda line: line.network):
        lines = list(group)
        title = f"{network}, batch {lines[0].batch_size}, {found.precision}"
        if console.is_terminal:
            for caption, columns in (
                ("time of a training step", TIMES),
                ("what it takes", RESOURCES),
            ):
                console.print(Text(f"{title}: {caption}", style="bold"))
                console.print(_grid(lines, columns))
        else:
            for line in lines:
                console.print(plain_line(line), markup=False, soft_wrap=True)
        for line in lines:
            if line.error:
                console.print(
                    f"{_label(line)}, {line.engine}: {line.error}", markup=False, soft_wrap=True
                )
    for sentence in (*_data(found), *_legend(found), _provenance(found)):
        console.print(Text(sentence, style="dim"), soft_wrap=not console.is_terminal)


def plain_line(line: Line) -> str:
    """Return one line of text: which step, and every figure with its name."""
    figures = [f"{name} {text}" for name, write in (*TIMES, *_EPOCH) if (text := write(line))]
    return f"{line.network} {_label(line)}, {_engine(line)}: {', '.join(figures) or 'not timed'}"


_EPOCH: tuple[Column, ...] = (*RESOURCES[:-1], ("x reference's epoch", RESOURCES[-1][1]))


def _grid(lines: Sequence[Line], columns: Sequence[Column]) -> Grid:
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    shown = [(name, write) for name, write in columns if any(write(line) for line in lines)]
    grid.add_column("")
    for name, _ in shown:
        grid.add_column(name, justify="right", no_wrap=True)
    for label, group in groupby(lines, key=_label):
        grid.add_row(Text(label), *([""] * len(shown)))
        for line in group:
            grid.add_row(Text(f"  {_engine(line)}"), *(write(line) for _, write in shown))
    return grid


def _label(line: Line) -> str:
    return line.method + (f" ({line.phase})" if line.phase else "")


def _engine(line: Line) -> str:
    return line.engine if line.ran in ("", line.engine) else f"{line.engine} (ran {line.ran})"


def _data(found: Found) -> Iterator[str]:
    if found.data:
        yield f"augmented batches: {_speeds(found.data)} ({found.images:,} random images per round)."
    for network, speeds in found.evaluation.items():
        yield f"evaluation of {network}: {_speeds(speeds)}."
    if found.bandwidth:
        yield f"measured: {found.bandwidth / 1e9:,.1f} GB/s copied, {found.peak / 1e9:,.0f} GFLOP/s multiplied."
    for each in found.skipped:
        yield f"left out: {each.what}: {each.why}."


def _speeds(speeds: Speeds) -> str:
    ours = f"{Spread.of(speeds.ours).median:,.0f} images/s"
    if not speeds.reference:
        return ours
    ratio = Spread.of(ratios(speeds.ours, speeds.reference))
    plain = Spread.of(speeds.reference).median
    return f"{ours}, one by one {plain:,.0f}: x {ratio.median:.2f} ({ratio.least:.2f} to {ratio.most:.2f})"


def _legend(found: Found) -> Iterator[str]:
    if not found.lines:
        return
    rounds = max(len(line.rounds) for line in found.lines)
    yield f"ms/step: median of {rounds} rounds in which all took turns; range: fastest to slowest round."
    if any(line.speedup for line in found.lines):
        plain = "the plain way (on CUDA with cuDNN's search for its fastest algorithms, which ours goes without)"
        yield f"x reference: how many times as fast as {plain}, the median of the rounds' ratios."
    yield (
        "over BP: 100 (t / t_BP - 1) by the same engine; paper: as published, on its own device and batch. roofline: "
        "least time of the step's operations by the measured figures over the time; joined operations can pass it."
    )
    memory = (
        "CUDA allocator's peak in a step"
        if found.lines[0].meter == "cuda allocator"
        else "CPU allocator's peak"
    )
    yield (
        f"memory: {memory}. start: building and first steps, compiling or capturing among them. epoch: estimated from "
        "steps, images and evaluation for the whole data set; the reference's workers as if with cores of their own."
    )


def _provenance(found: Found) -> str:
    made = found.provenance
    versions = ", ".join(f"{name} {each}" for name, each in made.versions.items())
    commit = f"commit {made.code}" if made.code else ""
    threads = (
        f"{found.threads} CPU thread{'' if found.threads == 1 else 's'}" if found.threads else ""
    )
    words = [
        found.device,
        threads,
        found.precision,
        versions,
        commit,
        made.started,
        f"{made.seconds:.0f} s in all",
    ]
    return "; ".join(filter(None, words))


def found_entry(found: Found) -> dict[str, Any]:
    """Return everything as plain JSON types."""
    entry: dict[str, Any] = msgspec.to_builtins(found)
    return entry


CSV_COLUMNS = (
    *(
        "network",
        "method",
        "phase",
        "engine",
        "ran",
        "batch_size",
        "milliseconds",
        "fastest",
        "slowest",
    ),
    *(
        "images_per_second",
        "speedup",
        "speedup_least",
        "speedup_most",
        "over_bp_percent",
        "published_percent",
    ),
    *(
        "roofline_percent",
        "roofline_ms",
        "moved_bytes",
        "flops",
        "peak_bytes",
        "predicted_peak_bytes",
        "meter",
    ),
    *("prepare_seconds", "compile_seconds", "epoch_seconds", "epoch_speedup", "rounds", "steps"),
    *("precision", "threads", "device", "torch", "commit", "dirty", "started", "error"),
)


def csv_text(found: Found) -> str:
    """Return the lines as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    rows = (_csv_row(line, found) for line in found.lines)
    writer.writerows({name: as_cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _csv_row(line: Line, found: Found) -> Mapping[str, object]:
    took, speedup, bound, prepared = line.milliseconds, line.speedup, line.bound, line.prepared
    made = found.provenance
    row: dict[str, object] = {
        name: getattr(line, name) for name in CSV_COLUMNS if name in Line.__struct_fields__
    }
    row |= {
        "rounds": len(line.rounds),
        "precision": found.precision,
        "threads": found.threads,
        "device": found.device,
    }
    row |= {"torch": made.versions.get("torch", ""), "commit": made.commit, "dirty": made.dirty}
    row |= {
        "started": made.started,
        "published_percent": line.published_overhead,
        "over_bp_percent": line.overhead,
    }
    row |= {"milliseconds": None, "speedup": None}
    if took:
        row |= {"milliseconds": took.median, "fastest": took.least, "slowest": took.most}
    if speedup:
        row |= {
            "speedup": speedup.median,
            "speedup_least": speedup.least,
            "speedup_most": speedup.most,
        }
    if bound:
        row |= {
            "roofline_ms": bound.milliseconds,
            "moved_bytes": bound.moved_bytes,
            "flops": bound.flops,
        }
        row["predicted_peak_bytes"] = bound.predicted_peak_bytes
    if line.roofline_share is not None:
        row["roofline_percent"] = 100 * line.roofline_share
    if prepared:
        row |= {"peak_bytes": prepared.peak_bytes, "prepare_seconds": prepared.seconds}
        row["compile_seconds"] = prepared.compile_seconds
    return row


def print_shares(console: Console, found: Mapping[str, Shares]) -> None:
    """Print where the time of a step goes, one row or line per kind of step."""
    legend = "Under PyTorch's profiler, which slows steps down; an operation's own time. overhead: Python and launches."
    if console.is_terminal:
        console.print(_shares_grid(found))
    else:
        for label, shares in found.items():
            parts = ", ".join(
                f"{name} {_percent(own / shares.milliseconds)} %"
                for name, own in shares.kinds.items()
            )
            console.print(
                f"{label}: {_milliseconds(shares.milliseconds)} ms/step: {parts}", soft_wrap=True
            )
    console.print(Text(legend, style="dim"), soft_wrap=not console.is_terminal)


def _shares_grid(found: Mapping[str, Shares]) -> Grid:
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    grid.add_column("% of a step")
    names = list(next(iter(found.values())).kinds)
    for name in ("ms/step", *names):
        grid.add_column(name, justify="right", no_wrap=True)
    for label, shares in found.items():
        parts = [_percent(shares.kinds[name] / shares.milliseconds) for name in names]
        grid.add_row(Text(label), _milliseconds(shares.milliseconds), *parts)
    return grid
