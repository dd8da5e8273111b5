"""What no record may hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from locbench.datasets.catalogue import kind_of
from locbench.errors import LocbenchError
from locbench.results.record import DataUsed, Record
from locbench.spec.compatibility import refuse_unfit
from locbench.spec.networks import TIMM, units_per_module
from locbench.spec.recipe import Recipe
from locbench.spec.validation import refuse_numbers

_PERCENT = re.compile(r".*_(acc|err|top5)|(box|mask)_ap.*")
_ROUNDED = 1e-3
"""More than rounding takes from a percentage or adds to it."""

_LARGEST = 10**12
"""No count and no number of seconds of ours is larger."""

_FIRST_YEAR = 2026
"""A clock that says an earlier year was reset, and does not date records into the future."""


def first_fault(record: Record) -> str:
    """Return what is wrong with a record that has the right fields, with the field's name.

    Empty if nothing is.
    """
    return next(_faults(record), "")


def _faults(record: Record) -> Iterator[str]:
    yield from _recipe_faults(record.recipe)
    yield from _history_faults(record)
    yield from _metric_faults(record)
    yield from _count_faults(record)
    yield from _status_faults(record)
    if record.data is not None:
        yield from _data_faults(record.data, record.recipe)


def _recipe_faults(recipe: Recipe) -> Iterator[str]:
    try:
        kind_of(recipe.dataset)
        # What a model of timm has and takes was asked before it was trained: no need to import it.
        if not (recipe.composition.end_to_end or recipe.network.startswith(TIMM)):
            units_per_module(recipe.network, recipe.modules)
        refuse_numbers(recipe)
        refuse_unfit(recipe, ask_timm=False)
    except LocbenchError as error:
        yield f"recipe: {error.message}"
    if recipe.backbone is not None:
        yield from (f"backbone's {fault}" for fault in _recipe_faults(recipe.backbone))


def _history_faults(record: Record) -> Iterator[str]:
    epochs, history = record.recipe.epochs, record.history
    if [row.get("epoch") for row in history] != list(range(1, len(history) + 1)):
        yield "history: its epochs are not 1, 2, 3 and so on"
    if len(history) > epochs or (record.status == "done" and len(history) < epochs):
        yield f"history: {len(history)} epochs of a run of {epochs}"
    for number, row in enumerate(history, 1):
        yield from _number_faults(row, f"history, epoch {number}: ")


def _metric_faults(record: Record) -> Iterator[str]:
    yield from _number_faults(record.metrics, "metrics.")
    yield from _contradictions(record)
    needed = "train_loss" if record.recipe.detection is not None else "test_acc"
    if record.status == "done" and needed not in record.metrics:
        yield f"metrics: {needed} is missing"
    best = record.metrics.get("best_epoch", 1)
    if not (1 <= best <= record.recipe.epochs and best == int(best)):
        yield f"metrics.best_epoch is {best:g}, not one of {record.recipe.epochs} epochs"


def _contradictions(record: Record) -> Iterator[str]:
    """Yield numbers that say otherwise than others: accuracy and error, the end and the history."""
    metrics, last = record.metrics, record.history[-1] if record.history else {}
    opposite = {"test_err": "test_acc", "top1_err": "test_acc", "top5_err": "top5_acc"}
    for error, accuracy in opposite.items():
        if (
            error in metrics
            and accuracy in metrics
            and abs(metrics[error] + metrics[accuracy] - 100) > _ROUNDED
        ):
            both = f"{accuracy} {metrics[accuracy]:g} and {error} {metrics[error]:g}"
            yield f"metrics: {both} do not make 100"
    ended = last.get("test_acc")
    if (
        record.status == "done"
        and ended is not None
        and abs(metrics.get("test_acc", ended) - ended) > _ROUNDED
    ):
        last_epoch = f"{ended:g} after the last epoch of the history"
        yield f"metrics.test_acc is {metrics['test_acc']:g}, and {last_epoch}"
    tested = [each for row in record.history if (each := row.get("test_acc")) is not None]
    if tested and abs(metrics.get("best_acc", max(tested)) - max(tested)) > _ROUNDED:
        best = f"{max(tested):g} is the best of the history"
        yield f"metrics.best_acc is {metrics['best_acc']:g}, and {best}"


def _number_faults(numbers: Mapping[str, float | None], place: str) -> Iterator[str]:
    for name, value in numbers.items():
        if value is None:
            continue
        least, most = _range(name)
        if not (least - _ROUNDED <= value <= most + _ROUNDED and math.isfinite(value)):
            yield f"{place}{name} is {value:g}, not from {least:g} to {most:g}"


def _range(name: str) -> tuple[float, float]:
    if _PERCENT.fullmatch(name):
        return 0, 100
    if name == "global_share":
        return 0, 1
    return (0, _LARGEST) if name in ("seconds", "lr", "epoch") else (-math.inf, math.inf)


def _count_faults(record: Record) -> Iterator[str]:
    origin = record.provenance
    counts: dict[str, float] = {
        f"parameters.{name}": value for name, value in record.parameters.items()
    }
    counts |= {
        f"provenance.{name}": getattr(origin, name)
        for name in ("seconds", "resumed", "threads", "beside")
    }
    if record.data is not None:
        counts |= {"data.train": record.data.train, "data.test": record.data.test}
    for name, value in counts.items():
        least = 1 if record.status == "done" and name.startswith("data.") else 0
        if not least <= value <= _LARGEST:
            yield f"{name} is {value:g}, not from {least} to {_LARGEST:g}"
    if not re.fullmatch("[0-9a-f]*", origin.commit):
        yield f"provenance.commit is {origin.commit[:40]!r}, which is no commit"
    if origin.started:
        try:
            year = datetime.fromisoformat(origin.started).year
        except ValueError:
            yield f"provenance.started is {origin.started[:40]!r}, which is no time"
        else:
            if year > max(datetime.now().year, _FIRST_YEAR) + 1:
                yield f"provenance.started is {origin.started[:40]!r}, which is yet to come"


def _status_faults(record: Record) -> Iterator[str]:
    if record.status == "done" and record.error:
        yield f"error is {record.error[:40]!r}, and the run is done"
    if record.status == "done" and record.data is None:
        yield "data is missing, and the run is done"


def _data_faults(data: DataUsed, recipe: Recipe) -> Iterator[str]:
    # A folder may have been named in another way; what was in it is told by the fingerprint.
    try:
        alike = kind_of(data.name) == kind_of(recipe.dataset)
    except LocbenchError as error:
        yield f"data.name: {error.message}"
        return
    if not alike:
        yield f"data.name is {data.name!r}, and the recipe's data set {recipe.dataset!r}"
    for part, used, limit in (
        ("train", data.train, recipe.train_limit),
        ("test", data.test, recipe.test_limit),
    ):
        if limit is not None and used > limit:
            yield f"data.{part} is {used}, and the recipe's limit {limit}"
