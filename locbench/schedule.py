"""How long and on what a recipe trains: the published schedule, reduced ones, and the presets. Imports no torch."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, TypeAlias

import msgspec

from locbench.data.description import KNOWN
from locbench.data.imagenet.layout import streams
from locbench.networks.catalogue import NETWORKS
from locbench.recipe import Init, Memory, Precision, Recipe, warmup_epochs

SMALL_SIDE = 64
"""Side of the images, in pixels, in reduced runs of networks for ImageNet."""

Preset: TypeAlias = Literal["smoke", "quick", "paper"]


class Schedule(msgspec.Struct, frozen=True):
    """The part of a recipe that a reduced run changes, and the memory it runs in; fields as in `Recipe`."""

    network: str
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
    image_size: int | None = None
    lr_scaling: Literal["none", "linear"] = "none"
    min_lr: float = 0.0
    warmup_lr: float = 0.01
    init: Init = "scratch"
    weights: str = ""
    processes: int = 1


def schedule_of(recipe: Recipe) -> Schedule:
    """Return a recipe's schedule."""
    return Schedule(**{name: getattr(recipe, name) for name in Schedule.__struct_fields__})


def with_schedule(recipe: Recipe, schedule: Schedule, seed: int = 0) -> Recipe:
    """Return the recipe on another schedule and seed; the method, with its published weights, stays as it is."""
    return msgspec.structs.replace(recipe, **msgspec.structs.asdict(schedule), seed=seed)


def same_task_key(recipe: Recipe) -> str:
    """Return a key that recipes share when they differ in schedule and seed alone.

    Data set, initial weights and image size count as schedule, and so does the small network that stands in for a
    transformer in reduced runs.

    Methods whose published weights depend on the data set keep apart, as their weights differ.
    """
    neutral = Schedule(stand_in(recipe.network), "", 1, 1, 1.0, 0, None, None, 1, "fp32")
    return _key(msgspec.structs.replace(with_schedule(recipe, neutral), method=""))


@lru_cache(maxsize=4096)
def _key(recipe: Recipe) -> str:
    return recipe.key


def reductions(schedule: Schedule, published: Schedule) -> list[str]:
    """Return, in words, how a schedule falls short of the published one; empty for a full run."""
    words = []
    if schedule.network != published.network:
        words.append(f"{_network(schedule.network)} instead of {_network(published.network)}")
    if schedule.image_size != published.image_size:
        words.append(f"images of {schedule.image_size or 'their own'} pixels")
    if schedule.init != published.init:
        words.append("from random weights" if schedule.init == "scratch" else "from pretrained weights")
    elif schedule.weights != published.weights:
        words.append(f"pretrained weights of file {schedule.weights}")
    if schedule.processes != published.processes:
        words.append(f"shared by {schedule.processes} processes")
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


def _network(name: str) -> str:
    return NETWORKS[name].label if name in NETWORKS else name


def stand_in(network: str) -> str:
    """Return the small network that takes a network's place in reduced runs; itself where there is none."""
    transformer = NETWORKS[network].transformer
    return transformer.stand_in if transformer is not None and transformer.stand_in else network


def _label(dataset: str) -> str:
    return KNOWN[dataset].label if dataset in KNOWN else dataset


def scaled_rate(lr: float, batch_size: int, new_batch: int) -> float:
    """Return the learning rate for another batch size by the linear scaling rule (Goyal et al. 2017)."""
    return lr * new_batch / batch_size


def preset_schedule(preset: Preset, published: Schedule, dataset: str | None = None) -> Schedule:
    """Return the schedule that a preset makes of a published one.

    ``paper`` leaves it as it is. ``quick`` trains on 4,000 images of the table's own data set, ``smoke`` on
    scikit-learn's digits at 16x16 pixels, which need no download; both in batches of 64 at a rate scaled to the batch.
    A transformer's place is taken by a small one of as many blocks, from random weights.

    Args:
        preset: its name.
        published: the schedule of the table.
        dataset: a data set that the user asked for; ``smoke`` then trains on 800 of its images.
    """
    if preset == "paper":
        return published
    changes: dict[str, Any] = {"batch_size": 64, "lr": scaled_rate(0.8, 1024, 64)} | _with_stand_in(published)
    if preset == "quick":
        changes |= {"epochs": 10, "train_limit": 4000, "test_every": 5}
    else:
        changes |= {"epochs": 4, "dataset": dataset or "digits", "test_every": 4}
        changes |= {"train_limit": 800, "test_limit": 500} if dataset else {}
    changes["warmup_epochs"] = warmup_epochs(changes["epochs"]) if published.warmup_epochs else 0
    return msgspec.structs.replace(published, **changes)


def _with_stand_in(published: Schedule) -> dict[str, Any]:
    """Return what a reduced run of a transformer changes besides: network, image size, initial weights, rates."""
    small = NETWORKS[stand_in(published.network)].transformer
    if small is None:
        return {"image_size": SMALL_SIDE} if streams(published.dataset) else {}
    rates = {"lr": 1e-3, "lr_scaling": "none", "warmup_lr": 1e-5, "min_lr": 1e-5}
    return {"network": stand_in(published.network), "image_size": small.side, "init": "scratch", "weights": ""} | rates
