"""How long and on what a recipe trains: the published schedule, reduced ones, and the presets. Imports no torch."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, TypeAlias

import msgspec

from locbench.data.description import KNOWN
from locbench.recipe import Memory, Precision, Recipe, warmup_epochs

Preset: TypeAlias = Literal["smoke", "quick", "paper"]


class Schedule(msgspec.Struct, frozen=True):
    """The part of a recipe that a reduced run changes, and the memory it runs in; fields as in `Recipe`."""

    dataset: str
    epochs: int
    batch_size: int
    lr: float
    warmup_epochs: int
    train_limit: int | None
    test_limit: int | None
    test_every: int
    precision: Precision
    memory: Memory = "plain"


def schedule_of(recipe: Recipe) -> Schedule:
    """Return a recipe's schedule."""
    return Schedule(**{name: getattr(recipe, name) for name in Schedule.__struct_fields__})


def with_schedule(recipe: Recipe, schedule: Schedule, seed: int = 0) -> Recipe:
    """Return the recipe on another schedule and seed; the method, with its published weights, stays as it is."""
    return msgspec.structs.replace(recipe, **msgspec.structs.asdict(schedule), seed=seed)


def same_task_key(recipe: Recipe) -> str:
    """Return a key that recipes share when they differ in schedule and seed alone; the data set counts as schedule.

    Methods whose published weights depend on the data set keep apart, as their weights differ.
    """
    neutral = Schedule("", 1, 1, 1.0, 0, None, None, 1, "fp32")
    return _key(msgspec.structs.replace(with_schedule(recipe, neutral), method=""))


@lru_cache(maxsize=4096)
def _key(recipe: Recipe) -> str:
    return recipe.key


def same_run(recipe: Recipe, published: Recipe) -> bool:
    """Whether a recipe is a published one apart from its schedule and seed."""
    return with_schedule(recipe, schedule_of(published)).key == msgspec.structs.replace(published, seed=0).key


def reductions(schedule: Schedule, published: Schedule) -> list[str]:
    """Return, in words, how a schedule falls short of the published one; empty for a full run."""
    words = []
    if schedule.dataset != published.dataset:
        words.append(f"data set {_label(schedule.dataset)} instead of {_label(published.dataset)}")
    if schedule.epochs != published.epochs:
        words.append(f"{schedule.epochs} of {published.epochs} epochs")
    if schedule.train_limit != published.train_limit:
        words.append(f"{schedule.train_limit:,} training images" if schedule.train_limit else "all training images")
    if schedule.test_limit != published.test_limit:
        words.append(f"{schedule.test_limit:,} test images" if schedule.test_limit else "all test images")
    for name, label in (("batch_size", "batch"), ("lr", "learning rate"), ("precision", "precision")):
        if getattr(schedule, name) != getattr(published, name):
            words.append(f"{label} {getattr(schedule, name):g}" if name != "precision" else schedule.precision)
    return words


def _label(dataset: str) -> str:
    return KNOWN[dataset].label if dataset in KNOWN else dataset


def scaled_rate(lr: float, batch_size: int, new_batch: int) -> float:
    """Return the learning rate for another batch size by the linear scaling rule (Goyal et al. 2017)."""
    return lr * new_batch / batch_size


def preset_schedule(preset: Preset, published: Schedule) -> Schedule:
    """Return the schedule that a preset makes of a published one.

    ``paper`` leaves it as it is. ``quick`` trains on 4,000 images of the table's own data set, ``smoke`` on
    scikit-learn's digits at 16x16 pixels, which need no download; both in batches of 64 at a rate scaled to the batch.
    """
    if preset == "paper":
        return published
    changes: dict[str, Any] = {"batch_size": 64, "lr": scaled_rate(0.8, 1024, 64)}
    if preset == "quick":
        changes |= {"epochs": 10, "train_limit": 4000, "test_every": 5}
    else:
        changes |= {"epochs": 4, "dataset": "digits", "test_every": 4}
    changes["warmup_epochs"] = warmup_epochs(changes["epochs"])
    return msgspec.structs.replace(published, **changes)
