"""Results of `locbench bench`: grids on a terminal, plain lines elsewhere, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, groupby

from rich.console import Console
from rich.text import Text

from locbench.bench.official import OFFICIAL
from locbench.bench.results import BenchmarkResult, Comparison, Profile, Result, Speeds, Spread
from locbench.report.machine_formats import as_cell
from locbench.terminal.columns import Column, Group, Labels, print_grids

Figure = tuple[tuple[str, str], Callable[[Result], str]]
"""The two lines above a column, and what stands in it."""


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _milliseconds(value: float) -> str:
    return _number(value, 1 if value >= 100 else 2)


def _time(line: Result) -> str:
    return _milliseconds(line.milliseconds.median) if line.milliseconds else ""


def _range(took: Spread | None) -> str:
    return f"{_milliseconds(took.least)} to {_milliseconds(took.most)}" if took else ""


def _compared(write: Callable[[Comparison], str]) -> Callable[[Result], str]:
    return lambda line: write(line.official) if line.official else ""


def _over(line: Result) -> str:
    return "" if line.overhead is None else f"{line.overhead:+.1f}"


def _percent(share: float | None) -> str:
    return _number(None if share is None else 100 * share, 1)


def _speedup(line: Result) -> str:
    return _number(line.speedup.median) if line.speedup else ""


def _gigabytes(line: Result) -> str:
    return _number(line.prepared.peak_bytes / 1e9, 3) if line.prepared else ""


def _start(line: Result) -> str:
    return _number(line.prepared.seconds, 1) if line.prepared else ""


def _compiling(line: Result) -> str:
    return _number(line.prepared.compile_seconds or None, 1) if line.prepared else ""


TIMES: tuple[Figure, ...] = (
    (("", "ms/step"), _time),
    (("", "range"), lambda line: _range(line.milliseconds)),
    (("", "images/s"), lambda line: _number(line.images_per_second, 0)),
    (("x", "reference"), _speedup),
    (("over BP", "(%)"), _over),
    (("paper", "(%)"), lambda line: line.published_overhead),
)

RESOURCES: tuple[Figure, ...] = (
    (("roofline", "(%)"), lambda line: _percent(line.roofline_share)),
    (("memory", "(GB)"), _gigabytes),
    (("start", "(s)"), _start),
    (("compile", "(s)"), _compiling),
    (("epoch", "(s)"), lambda line: _number(line.epoch_seconds, 1)),
    (("x reference's", "epoch"), lambda line: _number(line.epoch_speedup)),
)

BESIDE_OFFICIAL: tuple[Figure, ...] = (
    (("ours", "ms/step"), _time),
    (
        ("theirs", "ms/step"),
        _compared(lambda official: _milliseconds(official.milliseconds.median)),
    ),
    (("x", "theirs"), _compared(lambda official: _number(official.speedup.median))),
    (("", "range of x"), _compared(lambda official: _range(official.speedup))),
)


def print_result(console: Console, result: BenchmarkResult) -> None:
    """Print everything: on a terminal grids per network, else one line per step and engine."""
    for network, group in groupby(result.lines, key=lambda line: line.network):
        measured = list(group)
        official = any(line.engine == OFFICIAL for line in measured)
        lines = [line for line in measured if line.engine != OFFICIAL]
        figures = [BESIDE_OFFICIAL] if official else [TIMES, RESOURCES]
        if console.is_terminal:
            title = f"{network}, batch {lines[0].batch_size}, {result.precision}"
            console.print(Text(title, style="bold"))
            labels = Labels("", tuple(map(_label, lines)), tuple(map(_engine, lines)))
            print_grids(console, labels, [_columns(lines, each) for each in figures])
        else:
            for line in lines:
                console.print(plain_line(line, figures), soft_wrap=True)
        for line in measured:
            if line.error:
                text = f"{_label(line)}, {line.engine}: {line.error}"
                console.print(text, soft_wrap=True)
    for sentence in (*_data(result), *_legend(result.lines), _provenance(result)):
        console.print(Text(sentence, style="dim"), soft_wrap=not console.is_terminal)


def plain_line(line: Result, figures: Sequence[Sequence[Figure]] = (TIMES, RESOURCES)) -> str:
    """Return one line of text: which step, and every figure with its name."""
    words = [
        f"{' '.join(filter(None, head))} {text}"
        for head, write in chain.from_iterable(figures)
        if (text := write(line))
    ]
    return f"{line.network} {_label(line)}, {_engine(line)}: {', '.join(words) or 'not timed'}"


def _columns(lines: Sequence[Result], figures: Sequence[Figure]) -> Group:
    return Group(
        tuple(Column(head, tuple(Text(write(line)) for line in lines)) for head, write in figures)
    )


def _label(line: Result) -> str:
    return line.method + (f" ({line.phase})" if line.phase else "")


def _engine(line: Result) -> str:
    return line.engine if line.ran in ("", line.engine) else f"{line.engine} (ran {line.ran})"


def _data(result: BenchmarkResult) -> Iterator[str]:
    if result.data:
        images = f"{result.images:,} random images per round"
        yield f"augmented batches: {_speeds(result.data)} ({images})."
    for network, speeds in result.evaluation.items():
        yield f"evaluation of {network}: {_speeds(speeds)}."
    if result.bandwidth:
        bandwidth, peak = f"{result.bandwidth / 1e9:,.1f}", f"{result.peak / 1e9:,.0f}"
        yield f"measured: {bandwidth} GB/s copied, {peak} GFLOP/s multiplied or convolved."
    for skipped in result.skipped:
        yield f"left out: {skipped.what}: {skipped.why}."


def _speeds(speeds: Speeds) -> str:
    ours = f"{Spread.of(speeds.ours).median:,.0f} images/s"
    if not speeds.reference:
        return ours
    reference = f"one by one {Spread.of(speeds.reference).median:,.0f}"
    ratio = Spread.of_ratios(speeds.ours, speeds.reference)
    return f"{ours}, {reference}: x {ratio.median:.2f} ({ratio.least:.2f} to {ratio.most:.2f})"


def _legend(lines: Sequence[Result]) -> Iterator[str]:
    if not lines:
        return
    rounds = max(len(line.rounds) for line in lines)
    yield (
        f"ms/step: median of {rounds} rounds in which all took turns; "
        "range: fastest to slowest round."
    )
    if any(line.official for line in lines):
        yield (
            "theirs: the official code's step, in the same rounds, by a network with as many "
            "parameters on the same batch. x theirs: how many times as fast, the median and the "
            "range of the rounds' ratios."
        )
        return
    if any(line.speedup for line in lines):
        yield (
            "x reference: how many times as fast as the plain way (on CUDA with cuDNN's search for "
            "its fastest algorithms, which ours goes without), the median of the rounds' ratios."
        )
    yield (
        "over BP: 100 (t / t_BP - 1) by the same engine; paper: as published, on its own device "
        "and batch. roofline: least time of the step's operations by the measured figures over "
        "the time; joined operations can pass it."
    )
    on_cuda = lines[0].meter == "cuda allocator"
    memory = (
        "CUDA allocator's peak in a step, of a graph also in its capture and the check of it"
        if on_cuda
        else "CPU allocator's peak"
    )
    yield (
        f"memory: {memory}. start: building and first steps, compiling or capturing among them. "
        "epoch: estimated from steps, images and evaluation for the whole data set; the "
        "reference's workers as if with cores of their own."
    )


def _provenance(result: BenchmarkResult) -> str:
    provenance = result.provenance
    words = [
        result.device,
        f"{result.threads} CPU thread{'' if result.threads == 1 else 's'}" * bool(result.threads),
        result.precision,
        ", ".join(f"{name} {version}" for name, version in provenance.versions.items()),
        f"commit {provenance.code}" * bool(provenance.code),
        f"official code {result.official_commit}" * bool(result.official_commit),
        provenance.started,
        f"{provenance.seconds:.0f} s in all",
    ]
    return "; ".join(filter(None, words))


CSV_COLUMNS: Mapping[str, Callable[[Result, BenchmarkResult], object]] = {
    "network": lambda line, _: line.network,
    "method": lambda line, _: line.method,
    "phase": lambda line, _: line.phase,
    "engine": lambda line, _: line.engine,
    "ran": lambda line, _: line.ran,
    "batch_size": lambda line, _: line.batch_size,
    "milliseconds": lambda line, _: line.milliseconds and line.milliseconds.median,
    "fastest": lambda line, _: line.milliseconds and line.milliseconds.least,
    "slowest": lambda line, _: line.milliseconds and line.milliseconds.most,
    "images_per_second": lambda line, _: line.images_per_second,
    "speedup": lambda line, _: line.speedup and line.speedup.median,
    "speedup_least": lambda line, _: line.speedup and line.speedup.least,
    "speedup_most": lambda line, _: line.speedup and line.speedup.most,
    "official_milliseconds": lambda line, _: line.official and line.official.milliseconds.median,
    "official_speedup": lambda line, _: line.official and line.official.speedup.median,
    "official_speedup_least": lambda line, _: line.official and line.official.speedup.least,
    "official_speedup_most": lambda line, _: line.official and line.official.speedup.most,
    "over_bp_percent": lambda line, _: line.overhead,
    "published_percent": lambda line, _: line.published_overhead,
    "roofline_percent": lambda line, _: line.roofline_share and 100 * line.roofline_share,
    "roofline_ms": lambda line, _: line.bound and line.bound.milliseconds,
    "moved_bytes": lambda line, _: line.bound and line.bound.moved_bytes,
    "flops": lambda line, _: line.bound and line.bound.flops,
    "peak_bytes": lambda line, _: line.prepared and line.prepared.peak_bytes,
    "predicted_peak_bytes": lambda line, _: line.bound and line.bound.predicted_peak_bytes,
    "meter": lambda line, _: line.meter,
    "prepare_seconds": lambda line, _: line.prepared and line.prepared.seconds,
    "compile_seconds": lambda line, _: line.prepared and line.prepared.compile_seconds,
    "epoch_seconds": lambda line, _: line.epoch_seconds,
    "epoch_speedup": lambda line, _: line.epoch_speedup,
    "rounds": lambda line, _: len(line.rounds),
    "steps": lambda line, _: line.steps,
    "precision": lambda _, result: result.precision,
    "threads": lambda _, result: result.threads,
    "device": lambda _, result: result.device,
    "torch": lambda _, result: result.provenance.versions.get("torch", ""),
    "commit": lambda _, result: result.provenance.commit,
    "dirty": lambda _, result: result.provenance.dirty,
    "started": lambda _, result: result.provenance.started,
    "error": lambda line, _: line.error,
}


def csv_text(result: BenchmarkResult) -> str:
    """Return the lines as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for line in result.lines:
        writer.writerow(as_cell(value(line, result)) for value in CSV_COLUMNS.values())
    return text.getvalue()


