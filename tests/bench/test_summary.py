"""Ratios and estimates of made-up timings."""

from __future__ import annotations

from typing import Any

import pytest
from bench_cases import cases

from locbench.bench.cases import Case, overhead_key
from locbench.bench.results import Bound, Prepared, Result, Speeds, Spread
from locbench.bench.summary import Timed, summarize


def timed(case: Case, engine: str, rounds: list[float], ran: str = "", **fields: Any) -> Timed:
    result = Result(
        network=case.recipe.network,
        method=case.method,
        phase=case.phase,
        engine=engine,
        ran=ran or engine,
        batch_size=case.recipe.batch_size,
        rounds=rounds,
        **fields,
    )
    return Timed(case, result)


def line_of(lines: list[Result], method: str, engine: str) -> Result:
    return next(line for line in lines if (line.method, line.engine) == (method, engine))


def test_spreads() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert Spread.of([4.0, 1.0]) == Spread(2.5, 1.0, 4.0)
    assert Spread.of_ratios([2.0, 9.0, 5.0], [1.0, 3.0]) == Spread(2.5, 2.0, 3.0)


@pytest.fixture
def lines() -> list[Result]:
    bp, dgl = cases("dgl")
    return summarize(
        [
            timed(bp, "reference", [10.0, 20.0, 30.0]),
            timed(bp, "eager", [5.0, 8.0, 10.0]),
            timed(dgl, "reference", [40.0, 40.0, 90.0]),
            timed(dgl, "eager", [10.0, 20.0, 30.0], bound=Bound(3, 4, 5, 2.0, 6)),
            timed(dgl, "compiled", [], error="does not fit"),
        ],
        Speeds((1437.0, 2874.0, 143.7), (14.37,)),
        Speeds((360.0,), (180.0, 180.0)),
        {},
    )


def test_speedup_is_the_median_of_the_rounds_ratios(lines: list[Result]) -> None:
    assert line_of(lines, "dgl", "eager").speedup == Spread(3.0, 2.0, 4.0)
    assert line_of(lines, "bp", "eager").speedup == Spread(2.5, 2.0, 3.0)
    assert line_of(lines, "dgl", "reference").speedup is None


def test_overhead_is_over_the_same_engines_backpropagation(lines: list[Result]) -> None:
    assert line_of(lines, "dgl", "eager").over_bp == Spread(2.5, 2.0, 3.0)
    assert line_of(lines, "dgl", "eager").overhead == pytest.approx(150)
    assert line_of(lines, "dgl", "reference").overhead == pytest.approx(200)
    assert line_of(lines, "bp", "eager").overhead is None


def test_rates(lines: list[Result]) -> None:
    line = line_of(lines, "dgl", "eager")
    assert line.milliseconds == Spread(20.0, 10.0, 30.0)
    assert line.images_per_second == pytest.approx(8 / 0.020)
    assert line.roofline_share == pytest.approx(2.0 / 20.0)


def test_an_epoch_is_steps_images_and_tests(lines: list[Result]) -> None:
    # 1,437 training images in 180 batches of 8, 360 test images; ours at medians of 1,437 and
    # 360 images/s.
    assert line_of(lines, "dgl", "eager").epoch_seconds == pytest.approx(180 * 0.020 + 1 + 1)
    # The reference's workers at 14.37 images/s take longer than the steps, and tests 2 s.
    assert line_of(lines, "dgl", "reference").epoch_seconds == pytest.approx(100 + 2)
    assert line_of(lines, "dgl", "eager").epoch_speedup == pytest.approx(102 / 5.6)


def test_a_failure_is_a_line_with_its_reason(lines: list[Result]) -> None:
    line = line_of(lines, "dgl", "compiled")
    assert (line.error, line.milliseconds, line.speedup) == ("does not fit", None, None)


def test_phases_are_followed_by_their_mean() -> None:
    bp, local, guided = cases("pgl+head")
    assert (local.phase, guided.phase, guided.guided) == ("local", "global", True)
    assert local.global_share == 0.2
    lines = summarize(
        [
            timed(bp, "eager", [5.0]),
            timed(local, "eager", [10.0, 20.0], steps=3, error="ended"),
            timed(guided, "eager", [20.0, 120.0], steps=4),
        ],
        Speeds(),
        Speeds(),
        {overhead_key(local.recipe): "140 %"},
    )
    assert [line.phase for line in lines] == ["", "local", "global", "mean"]
    assert lines[-1].rounds == pytest.approx([12.0, 40.0])
    assert (lines[-1].steps, lines[-1].error) == (7, "")
    assert lines[-1].overhead == pytest.approx(140)
    assert [line.published_overhead for line in lines] == ["", "", "", "140 %"]
    assert lines[-1].epoch_seconds is None


@pytest.mark.parametrize(
    ("ran", "mean", "overheads"),
    [
        (("graphed", "graphed", "graphed"), "graphed", (100, 300, 140)),
        (("graphed", "graphed", "eager"), "graphed and eager", (100, None, None)),
        (("graphed", "eager", "eager"), "eager", (None, None, None)),
        (("eager", "eager", "eager"), "eager", (100, 300, 140)),
    ],
)
def test_an_engine_that_gave_up_is_compared_with_none_but_its_like(
    ran: tuple[str, str, str], mean: str, overheads: tuple[float | None, ...]
) -> None:
    steps = [
        timed(
            case, "graphed", [milliseconds], ran=engine, prepared=Prepared(engine, 1, 0.5, 0.1, 9)
        )
        for case, engine, milliseconds in zip(
            cases("pgl+head"), ran, (5.0, 10.0, 20.0), strict=True
        )
    ]
    lines = summarize(steps, Speeds(), Speeds(), {})
    assert [line.ran for line in lines] == [*ran, mean]
    expected = [None if each is None else pytest.approx(each) for each in overheads]
    assert [line.overhead for line in lines[1:]] == expected
