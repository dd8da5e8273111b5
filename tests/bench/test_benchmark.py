"""The rounds of a benchmark whose processes give made-up times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
import torch
from bench_cases import cases

from locbench.bench.benchmark import BenchLimits, Benchmark
from locbench.bench.cases import Case
from locbench.bench.results import BenchmarkResult, Prepared
from locbench.bench.roofline import Ceiling
from locbench.bench.worker import WorkerPair
from locbench.errors import LocbenchError, UsageError
from locbench.results.record import Provenance
from locbench.terminal.bench import plain_line

CPU = torch.device("cpu")


class Answers:
    """Takes the place of a process: it calls an answer instead of a method."""

    def __init__(self, **answers: Callable[..., Any]) -> None:
        self.answers = answers

    def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        return self.answers.get(method.__name__, lambda *_: None)(*arguments)


def no_room() -> float:
    raise UsageError("no room")


def answers(
    times: Callable[[int, int], float],
    failing: str = "",
    train_epoch: Callable[[], float] = no_room,
) -> Answers:
    def prepare(_: int, case: Case, engine: str) -> Prepared:
        if case.recipe.method == failing:
            raise LocbenchError("does not fit: 3 bytes")
        return Prepared(engine, 1.0, 0.0, 0.5, 10)

    return Answers(
        ceiling=lambda: Ceiling(1e9, 1e9),
        threads=lambda: 1,
        prepare=prepare,
        time=times,
        train_epoch=train_epoch,
        evaluation=lambda _: train_epoch(),
    )


def benchmark(
    engines: Answers,
    reference: Answers | None = None,
    limits: BenchLimits = BenchLimits(3, None, 6.0),
    announce: Callable[[str], None] = lambda _: None,
) -> Benchmark:
    result = BenchmarkResult(
        device="a device",
        precision="fp32",
        threads=1,
        provenance=Provenance("", {}, "", None, "", 0.0),
    )
    names = ("reference", "eager") if reference else ("eager",)
    steps = [(case, engine) for case in cases() for engine in names]
    pair = WorkerPair(reference or engines, engines)  # type: ignore[arg-type]
    return Benchmark(steps, limits, pair, CPU, result, announce)


def test_a_step_that_fails_leaves_the_others_and_a_note() -> None:
    run = benchmark(answers(lambda key, steps: 4.0, failing="dgl"))
    run.run()
    lines = run.result.lines
    assert [(line.method, line.error) for line in lines] == [
        ("bp", ""),
        ("dgl", "does not fit: 3 bytes"),
    ]
    assert lines[0].rounds == [4.0, 4.0, 4.0]
    assert lines[0].steps == 4
    assert [skipped.what for skipped in run.result.skipped] == ["data path"]
    assert "not timed" in plain_line(lines[1])


def test_every_round_has_every_turn_in_order() -> None:
    turns: list[tuple[str, int]] = []

    def side(name: str) -> Answers:
        def time(key: int, steps: int) -> float:
            turns.append((name, key))
            return float(len(turns))

        return answers(time)

    run = benchmark(side("engines"), side("reference"), BenchLimits(2, 1))
    run.run()
    assert turns == 2 * [("reference", 0), ("engines", 1), ("reference", 2), ("engines", 3)]
    assert [line.rounds for line in run.result.lines] == [[1, 5], [2, 6], [3, 7], [4, 8]]


def test_who_drops_out_keeps_what_was_timed_and_the_others_go_on() -> None:
    left = iter([1.0, 2.0])

    def time(key: int, steps: int) -> float:
        if key:
            return 7.0
        try:
            return next(left)
        except StopIteration:
            raise LocbenchError("ended") from None

    run = benchmark(answers(time), limits=BenchLimits(4, 1))
    run.run()
    assert [(line.rounds, line.error) for line in run.result.lines] == [
        ([1.0, 2.0], "ended"),
        ([7.0] * 4, ""),
    ]


def test_an_interrupt_keeps_the_rounds_before_it() -> None:
    def announce(text: str) -> None:
        if "round 3 of 9" in text:
            raise KeyboardInterrupt

    run = benchmark(answers(lambda *_: 1.0), limits=BenchLimits(9, 1), announce=announce)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert [line.rounds for line in run.result.lines] == [[1.0, 1.0]] * 2
    assert run.result.lines[0].images_per_second == pytest.approx(8000)


def test_the_first_round_of_the_data_path_does_not_count() -> None:
    def speeds(start: int) -> Callable[[], float]:
        numbers: Iterator[int] = count(start)
        return lambda: float(next(numbers))

    sides = [answers(lambda *_: 1.0, train_epoch=speeds(start)) for start in (10, 20)]
    run = benchmark(*sides, limits=BenchLimits(1, 1))
    run.run()
    assert run.result.data is not None
    assert (run.result.data.ours, run.result.data.reference) == ((11, 12, 13), (21, 22, 23))
    assert run.result.evaluation["resnet8"].ours == (15, 16, 17)


@pytest.mark.parametrize(
    ("step", "seconds", "rounds", "steps"), [(0.1, 10, 5, 20), (3.0, 10, 5, 1), (9, 5, 5, 1)]
)
def test_steps_per_round(step: float, seconds: float, rounds: int, steps: int) -> None:
    assert BenchLimits(rounds, None, seconds).steps_per_round(step) == steps
    assert BenchLimits(rounds, 7, seconds).steps_per_round(step) == 7