def print_profiles(console: Console, profiles: Mapping[str, Profile]) -> None:
    """Print where the time of a step goes, one row or line per kind of step."""
    if not profiles:
        return
    if console.is_terminal:
        print_grids(console, _profile_labels(profiles), [_profile_columns(profiles)])
    else:
        for label, profile in profiles.items():
            shares = ", ".join(
                f"{kind} {_percent(share / profile.milliseconds)} %"
                for kind, share in profile.kinds.items()
            )
            time = f"{_milliseconds(profile.milliseconds)} ms/step"
            console.print(f"{label}: {time}: {shares}", soft_wrap=True)
    legend = (
        "Under PyTorch's profiler, which slows steps down; an operation's own time. "
        "overhead: Python and launches."
    )
    console.print(Text(legend, style="dim"), soft_wrap=not console.is_terminal)


def _profile_labels(profiles: Mapping[str, Profile]) -> Labels:
    return Labels("% of a step", ("",) * len(profiles), tuple(profiles))


def _profile_columns(profiles: Mapping[str, Profile]) -> Group:
    rows = list(profiles.values())
    time = Column(("", "ms/step"), tuple(Text(_milliseconds(row.milliseconds)) for row in rows))
    shares = (
        Column(
            ("", kind), tuple(Text(_percent(row.kinds[kind] / row.milliseconds)) for row in rows)
        )
        for kind in rows[0].kinds
    )
    return Group((time, *shares))
