"""The largest batch for a memory, the cheapest method for a batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import msgspec

from locbench.costs.memory.device_overhead import ASSUMED, DeviceOverhead, Peak
from locbench.costs.memory.options import TraceOptions, phase_options
from locbench.costs.memory.trace import trace_step
from locbench.costs.memory.tracker import ConvolutionBytes
from locbench.costs.time_estimate import training_macs
from locbench.errors import FailureError, UsageError
from locbench.spec.recipe import Recipe, without_schedule

_UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}

SMALLEST, LARGEST = 10**6, 10**15
"""Bounds of a memory that is asked for, in bytes.

Nothing fits the one, and nobody has the other.
"""

_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(|[kmgt]i?)b?\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Candidate:
    """A recipe and what it needs.

    Attributes:
        recipe: the recipe.
        peak: its predicted peak of tensors, in bytes.
        total: that with what a device holds besides, by the same assumptions for all.
        macs: the multiply-accumulates of training on one image.
    """

    recipe: Recipe
    peak: int
    total: int
    macs: int


Need: TypeAlias = Callable[[Recipe, TraceOptions], int]
"""What a recipe needs in a setting, in bytes."""


def parse_bytes(text: str) -> int:
    """Read ``11GB`` (decimal), ``11GiB`` or a plain number of bytes.

    Raises:
        UsageError: the text is no size, or one that no memory has.
    """
    match, shown = _SIZE.match(text), text if len(text) < 30 else f"{text[:30]}..."
    if match is None:
        raise UsageError(f"{shown!r} is not a size of memory", "For example: 11GB, 24GiB.")
    size = float(match[1]) * _UNITS[match[2].lower()]
    if not SMALLEST <= size <= LARGEST:
        in_bytes = f"{size:,.0f} byte{'' if size == 1 else 's'}"
        actual = in_bytes if size < SMALLEST else "more than 1000TB"
        example = f"{match[1]}GB" if not match[2] and 0 < size < SMALLEST else "11GB"
        raise UsageError(
            f"a memory of {shown!r} is {actual}",
            f"Write a size with its unit, for example {example}.",
        )
    return int(size)


def largest_peak(recipe: Recipe, setting: TraceOptions = TraceOptions()) -> int:
    """Return the predicted peak of the step that needs most, with PGL one of either phase."""
    return max(step.peak for step in _steps(recipe, setting))


def on_device(overhead: DeviceOverhead) -> Need:
    """Return a function of what a recipe takes on a device with such an overhead, in bytes."""

    def need(recipe: Recipe, setting: TraceOptions = TraceOptions()) -> int:
        batch = setting.batch_size or recipe.batch_size
        return max(overhead.total(step, batch) for step in _steps(recipe, setting))

    return need


def _steps(recipe: Recipe, setting: TraceOptions) -> list[Peak]:
    bare = without_schedule(recipe)
    return [_step(bare, options) for options in phase_options(recipe, setting)]


@lru_cache(maxsize=256)
def _step(recipe: Recipe, setting: TraceOptions) -> Peak:
    live = ConvolutionBytes()
    peak = trace_step(recipe, setting, live).peak
    return Peak(peak, live.first_backwards())


def largest_batch(
    recipe: Recipe, memory: int, setting: TraceOptions = TraceOptions(), need: Need = largest_peak
) -> tuple[int, int]:
    """Return the largest batch that fits, and what it needs in bytes.

    The peak grows almost in proportion to the batch; a line through two batches gives a guess, and
    traced batches decide.

    Args:
        recipe: what is trained; its batch is passed over.
        memory: in bytes.
        setting: of the traces.
        need: what has to fit; the predicted peak of tensors by default.

    Raises:
        FailureError: not even a batch of two fits (BatchNorm needs two images).
    """

    def peak(batch: int) -> int:
        return need(recipe, msgspec.structs.replace(setting, batch_size=batch))

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


def rank_for_batch(
    recipes: Iterable[Recipe], memory: int, setting: TraceOptions = TraceOptions()
) -> list[Candidate]:
    """Return all recipes with what they need.

    Those that fit with what a device holds besides come first, then those whose tensors alone fit,
    each the cheapest first, then the others.
    """
    return sorted(
        (_candidate(recipe, setting) for recipe in recipes),
        key=lambda candidate: (
            candidate.total > memory,
            candidate.peak > memory,
            candidate.macs if candidate.peak <= memory else candidate.peak,
        ),
    )


def _candidate(recipe: Recipe, setting: TraceOptions) -> Candidate:
    total = on_device(ASSUMED)(recipe, setting)
    return Candidate(recipe, largest_peak(recipe, setting), total, training_macs(recipe))


def _bracket(peak: Callable[[int], int], memory: int) -> tuple[int, int]:
    """Return a batch that fits and a larger one that does not."""
    if peak(2) > memory:
        raise FailureError(
            f"not even a batch of 2 fits: its predicted peak is {peak(2) / 1e9:.3f} GB of "
            f"{memory / 1e9:.3f} GB",
            "Take a smaller network, a method that needs less memory, or more memory.",
        )
    slope = max((peak(66) - peak(2)) / 64, 1.0)
    low, high = 2, 2 + max(int((memory - peak(2)) / slope), 1)
    while peak(high) <= memory:
        low, high = high, high + max(int((memory - peak(high)) / slope), 1)
    return low, high
