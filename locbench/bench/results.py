"""What `locbench bench` measures, as it is printed in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec

from locbench.results.record import Provenance


class Spread(msgspec.Struct, frozen=True):
    """The median of some numbers, and the smallest and the largest of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of one or more numbers."""
        return cls(median(values), min(values), max(values))

    @classmethod
    def of_ratios(cls, above: Sequence[float], below: Sequence[float]) -> Spread:
        """Return the spread of above / below, taken round by round.

        What slows a machine for a while falls on both sides of a round.
        """
        return cls.of([one / other for one, other in zip(above, below, strict=False)])


class Prepared(msgspec.Struct, frozen=True):
    """What came before the timed steps.

    Attributes:
        engine: what really runs; ``eager`` where another engine had to give up.
        seconds: from building the network to the end of the warm-up.
        compile_seconds: of these, spent on compiling or capturing.
        step_seconds: the last step of the warm-up.
        peak_bytes: the allocator's peak in a step, without what was allocated before.
    """

    engine: str
    seconds: float
    compile_seconds: float
    step_seconds: float
    peak_bytes: int


class Speeds(msgspec.Struct, frozen=True):
    """Images per second, round by round, of locbench and of the reference; empty if unmeasured."""

    ours: tuple[float, ...] = ()
    reference: tuple[float, ...] = ()


class Bound(msgspec.Struct, frozen=True):
    """What a step must do: operations, bytes, FLOPs, its least time, and its tensors' peak."""

    operations: int
    moved_bytes: int
    flops: int
    milliseconds: float
    predicted_peak_bytes: int


class Comparison(msgspec.Struct, frozen=True):
    """The official code's milliseconds per step, and its time over another one, round by round."""

    milliseconds: Spread
    speedup: Spread


class Result(msgspec.Struct, kw_only=True):
    """One kind of step by one engine.

    Attributes:
        network, method, phase: which step; ``mean`` is over PGL's epochs, local and global.
        engine, ran: what was asked for, and what really ran; ``graphed and eager`` where a mean is
            over both.
        batch_size: images per step.
        steps: in every round.
        rounds: milliseconds per step, round by round.
        milliseconds, images_per_second: of the median round.
        speedup: the reference's time over this one, round by round; None without the reference.
        official: how it compares with the official code; None without that.
        over_bp: this time over backpropagation's by the same engine; None without it, or where
            another engine ran it.
        published_overhead: what a paper prints for it over backpropagation, in percent, on its own
            device.
        bound: the roofline; None where the step could not be traced.
        roofline_share: the roofline's time over this one.
        prepared: what came before.
        meter: who counted the peak of memory.
        epoch_seconds: estimate of an epoch on the whole data set: steps, images and evaluation.
        epoch_speedup: the reference's estimate over this one.
        error: why there is no time; empty where there is.
    """

    network: str
    method: str
    phase: str
    engine: str
    ran: str = ""
    batch_size: int
    steps: int = 0
    rounds: list[float] = []
    milliseconds: Spread | None = None
    images_per_second: float | None = None
    speedup: Spread | None = None
    official: Comparison | None = None
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


class BenchmarkResult(msgspec.Struct, kw_only=True):
    """Everything that one command has measured so far.

    Attributes:
        device, precision: of the steps.
        threads: of the processor.
        bandwidth, peak: bytes and FLOPs per second that the device reaches; 0 if unmeasured.
        images: random images in a round of the data path.
        data: images per second of augmented training batches.
        evaluation: images per second of evaluation with its data path, by network.
        lines: by network, method and engine.
        skipped: what was left out.
        official_commit: of the official code that was timed; empty without one.
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
    lines: list[Result] = []
    skipped: list[Skipped] = []
    official_commit: str = ""
    stopped: bool = False
    provenance: Provenance


class Profile(msgspec.Struct, frozen=True):
    """Milliseconds per step by kind of operation; the rest of the clock's time is overhead.

    Attributes:
        milliseconds: of a step under the profiler, which slows it down.
        kinds: by name; they add up to ``milliseconds``.
    """

    milliseconds: float
    kinds: dict[str, float]
