"""The learning rate against values worked out by hand."""

from __future__ import annotations

import pytest
from specimens import recipe_of

from locbench.spec.recipe import Recipe, warmup_epochs
from locbench.training.lr_schedule import epoch_rate, rate_of_step


def at(epochs: int, lr: float = 0.8) -> Recipe:
    return recipe_of("bp", {}, epochs=epochs, lr=lr)


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (1, 0.01),
        # c(5) = 0.4 (1 + cos 2.25 deg) = 0.7996916; 0.4 c + 0.6 * 0.01
        (5, 0.3258766),
        # c(10) = 0.4 (1 + cos 4.5 deg) = 0.7987669; 0.9 c + 0.1 * 0.01
        (10, 0.7198902),
        # 0.4 (1 + cos 4.95 deg)
        (11, 0.7985081),
        (200, 0.4),
        (400, 0.0),
    ],
)
def test_published_schedule_of_400_epochs(epoch: int, expected: float) -> None:
    assert epoch_rate(at(400), epoch) == pytest.approx(expected, abs=1e-7)


def test_published_schedule_of_160_epochs() -> None:
    recipe = at(160)
    assert recipe.warmup_epochs == 10
    assert epoch_rate(recipe, 1) == 0.01
    # C = 0.4 (1 + cos 2.25 deg); 0.1 c + 0.009.
    assert epoch_rate(recipe, 2) == pytest.approx(0.0889692, abs=1e-7)
    assert epoch_rate(recipe, 40) == pytest.approx(0.4 * (1 + 0.5**0.5))
    assert epoch_rate(recipe, 80) == pytest.approx(0.4)


@pytest.mark.parametrize("epochs", [2, 4, 12, 100, 160, 400])
def test_last_epoch_stands_still(epochs: int) -> None:
    assert epoch_rate(at(epochs), epochs) == 0.0


@pytest.mark.parametrize(
    ("epochs", "warm"),
    [(1, 1), (4, 1), (16, 1), (17, 2), (100, 7), (159, 10), (160, 10), (400, 10)],
)
def test_shorter_runs_warm_up_for_a_sixteenth(epochs: int, warm: int) -> None:
    assert warmup_epochs(epochs) == warm
    assert at(epochs).warmup_epochs == warm


def test_reduced_warmup_by_hand() -> None:
    """E=32, two warm-up epochs: 0.01, then half of c(2) = 0.7923141 and half of 0.01."""
    recipe = at(32)
    assert [epoch_rate(recipe, epoch) for epoch in (1, 2)] == pytest.approx(
        [0.01, 0.4011571], abs=1e-7
    )
    assert epoch_rate(recipe, 3) == pytest.approx(0.7827762, abs=1e-7)  # 0.4 (1 + cos 16.875 deg)


def test_stl10_warms_up_from_the_same_rate() -> None:
    assert epoch_rate(at(400, lr=0.1), 1) == 0.01
    assert epoch_rate(at(400, lr=0.1), 200) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        # 0.05 (1 + cos(pi e / 2)), the same for both steps of an epoch
        ("cosine-epoch", [0.05, 0.05, 0.0, 0.0]),
        # 0.05 (1 + cos(pi t / 4))
        ("cosine-step", [0.1, 0.0853553, 0.05, 0.0146447]),
    ],
)
def test_rate_of_each_step_of_two_epochs(rate: str, expected: list[float]) -> None:
    recipe = recipe_of("bp", {}, epochs=2, lr=0.1, rate=rate, warmup_epochs=0)
    assert [rate_of_step(recipe, step, 2) for step in range(4)] == pytest.approx(expected, abs=1e-7)
