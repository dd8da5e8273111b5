"""What a device holds besides the tensors of a step.

Where a table has a calibration of the recipe it is taken, else figures that are assumed and said to
be. Neither is ever part of a prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from locbench.costs.table_values import MEMORY
from locbench.spec.recipe import Recipe, without_schedule
from locbench.spec.table_files import load_table, load_tables
from locbench.spec.tables import Calibration, Term

CONTEXT = 500_000_000
"""Bytes that CUDA's context takes, code and libraries included: 0.4 to 0.6 GB on most devices."""

WORKSPACES = 64 * 2**20
"""Bytes of cuBLAS's and cuBLASLt's workspaces on a device that gives each 32 MiB.

Others give less.
"""

FRAGMENTS = 0.1
"""Share of the tensors that the allocator holds besides, since it hands out whole blocks."""


class Peak(NamedTuple):
    """A traced step in bytes.

    Attributes:
        peak: of live tensors.
        backwards: live after the first backward pass of each shape of convolution.
    """

    peak: int
    backwards: Mapping[str, int]


class DeviceOverhead(msgspec.Struct, frozen=True):
    """What a device holds besides tensors.

    Attributes:
        table: whose calibration it is; empty where figures are assumed.
        batch: at which the calibration was fitted.
        terms: of the calibration.
    """

    table: str = ""
    batch: int = 1
    terms: tuple[Term, ...] = ()

    def total(self, step: Peak, batch: int) -> int:
        """Return the bytes that a device holds at a batch."""
        if not self.table:
            return round(step.peak * (1 + FRAGMENTS)) + WORKSPACES + CONTEXT
        scale = max(1.0, batch / self.batch)
        totals = [step.peak]
        for term in self.terms:
            base = term.base(step.peak, step.backwards)
            if base is not None:
                totals.append(base + round(term.gigabytes * 1e9 * scale))
        return max(totals) + CONTEXT

    @property
    def how(self) -> str:
        """What is counted, in one sentence."""
        context = f"{CONTEXT / 1e9:.1f} GB for CUDA's context"
        if self.table:
            return (
                f"With what a device holds besides: the calibration of {self.table}, fitted at a "
                f"batch of {self.batch:,} and taken in proportion to larger ones, and {context}, "
                "which is assumed."
            )
        return (
            f"With what a device holds besides, all of it assumed: {context}, "
            f"{WORKSPACES / 1e9:.2f} GB for cuBLAS's workspaces, and {FRAGMENTS:.0%} of the "
            "tensors for the allocator's blocks. Workspaces of cuDNN may come on top."
        )


ASSUMED = DeviceOverhead()
"""Where no table has a calibration."""


def overhead_of(recipe: Recipe) -> DeviceOverhead:
    """Return what a device holds besides the tensors of a recipe, whatever its batch."""
    key = _sizeless(recipe)
    for table in load_tables([], ["calibration"]):  # one that is broken has none
        calibration = table.calibration
        for cell in table.cells if calibration is not None and not calibration.legacy else ():
            if calibration is None or cell.recipe is None or MEMORY not in cell.published:
                continue
            place = cell.row, cell.column
            if _sizeless(cell.recipe) == key and place not in calibration.unfit_places:
                terms = tuple(_terms(calibration))
                return DeviceOverhead(table.id, cell.recipe.batch_size, terms)
    return ASSUMED


def _sizeless(recipe: Recipe) -> str:
    return without_schedule(recipe, batch_size=2).key


def _terms(calibration: Calibration) -> list[Term]:
    whole = load_table(calibration.of).calibration if calibration.of else calibration
    return whole.terms if whole else []
