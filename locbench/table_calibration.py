"""A table's calibration as data; `costs.calibration` applies it. Imports no torch."""

from __future__ import annotations

import msgspec


class Term(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One constant of a calibration.

    Attributes:
        gigabytes: what is added.
        fitted: the (row, column) places that it was fitted on: the mean of what they print beyond the base.
        shape: what it is added to: the live bytes after the first backward pass of this shape of convolution, as
            `costs.convolutions` names it, or with an empty one the predicted peak.
    """

    gigabytes: float
    fitted: list[tuple[str, str]] = []
    shape: str = ""


class Unfit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A place that a calibration is known not to fit, and why."""

    row: str
    column: str
    why: str


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a paper's memory seems to hold beyond tensors; shown beside a prediction and never part of it.

    Attributes:
        how: the reasoning, and how well it does.
        terms: the calibrated value is the largest of the predicted peak and of each term's base and gigabytes.
        legacy: instead of constants: the prediction as training was measured in 2022, with softmax keeping its
            input (torch up to 1.10) and one more copy of all parameters (DistributedDataParallel's buckets). Nothing
            is fitted.
        of: id of the paper's other table whose terms apply; empty if they are here.
        unfit: places that are neither fitted on nor counted as a test.
    """

    how: str
    terms: list[Term] = []
    legacy: bool = False
    of: str = ""
    unfit: list[Unfit] = []
