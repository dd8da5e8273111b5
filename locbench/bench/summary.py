"""What is read off timed rounds: ratios, shares of the roofline, an epoch's estimate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from locbench.bench.cases import REFERENCE, Case, overhead_key
from locbench.bench.results import Bound, Line, Prepared, Speeds, Spread, mixed, ratios
from locbench.datasets.catalogue import info


class Timed(msgspec.Struct):
    """One kind of step by one engine as it was timed.

    Attributes:
        case, engine: which.
        prepared: what came before; None where that failed.
        steps: in every round.
        rounds: milliseconds per step, round by round.
        error: why it was given up.
        parts: engines that ran the steps which a mean is over.
    """

    case: Case
    engine: str
    prepared: Prepared | None = None
    steps: int = 0
    rounds: list[float] = []
    error: str = ""
    parts: tuple[str, ...] = ()

    @property
    def ran(self) -> str:
        """Engine that really ran; of a mean over steps by two, both."""
        own = self.prepared.engine if self.prepared else self.engine
        return " and ".join(dict.fromkeys(self.parts or (own,)))


class Context(msgspec.Struct):
    """What times are held against besides each other.

    Attributes:
        dataset: its size decides an epoch.
        bounds: least times, by case.
        overheads: published ones, see `published_overheads`.
        meter: who counts the peak of memory.
        data, evaluation: images per second, for an epoch's estimate; None where unmeasured.
    """

    dataset: str
    bounds: Mapping[Case, Bound] = {}
    overheads: Mapping[tuple[str, int | None, bytes], str] = {}
    meter: str = ""
    data: Speeds | None = None
    evaluation: Speeds | None = None


def lines_of(timed: Sequence[Timed], context: Context) -> list[Line]:
    """Return the lines of one network: every timed kind of step, and behind PGL's two phases their
    mean.
    """
    everything = [*timed, *_means(timed)]
    order = {
        case.method: index for index, case in reversed(list(enumerate(each.case for each in timed)))
    }
    everything.sort(key=lambda each: (order[each.case.method], _PHASES.index(each.case.phase)))
    return [_line(each, everything, context) for each in everything]


_PHASES = ("", "local", "global", "mean")


def _means(timed: Sequence[Timed]) -> Iterator[Timed]:
    """Yield the mean of a local and a global step, weighted by the epochs of the recipe's schedule."""
    for local in timed:
        guided = _find(timed, local.case.method, "global", local.engine)
        if local.case.phase == "local" and guided is not None and local.rounds and guided.rounds:
            rounds = mixed(local.rounds, guided.rounds, local.case.global_share)
            case = msgspec.structs.replace(local.case, phase="mean")
            steps = local.steps + guided.steps
            yield Timed(
                case, local.engine, steps=steps, rounds=rounds, parts=(local.ran, guided.ran)
            )


def _find(timed: Sequence[Timed], method: str, phase: str, engine: str) -> Timed | None:
    wanted = method, phase, engine
    return next(
        (each for each in timed if (each.case.method, each.case.phase, each.engine) == wanted), None
    )


def _line(own: Timed, everything: Sequence[Timed], context: Context) -> Line:
    case, recipe = own.case, own.case.recipe
    line = Line(
        network=recipe.network,
        method=case.method,
        phase=case.phase,
        engine=own.engine,
        ran=own.ran,
        batch_size=recipe.batch_size,
        steps=own.steps,
        rounds=tuple(own.rounds),
        bound=context.bounds.get(case),
        prepared=own.prepared,
        meter=context.meter,
        error=own.error,
    )
    return _judged(line, own, everything, context) if own.rounds else line


def _judged(line: Line, own: Timed, everything: Sequence[Timed], context: Context) -> Line:
    took = Spread.of(own.rounds)
    reference = _find(everything, line.method, line.phase, REFERENCE)
    base = _find(everything, "bp", "", own.engine)
    base = (
        base if base and base.ran == own.ran else None
    )  # another engine's time is no overhead of the method
    printed = (
        context.overheads.get(overhead_key(own.case.recipe), "")
        if line.phase in ("", "mean")
        else ""
    )
    epoch = epoch_seconds(line, took.median, context)
    plain = Spread.of(reference.rounds).median if reference and reference.rounds else None
    slow = epoch_seconds(line, plain, context, plain=True) if plain else None
    return msgspec.structs.replace(
        line,
        milliseconds=took,
        images_per_second=1000 * line.batch_size / took.median,
        speedup=_spread(reference, own) if line.engine != REFERENCE else None,
        over_bp=_spread(own, base) if line.method != "bp" else None,
        published_overhead=printed,
        roofline_share=line.bound.milliseconds / took.median if line.bound else None,
        epoch_seconds=slow if line.engine == REFERENCE else epoch,
        epoch_speedup=slow / epoch if slow and epoch and line.engine != REFERENCE else None,
    )


def _spread(above: Timed | None, below: Timed | None) -> Spread | None:
    if above is None or below is None or not above.rounds or not below.rounds:
        return None
    return Spread.of(ratios(above.rounds, below.rounds))


def epoch_seconds(
    line: Line, milliseconds: float, context: Context, *, plain: bool = False
) -> float | None:
    """Return an estimate of an epoch on the line's whole data set; None where a part was not
    measured.

    Locbench makes batches between steps. The reference's workers make them beside the steps, as if
    they had cores of their own, so that an epoch takes the longer of both.

    Args:
        line: its batch decides the number of steps.
        milliseconds: of a step.
        context: speeds of data and evaluation, and the size of the data set.
        plain: the reference's way.
    """
    if context.data is None or context.evaluation is None:
        return None
    data, tests = (
        each.reference if plain else each.ours for each in (context.data, context.evaluation)
    )
    if not data or not tests:
        return None
    sizes = info(context.dataset)
    steps = -(-sizes.train_size // line.batch_size) * milliseconds / 1000
    images = sizes.train_size / Spread.of(data).median
    return (max(steps, images) if plain else steps + images) + sizes.test_size / Spread.of(
        tests
    ).median
