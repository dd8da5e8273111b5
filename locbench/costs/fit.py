"""What fits a memory: the largest batch of a method, and the cheapest method of a batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from locbench.costs.duration import training_macs
from locbench.costs.memory import Setting, peak_bytes
from locbench.errors import FailureError, UsageError
from locbench.learning.options import Periodic
from locbench.recipe import Recipe

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(|[kmgt]i?)b?\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Candidate:
    """A recipe, its predicted peak in bytes, and the multiply-accumulates of training on one image."""

    recipe: Recipe
    peak: int
    macs: int


def parse_bytes(text: str) -> int:
    """Read ``11GB`` (decimal), ``11GiB`` or a plain number of bytes.

    Raises:
        UsageError: the text is no size.
    """
    match = _SIZE.match(text)
    if match is None:
        raise UsageError(f"{text!r} is not a size of memory", "For example: 11GB, 24GiB.")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def largest_batch(recipe: Recipe, memory: int, setting: Setting = Setting()) -> tuple[int, int]:
    """Return the largest batch whose predicted peak fits, and that peak in bytes.

    The peak grows almost in proportion to the batch; a line through two batches gives a guess, and traced
    batches decide.

    Raises:
        FailureError: not even a batch of two fits (BatchNorm needs two images).
    """

    def peak(batch: int) -> int:
        return largest_peak(recipe, msgspec.structs.replace(setting, batch_size=batch))

    low, high = _bracket(peak, memory)
    slope = max((peak(high) - peak(low)) / (high - low), 1.0)
    guess = low + int((memory - peak(low)) / slope)
    for middle in (guess, guess + 1):  # closes the bracket where the line is right
        if low < middle < high:
            low, high = (middle, high) if peak(middle) <= memory else (low, middle)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if peak(middle) <= memory else (low, middle)
    return low, peak(low)


def largest_peak(recipe: Recipe, setting: Setting = Setting()) -> int:
    """Return the predicted peak of the step that needs most: with PGL that may be one of either phase."""
    phases = (False, True) if isinstance(recipe.composition.phases, Periodic) else (False,)
    return max(peak_bytes(recipe, msgspec.structs.replace(setting, guided=guided)) for guided in phases)


def rank_for_batch(recipes: Iterable[Recipe], memory: int, setting: Setting = Setting()) -> list[Candidate]:
    """Return all recipes with their peaks, those that fit first and among these the cheapest first."""
    found = [Candidate(each, largest_peak(each, setting), training_macs(each)) for each in recipes]
    return sorted(found, key=lambda each: (each.peak > memory, each.macs if each.peak <= memory else each.peak))


def _bracket(peak: Callable[[int], int], memory: int) -> tuple[int, int]:
    """Return a batch that fits and a larger one that does not."""
    if peak(2) > memory:
        raise FailureError(
            f"not even a batch of 2 fits: its predicted peak is {peak(2) / 1e9:.3f} GB of {memory / 1e9:.3f} GB",
            "Take a smaller network, a method that needs less memory, or more memory.",
        )
    slope = max((peak(66) - peak(2)) / 64, 1.0)
    low, high = 2, 2 + max(int((memory - peak(2)) / slope), 1)
    while peak(high) <= memory:
        low, high = high, high + max(int((memory - peak(high)) / slope), 1)
    return low, high
