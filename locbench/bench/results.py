"""What `locbench bench` finds, as data."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from statistics import median
from typing import TypeVar

import msgspec

from locbench.results.record import Provenance
from locbench.spec.phases import weighted


class Prepared(msgspec.Struct, frozen=True):
    """What came before the timed steps.

    Attributes:
        engine: what really runs; ``eager`` where another engine had to give up.
        seconds: from building the network to the end of the warm-up.
        compile_seconds: of these, spent on compiling or capturing.
        step_seconds: the last step of the warm-up.
        peak_bytes: the allocator's peak in a step, without what others hold.
    """

    engine: str
    seconds: float
    compile_seconds: float
    step_seconds: float
    peak_bytes: int


class Speeds(msgspec.Struct, frozen=True):
    """Images per second, round by round, of locbench's way and of the reference.

    Empty where there is none.
    """

    ours: tuple[float, ...]
    reference: tuple[float, ...] = ()


class Bound(msgspec.Struct, frozen=True):
    """What a step must do: operations, bytes and floating-point operations, its least time, and its
    tensors' peak.
    """

    operations: int
    moved_bytes: int
    flops: int
    milliseconds: float
    predicted_peak_bytes: int


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of step by one engine.

    Attributes:
        network, method, phase: which step; ``mean`` is over PGL's epochs, local and global.
        engine, ran: what was asked for, and what really ran; ``graphed and eager`` where a mean is
            over both.
        batch_size: images per step.
        rounds: milliseconds per step, round by round; ``steps`` of them in each.
        milliseconds, images_per_second: of the median round.
        speedup: reference's time over this one's, round by round; None without the reference.
        over_bp: this time over backpropagation's by the same engine; None without it, or where
            another engine ran it.
        published_overhead: what a paper prints for it over backpropagation, in percent, on its own
            device.
        bound: the roofline; None where the step could not be traced.
        roofline_share: the roofline's time over this one's.
        prepared: what came before.
        meter: who counted the peak of memory.
        epoch_seconds: estimate of an epoch on the whole data set: steps, images and evaluation.
        epoch_speedup: reference's estimate over this one.
        error: why there is no time; empty where there is.
    """

    network: str
    method: str
    phase: str
    engine: str
    ran: str = ""
    batch_size: int
    steps: int = 0
    rounds: tuple[float, ...] = ()
    milliseconds: Spread | None = None
    images_per_second: float | None = None
    speedup: Spread | None = None
    over_bp: Spread | None = None
    published_overhead: str = ""
    bound: Bound | None = None
    roofline_share: float | None = None
    prepared: Prepared | None = None
    meter: str = ""
    epoch_seconds: float | None = None
    epoch_speedup: float | None = None
    error: str = ""

    @property
    def overhead(self) -> float | None:
        """Time over backpropagation's in percent, 100 (t / t_BP - 1)."""
        return None if self.over_bp is None else 100 * (self.over_bp.median - 1)


class Skipped(msgspec.Struct, frozen=True):
    """An engine or a step that was left out, and why."""

    what: str
    why: str


class Found(msgspec.Struct, kw_only=True):
    """Everything of one command; lines are added as they are found.

    Attributes:
        device: where.
        precision: of the steps.
        threads: of the processor.
        bandwidth, peak: what was measured of the device, bytes and floating-point operations per
            second; 0 unmeasured.
        data: images per second of the pipelines, augmented batches for training; ``images`` of them
            per round.
        evaluation: images per second of evaluation with its pipeline, by network.
        lines: by network, method and engine.
        skipped: what was left out.
        stopped: whether the user stopped it before the end.
        provenance: versions, commit, time.
    """

    device: str
    precision: str
    threads: int
    bandwidth: float = 0.0
    peak: float = 0.0
    images: int = 0
    data: Speeds | None = None
    evaluation: dict[str, Speeds] = {}
    lines: list[Line] = []
    skipped: list[Skipped] = []
    stopped: bool = False
    provenance: Provenance


class Shares(msgspec.Struct, frozen=True):
    """Milliseconds per step by kind of operation; what is left of the clock's time is Python and
    launches.

    Attributes:
        milliseconds: of a step under the profiler, which slows it down.
        kinds: by name; they add up to ``milliseconds``.
    """

    milliseconds: float
    kinds: dict[str, float]


K = TypeVar("K", bound=Hashable)


class Spread(msgspec.Struct, frozen=True):
    """The median of some numbers, and the smallest and the largest of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum up one or more numbers."""
        return cls(median(values), min(values), max(values))


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return above / below round by round: what slows a machine for a while falls on both sides of
    a round.
    """
    return [one / other for one, other in zip(above, below, strict=False)]


def mixed(local: Sequence[float], guided: Sequence[float], share: float) -> list[float]:
    """Return the mean times of rounds in which a ``share`` of the steps is guided."""
    return [weighted(*pair, share) for pair in zip(local, guided, strict=False)]


def steps_per_round(step_seconds: float, seconds: float, rounds: int) -> int:
    """Return how many steps fill a round, at least one, where all rounds together may take
    ``seconds``.
    """
    return max(1, int(seconds / rounds / max(step_seconds, 1e-9)))


class DroppedError(Exception):
    """Raised by a turn that can be taken no longer."""


def interleaved(
    rounds: int,
    turns: Mapping[K, Callable[[], float]],
    found: dict[K, list[float]],
    told: Callable[[int], None] = lambda _: None,
) -> None:
    """Let every turn be taken once per round, always in the same order.

    Args:
        rounds: how many.
        turns: each returns a number, or raises `DroppedError` and is left out from then on.
        found: gets what each turn gave, round by round; whoever interrupts the rounds keeps what is
            there.
        told: hears the number of each round, from 1, before it begins.
    """
    left = dict(turns)
    for number in range(1, rounds + 1):
        told(number)
        for key, turn in list(left.items()):
            try:
                found.setdefault(key, []).append(turn())
            except DroppedError:
                del left[key]
