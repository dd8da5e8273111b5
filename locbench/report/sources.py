"""Where the numbers of a comparison come from: devices, versions, commits, data and schedules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from locbench.report.model import Sources
from locbench.results.record import DataUsed, Provenance, Record
from locbench.spec.recipe import Recipe

T = TypeVar("T")


def sources_of(records: Sequence[Record]) -> Sources:
    """Summarise the provenance of finished runs."""
    records = sorted(
        {record.key: record for record in records}.values(),
        key=lambda each: each.provenance.started,
    )
    made = [record.provenance for record in records]
    starts = [each.started for each in made if each.started]
    return Sources(
        runs=len(records),
        devices=_distinct(each.device for each in made),
        engines=_distinct(each.engine for each in made),
        versions=_distinct(_versions(each) for each in made),
        commits=_distinct(_commit(each) for each in made),
        data=_distinct(_data(record.data) for record in records if record.data),
        schedules=_distinct(_schedule(record.recipe) for record in records),
        seeds=tuple(sorted({record.recipe.seed for record in records})),
        first=min(starts, default=""),
        last=max(starts, default=""),
        seconds=sum(each.seconds for each in made),
        resumed=sum(each.resumed > 0 for each in made),
        side_by_side=sum(each.beside > 1 for each in made),
    )


def data_labels(records: Iterable[Record]) -> tuple[str, ...]:
    """Return the names that the records give their data sets."""
    return _distinct(record.data.label for record in records if record.data)


def _distinct(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))


def _versions(made: Provenance) -> str:
    return ", ".join(f"{name} {version}" for name, version in made.versions.items())


def _commit(made: Provenance) -> str:
    named = made.code or "outside a checkout"
    return f"{named}, begun by {', then '.join(made.codes[:-1])}" if made.codes else named


def _data(data: DataUsed) -> str:
    return f"{data.label}, fingerprint {data.fingerprint}, {data.train:,} training and {data.test:,} test images"


def _schedule(recipe: Recipe) -> str:
    return (
        f"{recipe.dataset}: {recipe.epochs} epochs ({recipe.warmup_epochs} of warm-up), batch {recipe.batch_size}, "
        f"learning rate {recipe.lr:g}, {recipe.precision}{', lean memory' if recipe.memory == 'lean' else ''}"
    )
