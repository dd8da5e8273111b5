"""Which records belong to which cells of a table, and which of them may stand beside each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any, TypeAlias

import msgspec

from locbench.results.record import Record
from locbench.spec.presets import reductions, same_task_key, schedule_of, small_variant
from locbench.spec.recipe import Recipe, drop_matters
from locbench.spec.tables import Cell, Table

Place: TypeAlias = tuple[str, str]

ReductionKey: TypeAlias = tuple[tuple[str, Any], ...]
"""The fields of the schedule that differ from the published one, with their values."""


class Group(msgspec.Struct, frozen=True):
    """Runs reduced in the same way, by place in the table.

    ``how`` says it in words and is empty for full runs.
    """

    reduced: bool
    how: str
    runs: dict[Place, tuple[Record, ...]]


def group_records(table: Table, records: Iterable[Record]) -> list[Group]:
    """Give each record to its cells and group them by way of reducing, full runs first.

    A record that is the full run of some cells belongs to these alone; one on a cell's own data
    set, or a variant of it, is no reduced run of a cell on another. Of runs that saw several
    versions of a data set, those on the version of the latest run stand alone, and the others count
    as runs on other data.
    """
    cells = _cells_by_task(table)
    runs: dict[ReductionKey, dict[Place, list[Record]]] = defaultdict(lambda: defaultdict(list))
    words: dict[ReductionKey, dict[tuple[str, ...], None]] = defaultdict(dict)
    records = {record.key: record for record in records}.values()
    latest = latest_versions(records)
    for record in records:
        recipe = record.recipe
        version = version_of(record)
        for cell, published in _matching_cells(recipe, cells.get(same_task_key(recipe), [])):
            key = reduction_key(recipe, published) + _row_key(recipe, cell)
            reduction = _words(recipe_as_run(record), published, key)
            if version != latest[recipe.dataset]:
                key = (*key, ("content", version))
                reduction = (*reduction, f"another version of the data ({version})")
            runs[key][cell.row, cell.column].append(record)
            words[key][reduction] = None
    groups = {}
    for key, placed in runs.items():
        records_by_place = {place: tuple(records) for place, records in placed.items()}
        groups[key] = Group(bool(key), _merged(list(words[key])), records_by_place)
    return [groups[key] for key in sorted(groups, key=lambda key: (len(key), groups[key].how))]


def version_of(record: Record) -> str:
    """Return what tells versions of a data set apart: the fingerprint of what a run saw."""
    return record.data.fingerprint if record.data else record.recipe.content


def latest_versions(records: Iterable[Record]) -> dict[str, str]:
    """Return the version of each data set that the run saw which was started last."""
    ordered = sorted(records, key=lambda record: record.provenance.started)
    return {record.recipe.dataset: version_of(record) for record in ordered}


def recipe_as_run(record: Record) -> Recipe:
    """Return a run's recipe with as many images as there were, where it asked for more."""
    if record.data is None:
        return record.recipe
    asked = {"train_limit": record.data.train, "test_limit": record.data.test}
    less = {
        name: count for name, count in asked.items() if (getattr(record.recipe, name) or 0) > count
    }
    return msgspec.structs.replace(record.recipe, **less)


def reduction_key(recipe: Recipe, published: Recipe) -> ReductionKey:
    """Return how a run departs from the published one; empty for a full run.

    How often a run is tested changes no number, nor does the memory it runs in; what a data set
    held is told by its fingerprint, for sets known by name as for others; and the warm-up of a run
    of another length follows from that length. Networks replaced by their stand-ins are reduced
    alike, whatever their names.
    """
    ignored = {"test_every", "memory", "content"}
    ignored |= {"warmup_epochs"} if recipe.epochs != published.epochs else set()
    ignored |= set() if drop_matters(recipe) else {"drop_last"}
    actual, expected = dict(schedule_of(recipe)), dict(schedule_of(published))
    if recipe.network == small_variant(published.network) != published.network:
        actual["network"] = _smaller_label(recipe, published)
    return tuple(
        (name, value)
        for name, value in actual.items()
        if name not in ignored and value != expected[name]
    )


def _row_key(recipe: Recipe, cell: Cell) -> ReductionKey:
    """Keep the rows of detectors with a given backbone apart.

    The file decides the numbers and not the row's method, so that one row beside another would
    compare a file with itself.
    """
    return (("row", cell.row),) if recipe.detection and recipe.weights else ()


def _smaller_label(recipe: Recipe, published: Recipe) -> str:
    return reductions(recipe, msgspec.structs.replace(recipe, network=published.network))[0]


def _words(recipe: Recipe, published: Recipe, key: ReductionKey) -> tuple[str, ...]:
    words = reductions(recipe, published)
    if "warmup_epochs" in dict(key):
        words = [
            *words,
            f"warm-up of {recipe.warmup_epochs} instead of {published.warmup_epochs} epochs",
        ]
    return tuple(words or [f"{name} {value}" for name, value in key])


def _cells_by_task(table: Table) -> dict[str, list[tuple[Cell, Recipe]]]:
    families: dict[str, list[tuple[Cell, Recipe]]] = defaultdict(list)
    for cell in table.cells:
        if cell.recipe is not None and _holds_trained(table, cell):
            families[same_task_key(cell.recipe)].append((cell, cell.recipe))
    return families


def _holds_trained(table: Table, cell: Cell) -> bool:
    return any(table.metrics[name].kind == "trained" for name in cell.metrics)


def _matching_cells(recipe: Recipe, cells: list[tuple[Cell, Recipe]]) -> list[tuple[Cell, Recipe]]:
    pairs = [(cell, published) for cell, published in cells if _same_start(recipe, published)]
    full = [pair for pair in pairs if not reduction_key(recipe, pair[1])]
    near = [pair for pair in pairs if _is_variant(recipe.dataset, pair[1].dataset)]
    return full or near or pairs


def _same_start(recipe: Recipe, published: Recipe) -> bool:
    """Whether two runs of one network start from the same weights.

    Else neither is a reduced form of the other. A small network that stands in for another has no
    pretrained weights and may stand for either. No published run starts from torchvision's weights:
    one that does is shown, marked, beside those from random ones.
    """
    return recipe.network != published.network or recipe.init in (published.init, "torchvision")


def _is_variant(dataset: str, published: str) -> bool:
    """Whether a data set is the published one or a variant, as ``cifar10-jpeg`` is."""
    return dataset == published or dataset.startswith(f"{published}-")


def _merged(lists: Sequence[tuple[str, ...]]) -> str:
    """Merge the words of cells with different published schedules: ``4 of 160 or 200 epochs``."""
    phrases = [
        _alternatives(list(dict.fromkeys(phrase))) for phrase in zip_longest(*lists, fillvalue="")
    ]
    return ", ".join(phrases)


def _alternatives(phrases: list[str]) -> str:
    split = [phrase.split() for phrase in phrases if phrase]
    first, shortest = split[0], min(len(words) for words in split) - 1
    start = 0
    while start < shortest and all(words[start] == first[start] for words in split):
        start += 1
    end = 0
    while end < shortest - start and all(words[-1 - end] == first[-1 - end] for words in split):
        end += 1
    middles = dict.fromkeys(" ".join(words[start : len(words) - end]) for words in split)
    return " ".join([*first[:start], " or ".join(middles), *first[len(first) - end :]])
