"""Rounds in which everything takes its turn, and what is read off them. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from statistics import median
from typing import TypeVar

import msgspec

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
    """Return above / below round by round: what slows a machine for a while falls on both sides of a round."""
    return [one / other for one, other in zip(above, below, strict=False)]


def mixed(local: Sequence[float], guided: Sequence[float], share: float) -> list[float]:
    """Return the mean times of rounds in which a ``share`` of the steps is guided."""
    return [(1 - share) * one + share * other for one, other in zip(local, guided, strict=False)]


def steps_per_round(step_seconds: float, seconds: float, rounds: int) -> int:
    """Return how many steps fill a round, at least one, where all rounds together may take ``seconds``."""
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
        found: gets what each turn gave, round by round; whoever interrupts the rounds keeps what is there.
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
