"""Ratios, shares of the roofline and epochs that follow from timed rounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from locbench.bench.cases import REFERENCE, Case, Overheads, overhead_key
from locbench.bench.official import OFFICIAL
from locbench.bench.results import Comparison, Result, Speeds, Spread
from locbench.datasets.catalogue import info
from locbench.spec.phases import weighted

_PHASES = ("", "local", "global", "mean")


class Timed(NamedTuple):
    """A kind of step, and what was measured of it by one engine."""

    case: Case
    result: Result


def summarize(
    timed: Sequence[Timed], data: Speeds, evaluation: Speeds, overheads: Overheads
) -> list[Result]:
    """Complete the results of one network, and return them method by method.

    Behind PGL's two phases comes their mean.

    Args:
        timed: with their rounds.
        data, evaluation: images per second.
        overheads: published ones, see `published_overheads`.
    """
    timed = [*timed, *_means(timed)]
    methods = list(dict.fromkeys(result.method for _, result in timed))
    timed.sort(
        key=lambda step: (methods.index(step.result.method), _PHASES.index(step.result.phase))
    )
    results = [result for _, result in timed]
    for case, result in timed:
        if result.rounds:
            if result.phase in ("", "mean"):
                result.published_overhead = overheads.get(overhead_key(case.recipe), "")
            _compare(case, result, results, data, evaluation)
    return results


def _means(timed: Sequence[Timed]) -> Iterator[Timed]:
    """Yield the mean of a local and a global step, weighted by the epochs of the schedule."""
    results = [result for _, result in timed]
    for case, local in timed:
        guided = _find(results, local.method, "global", local.engine)
        if local.phase == "local" and local.rounds and guided:
            pairs = zip(local.rounds, guided.rounds, strict=False)
            yield Timed(
                case,
                msgspec.structs.replace(
                    local,
                    phase="mean",
                    ran=" and ".join(dict.fromkeys([local.ran, guided.ran])),
                    steps=local.steps + guided.steps,
                    rounds=[weighted(*pair, case.global_share) for pair in pairs],
                    bound=None,
                    prepared=None,
                    error="",
                ),
            )


def _find(results: Sequence[Result], method: str, phase: str, engine: str) -> Result | None:
    """Return the result of a kind of step by an engine, if it was timed."""
    key = method, phase, engine
    matches = (line for line in results if (line.method, line.phase, line.engine) == key)
    return next((line for line in matches if line.rounds), None)


def _compare(
    case: Case, result: Result, results: Sequence[Result], data: Speeds, evaluation: Speeds
) -> None:
    """Fill in what is read off the rounds of a result and of those it is compared with."""
    result.milliseconds = Spread.of(result.rounds)
    result.images_per_second = 1000 * result.batch_size / result.milliseconds.median
    if result.bound:
        result.roofline_share = result.bound.milliseconds / result.milliseconds.median
    base = _find(results, "bp", "", result.engine)
    # Another engine's time is no overhead of the method.
    if base and base.ran == result.ran and result.method != "bp":
        result.over_bp = Spread.of_ratios(result.rounds, base.rounds)
    official = _find(results, result.method, result.phase, OFFICIAL)
    if official and official is not result:
        result.official = Comparison(
            Spread.of(official.rounds), Spread.of_ratios(official.rounds, result.rounds)
        )
    reference = _find(results, result.method, result.phase, REFERENCE)
    slow = None
    if reference:
        slow = _epoch_seconds(
            case, reference.rounds, data.reference, evaluation.reference, beside=True
        )
    if result.engine == REFERENCE:
        result.epoch_seconds = slow
        return
    result.epoch_seconds = _epoch_seconds(
        case, result.rounds, data.ours, evaluation.ours, beside=False
    )
    if reference:
        result.speedup = Spread.of_ratios(reference.rounds, result.rounds)
    if slow and result.epoch_seconds:
        result.epoch_speedup = slow / result.epoch_seconds


def _epoch_seconds(
    case: Case,
    rounds: Sequence[float],
    data: Sequence[float],
    evaluation: Sequence[float],
    *,
    beside: bool,
) -> float | None:
    """Return an estimate of an epoch on the whole data set; None where a part is unmeasured.

    Args:
        case: its batch decides the number of steps.
        rounds: milliseconds of a step.
        data, evaluation: images per second.
        beside: batches are made beside the steps, as if by cores of their own, so that an epoch
            takes the longer of both; else between the steps.
    """
    if not data or not evaluation:
        return None
    sizes = info(case.recipe.dataset)
    count = -(-sizes.train_size // case.recipe.batch_size)
    steps = count * Spread.of(rounds).median / 1000
    images = sizes.train_size / Spread.of(data).median
    tests = sizes.test_size / Spread.of(evaluation).median
    return (max(steps, images) if beside else steps + images) + tests
