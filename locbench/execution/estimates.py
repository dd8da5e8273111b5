"""Estimates of how long runs take, by records or by counted operations."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import torch

from locbench.costs import time_estimate as counted
from locbench.costs.calibration import calibrated_values
from locbench.costs.memory.store import PredictionStore
from locbench.costs.splits.store import Splits
from locbench.costs.table_values import best_splits, predicted_memory
from locbench.costs.trace_store import MissingTrace
from locbench.execution.job import Job
from locbench.printable import duration
from locbench.results.record import Record
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe, canonical, without_schedule
from locbench.spec.tables import Table
from locbench.training.device import device_name

Basis: TypeAlias = Literal["recorded", "similar", "counted"]

WORDS: dict[Basis, str] = {
    "recorded": "by recorded times of the same recipe on this device",
    "similar": "by those of the same network and method, scaled by their operations",
    "counted": "by counted operations over a rate measured now, a rough figure",
}
"""Where an estimate comes from, the best first."""

TRACE_START, TRACE_LAYER, SPLIT_TRACES = 2.0, 0.04, 10
"""CPU seconds of the first trace of a process, and per local layer of every one; traces in a search
for divisions.

As found on one core; a trace takes about the same time whatever the batch.
"""


@dataclass(frozen=True)
class Estimate:
    """Seconds of a run, and what they are taken from."""

    seconds: float
    basis: Basis


class Estimator:
    """Estimates of runs on one device.

    Args:
        records: any; those of other devices, or of runs beside others, are passed over.
        device: where to train.
    """

    def __init__(self, records: Iterable[Record], device: torch.device) -> None:
        self.device = device
        self._rates: dict[str, float] = {}
        self._same: dict[str, list[float]] = {}
        self._similar: dict[bytes, list[Record]] = {}
        for record in records:
            if self._counts(record):
                self._same.setdefault(_seedless(record.recipe), []).append(
                    record.provenance.seconds
                )
                self._similar.setdefault(_kind(record.recipe), []).append(record)

    def of(self, recipe: Recipe) -> Estimate:
        """Return the time of a run: training and evaluation."""
        same = self._same.get(_seedless(recipe))
        if same:
            return Estimate(statistics.median(same), "recorded")
        similar = self._similar.get(_kind(recipe))
        if similar:
            nearest = min(similar, key=lambda record: _distance(record.recipe, recipe))
            return Estimate(
                nearest.provenance.seconds * _work(recipe) / _work(nearest.recipe), "similar"
            )
        return Estimate(_work(recipe) / self._rate(recipe), "counted")

    def _rate(self, recipe: Recipe) -> float:
        timed = counted.rated_by(recipe, self.device)
        key = timed.key if timed is not None else ""
        if key not in self._rates:
            self._rates[key] = counted.measured_rate(self.device, timed)
        return self._rates[key]

    def _counts(self, record: Record) -> bool:
        origin = record.provenance
        if record.status != "done" or origin.beside > 1 or origin.seconds <= 0:
            return False
        threads = torch.get_num_threads() if self.device.type == "cpu" else origin.threads
        return origin.device == device_name(self.device) and origin.threads == threads


@dataclass(frozen=True)
class Forecast:
    """What plans take and what they lack.

    Attributes:
        estimator: of their runs.
        traces: of memory and of divisions, which are made when the table is shown.
        lacking: data sets, weights and packages that are not there, one sentence each.
    """

    estimator: Estimator
    traces: tuple[MissingTrace, ...] = ()
    lacking: tuple[str, ...] = ()

    def of(self, job: Job) -> Estimate:
        """Return the time of a run, backbones included, which are runs of their own."""
        return self.estimator.of(job.recipe)

    def left(self, jobs: Iterable[Job]) -> float:
        """Return the seconds that the open ones among some jobs take, and the traces."""
        return sum(self.of(job).seconds for job in jobs if job.open) + trace_seconds(self.traces)

    def words(self, jobs: Iterable[Job]) -> str:
        """Return what the time that is left is taken from, in a sentence.

        Empty where nothing is left.
        """
        estimates = [self.of(job) for job in jobs if job.open]
        parts = [basis_words(estimates)] if estimates else []
        if self.traces:
            count = "1 trace" if len(self.traces) == 1 else f"{len(self.traces)} traces"
            parts.append(f"{duration(trace_seconds(self.traces))} of it for {count} of memory")
        return f"Estimated {'; '.join(parts)}." if parts else ""


def basis_words(estimates: Iterable[Estimate]) -> str:
    """Return what estimates are taken from, with how many of them there are of each kind."""
    counts = Counter(estimate.basis for estimate in estimates)
    kinds = [basis for basis in WORDS if counts[basis]]
    if len(kinds) == 1:
        return WORDS[kinds[0]]
    return "; ".join(f"{counts[basis]} runs {WORDS[basis]}" for basis in kinds)


def missing_traces(table: Table, folders: Sequence[Path]) -> tuple[MissingTrace, ...]:
    """Return the traces that showing a table makes, which the results folders lack."""
    predictions = PredictionStore(*folders)
    predicted_memory(table, predictions)
    calibrated_values(table, predictions)
    best_splits(table, predictions)
    return tuple(predictions.log.missing.values())


def trace_seconds(missing: Sequence[MissingTrace]) -> float:
    """Return the CPU time of the traces that a table still needs."""
    if not missing:
        return 0.0
    layers = (
        NETWORKS[trace.recipe.network].units * (SPLIT_TRACES if trace.kind is Splits else 1)
        for trace in missing
    )
    return TRACE_START + TRACE_LAYER * sum(layers)


def _work(recipe: Recipe) -> float:
    """Return the multiply-accumulates of a run."""
    if recipe.detection is None:
        return counted.estimated_seconds(recipe, 1.0)
    from locbench.detection.costs import detector_seconds  # torchvision takes seconds to import

    return detector_seconds(recipe, 1.0)


def _seedless(recipe: Recipe) -> str:
    return msgspec.structs.replace(recipe, seed=0).key


def _kind(recipe: Recipe) -> bytes:
    """Return what runs share whose time is in proportion to operations, images and epochs."""
    kind = without_schedule(
        recipe, processes=recipe.processes, dataset="", batch_size=1, image_size=None
    )
    return msgspec.json.encode(canonical(kind), order="deterministic")


def _distance(one: Recipe, other: Recipe) -> tuple[bool, float, float]:
    """Return how far apart two runs of one kind are: images, batches, length."""
    return (
        one.side != other.side,
        abs(math.log(one.batch_size / other.batch_size)),
        abs(math.log(one.epochs / other.epochs)),
    )
