"""PGL's global epochs: the table of the specification, and what shorter runs keep of it."""

from __future__ import annotations

import pytest
from specimens import recipe

from locbench.errors import UsageError
from locbench.spec.components import Always, Periodic
from locbench.spec.phases import global_epochs, is_global

PERIODS = (5, 10, 15, 20)
GLOBAL = {
    ("period", 1): (32, 16, 10, 8),
    ("period", 2): (64, 32, 20, 16),
    ("period", 3): (96, 48, 30, 24),
    ("sum", 1): (26, 14, 10, 7),
    ("sum", 2): (45, 26, 18, 14),
    # The specification has 21 at P=20; six cycles of 23 give 18 and epochs 158 and 159 make it 20.
    ("sum", 3): (60, 36, 25, 20),
    # The first Q of every P epochs from the second cycle on: 160 / P - 1 whole cycles of Q; P=15
    # has 9 and epochs 150-159, whose first Q count as well.
    ("hybrid", 1): (31, 15, 10, 7),
    ("hybrid", 2): (62, 30, 20, 14),
    ("hybrid", 3): (93, 45, 30, 21),
}


@pytest.mark.parametrize(("cycle", "duration"), GLOBAL)
def test_global_epochs_of_160(cycle: str, duration: int) -> None:
    found = [global_epochs(Periodic(period, duration, cycle), 160) for period in PERIODS]  # type: ignore[arg-type]
    assert tuple(found) == GLOBAL[cycle, duration]


def test_which_epochs_are_global() -> None:
    def epochs(cycle: str) -> list[int]:
        return [e for e in range(30) if is_global(Periodic(10, 2, cycle), e, 160)]  # type: ignore[arg-type]

    assert epochs("period") == [8, 9, 18, 19, 28, 29]
    assert epochs("sum") == [10, 11, 22, 23]
    assert epochs("hybrid") == [10, 11, 20, 21]


def test_full_run_switches_between_epochs_only() -> None:
    phases, per_epoch = Periodic(10, 2), 7
    for epoch in range(160):
        steps = [
            is_global(phases, epoch * per_epoch + index, 160 * per_epoch)
            for index in range(per_epoch)
        ]
        assert steps == [epoch % 10 >= 8] * per_epoch


@pytest.mark.parametrize("steps", [160, 4 * 23, 12 * 79, 1000, 3])
@pytest.mark.parametrize("duration", [1, 2, 3])
def test_shorter_runs_keep_the_share(steps: int, duration: int) -> None:
    """16 cycles of P=10 in any number of steps: the share is Q / P to within one step per cycle."""
    share = sum(is_global(Periodic(10, duration), step, steps) for step in range(steps)) / steps
    assert abs(share - duration / 10) <= 16 / steps
    if steps % 160 == 0 or steps == 1000:
        assert abs(share - duration / 10) < 0.01


def test_no_guidance() -> None:
    assert global_epochs(Always(), 160) == 0
    assert recipe("pgl+head", duration=0).key == recipe("head").key
    assert recipe("pgl+head", duration=1).key != recipe("head").key


def test_only_guidance() -> None:
    assert global_epochs(Periodic(10, 10), 160) == 160


@pytest.mark.parametrize("options", [{"period": 0}, {"duration": -1}, {"duration": 11}])
def test_impossible_cycles_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="PGL cannot guide"):
        recipe("pgl+head", **options)
