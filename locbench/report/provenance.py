"""Where the numbers of a comparison come from: devices, versions, commits, data and schedules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from locbench.printable import duration
from locbench.report.model import Sources
from locbench.results.record import DataUsed, Provenance, Record
from locbench.spec.recipe import Recipe

T = TypeVar("T")


def sources_of(records: Sequence[Record]) -> Sources:
    """Summarise the provenance of finished runs."""
    unique = {record.key: record for record in records}.values()
    records = sorted(unique, key=lambda record: record.provenance.started)
    provenances = [record.provenance for record in records]
    starts = [provenance.started for provenance in provenances if provenance.started]
    return Sources(
        runs=len(records),
        devices=_distinct(each.device for each in provenances),
        threads=tuple(sorted({each.threads for each in provenances if each.threads})),
        engines=_distinct(each.engine for each in provenances),
        versions=_distinct(versions_text(each) for each in provenances),
        commits=_distinct(_commit(each) for each in provenances),
        data=_distinct(_data(record.data) for record in records if record.data),
        schedules=_distinct(_schedule(record.recipe) for record in records),
        seeds=tuple(sorted({record.recipe.seed for record in records})),
        first=min(starts, default=""),
        last=max(starts, default=""),
        seconds=sum(each.seconds for each in provenances),
        resumed=sum(each.resumed > 0 for each in provenances),
        side_by_side=sum(each.beside > 1 for each in provenances),
    )


def data_labels(records: Iterable[Record]) -> tuple[str, ...]:
    """Return the names that the records give their data sets."""
    return _distinct(record.data.label for record in records if record.data)


def source_lines(sources: Sources) -> list[str]:
    """Return the provenance of runs and predictions as ``name: value``; empty without either."""
    predictions = f"traced with {sources.predictions}" if sources.predictions else ""
    first, last = sources.first, sources.last
    resumed = f", {sources.resumed} of them resumed" if sources.resumed else ""
    beside = sources.side_by_side
    shared = f", {beside} of them beside others on the device" if beside else ""
    time = f"{duration(sources.seconds)} in all, started {first}"
    lines = {
        "runs": f"{sources.runs}{resumed}{shared}, {time}{f' to {last}' if last != first else ''}",
        "schedule": "; ".join(sources.schedules),
        "data": "; ".join(sources.data),
        "seeds": ", ".join(map(str, sources.seeds)),
        "device": "; ".join(sources.devices),
        "CPU threads": ", ".join(map(str, sources.threads)),
        "engine": "; ".join(sources.engines),
        "versions": "; ".join(sources.versions),
        "commit": "; ".join(sources.commits),
    }
    shown = (lines if sources.runs else {}) | {"predictions": predictions}
    return [f"{name}: {value}" for name, value in shown.items() if value]


def _distinct(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))


def versions_text(provenance: Provenance) -> str:
    """Return the libraries and the plugins that a run or a measurement was made with."""
    plugins = {f"plugin {name}": digest[:12] for name, digest in provenance.plugin_digests.items()}
    return ", ".join(f"{name} {each}" for name, each in (provenance.versions | plugins).items())


def _commit(provenance: Provenance) -> str:
    code = provenance.code or "outside a checkout"
    earlier = ", then ".join(provenance.codes[:-1])
    return f"{code}, begun by {earlier}" if provenance.codes else code


def _data(data: DataUsed) -> str:
    images = f"{data.train:,} training and {data.test:,} test images"
    return f"{data.label}, fingerprint {data.fingerprint}, {images}"


def _schedule(recipe: Recipe) -> str:
    lean = ", lean memory" if recipe.memory == "lean" else ""
    return (
        f"{recipe.dataset}: {recipe.epochs} epochs ({recipe.warmup_epochs} of warm-up), "
        f"batch {recipe.batch_size}, learning rate {recipe.lr:g}, {recipe.precision}{lean}"
    )
