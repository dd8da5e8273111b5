"""Presets, and how a run falls short of the published one."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import msgspec

from locbench.datasets.coco import SHAPES
from locbench.datasets.imagenet import streams
from locbench.datasets.known import DATASETS
from locbench.datasets.naming import short
from locbench.spec.choices import Init, Preset
from locbench.spec.detector import Detection
from locbench.spec.networks import NETWORKS, TIMM
from locbench.spec.recipe import Recipe, drop_matters, warmup_epochs

SMALL_SIDE = 32
"""Side of the images, in pixels, in reduced runs of networks for ImageNet."""


SCHEDULE = (
    *("network", "dataset", "epochs", "batch_size", "lr", "warmup_epochs", "train_limit"),
    *("test_limit", "test_every", "precision", "memory", "image_size", "lr_scaling", "min_lr"),
    *("warmup_lr", "init", "weights", "processes", "drop_last", "detection", "backbone", "content"),
)
"""Fields of `Recipe` that a reduced run changes, in the order in which reductions are named."""


def schedule_of(recipe: Recipe) -> tuple[tuple[str, Any], ...]:
    """Return the names and values of a recipe's schedule.

    Of a detector's backbone only the schedule is returned.
    """
    backbone = schedule_of(recipe.backbone) if recipe.backbone else None
    values = {name: getattr(recipe, name) for name in SCHEDULE} | {"backbone": backbone}
    return tuple(values.items())


def same_task_key(recipe: Recipe) -> str:
    """Return a key that recipes share when they differ in schedule and seed alone.

    Data set, initial weights and image size count as schedule, and so does the small network that
    stands in for a transformer in reduced runs.

    Methods whose published weights depend on the data set keep apart, as their weights differ.
    """
    return _key(msgspec.structs.replace(_without_schedule(recipe), seed=0, method=""))


def _without_schedule(recipe: Recipe) -> Recipe:
    backbone = _without_schedule(recipe.backbone) if recipe.backbone else None
    neutral = _defaults() | {
        "network": small_variant(recipe.network),
        "dataset": "",
        "epochs": 1,
        "batch_size": 1,
    }
    neutral |= {"lr": 1.0, "warmup_epochs": 0, "backbone": backbone}
    neutral |= {"detection": Detection() if backbone else None}
    return msgspec.structs.replace(recipe, **neutral)


@cache
def _defaults() -> dict[str, Any]:
    return {
        field.name: field.default
        for field in msgspec.structs.fields(Recipe)
        if field.name in SCHEDULE
    }


@lru_cache(maxsize=4096)
def _key(recipe: Recipe) -> str:
    return recipe.key


def reductions(recipe: Recipe, published: Recipe) -> list[str]:
    """Return, in words, how a run falls short of the published one; empty for a full run."""
    words = []
    if recipe.network != published.network:
        words.append(_smaller(_network(recipe.network), _network(published.network)))
    if recipe.image_size != published.image_size:
        words.append(f"images of {recipe.image_size or 'their own'} pixels")
    if recipe.weights != published.weights and recipe.weights:
        words.append(
            f"backbone from file {recipe.weights}, method unknown"
            if recipe.detection
            else f"pretrained weights of file {recipe.weights}"
        )
    elif recipe.init != published.init:
        words.append(_START[recipe.init])
    if recipe.processes != published.processes:
        words.append(f"shared by {recipe.processes} processes")
    if recipe.dataset != published.dataset:
        words.append(f"data set {_label(recipe.dataset)} instead of {_label(published.dataset)}")
    if recipe.epochs != published.epochs:
        words.append(f"{recipe.epochs} of {published.epochs} epochs")
    if recipe.train_limit != published.train_limit:
        words.append(
            f"{recipe.train_limit:,} training images"
            if recipe.train_limit
            else "all training images"
        )
    if recipe.test_limit != published.test_limit:
        words.append(
            f"{recipe.test_limit:,} test images" if recipe.test_limit else "all test images"
        )
    if recipe.drop_last != published.drop_last and drop_matters(recipe):
        words.append(f"incomplete batches {'dropped' if recipe.drop_last else 'kept'}")
    for name, label in (
        ("batch_size", "batch"),
        ("lr", "learning rate"),
        ("precision", "precision"),
    ):
        if getattr(recipe, name) != getattr(published, name):
            words.append(
                f"{label} {getattr(recipe, name):g}" if name != "precision" else recipe.precision
            )
    return [*words, *_detector_reductions(recipe, published)]


def _detector_reductions(recipe: Recipe, published: Recipe) -> list[str]:
    detection, full = recipe.detection, published.detection
    if detection is None or full is None or recipe.backbone is None or published.backbone is None:
        return []
    words, settings = [], msgspec.structs.asdict(full)
    if (detection.short_side, detection.long_side) != (full.short_side, full.long_side):
        words.append(f"images of {detection.short_side} to {detection.long_side} pixels")
    words += [
        f"{name.replace('_', ' ')} {value}"
        for name, value in msgspec.structs.asdict(detection).items()
        if value != settings[name] and not name.endswith("_side")
    ]
    backbone = [] if recipe.weights else reductions(recipe.backbone, published.backbone)
    return [*words, f"backbone with {', '.join(backbone)}"] if backbone else words


_START: dict[Init, str] = {
    "scratch": "from random weights",
    "pretrained": "from pretrained weights",
    "torchvision": "from torchvision's ImageNet weights",
}


def _network(name: str) -> str:
    return NETWORKS[name].label if name in NETWORKS else name


def _smaller(network: str, published: str) -> str:
    # The same words for all networks that are made narrow alike.
    narrow = network.startswith(published)
    return (
        f"networks{network.removeprefix(published)}"
        if narrow
        else f"{network} instead of {published}"
    )


def small_variant(network: str) -> str:
    """Return the small network that takes a network's place in reduced runs.

    A network without one is returned itself.
    """
    return NETWORKS[network].small_variant or network


def _label(dataset: str) -> str:
    return DATASETS[dataset].label if dataset in DATASETS else short(dataset)


def scaled_rate(lr: float, batch_size: int, new_batch: int) -> float:
    """Return the learning rate for another batch by the linear rule (Goyal et al. 2017)."""
    return lr * new_batch / batch_size


def with_preset(
    published: Recipe, preset: Preset, dataset: str | None = None, *, bfloat16: bool = True
) -> Recipe:
    """Return the recipe that a preset makes of a published one; method and seed stay as they are.

    ``paper`` leaves it as it is. The others train in batches of 64 at a rate scaled to the batch:
    ``short`` for ten epochs on 20,000 images of the table's own data set, ``quick`` for ten on
    4,000, ``smoke`` for four on scikit-learn's digits at 16x16 pixels, which need no download.
    A large network's place is taken by a small one of as many local layers, from random weights. A
    detector is made small all through, on a small backbone that is trained by the row's method, in
    batches of 8: ``short`` for eight epochs on 5,000 images, ``quick`` for four on 2,000, ``smoke``
    for four on the drawn shapes.

    Args:
        published: the recipe of the table.
        preset: its name.
        dataset: a data set that the user asked for; ``smoke`` then trains on 800 of its images, as
            for large networks; in the place of ImageNet on 400.
        bfloat16: whether the hardware computes in bfloat16, in which ``short`` then trains.
    """
    if preset == "paper":
        return published
    if published.detection is not None and published.backbone is not None:
        backbone = with_preset(published.backbone, preset, bfloat16=bfloat16)
        changes = _small_detector(preset, published.detection, dataset) | {"backbone": backbone}
        changes["network"] = small_variant(published.network)
    else:
        changes = {"batch_size": 64, "lr": scaled_rate(0.8, 1024, 64)} | _with_small_variant(
            published
        )
        if preset == "smoke":
            changes |= {"epochs": 4, "dataset": dataset or "digits", "test_every": 4}
            changes |= {"test_limit": 500} if dataset else {}
            small = dataset or small_variant(published.network) != published.network
            limit = 400 if streams(published.dataset) else 800
            changes |= {"train_limit": limit} if small else {}
            if published.network.startswith(TIMM) and changes["dataset"] == "digits":
                changes["image_size"] = SMALL_SIDE  # theirs are too small for most models
        else:
            limit = 20_000 if preset == "short" else 4000
            changes |= {"epochs": 10, "train_limit": limit, "test_every": 5}
        warmup = warmup_epochs(changes["epochs"]) if published.warmup_epochs else 0
        changes["warmup_epochs"] = warmup
    if preset == "short":
        changes["precision"] = "bf16" if bfloat16 else "fp32"
    return msgspec.structs.replace(published, **changes)


def _small_detector(preset: Preset, detection: Detection, dataset: str | None) -> dict[str, Any]:
    smaller = msgspec.structs.replace(
        detection,
        **{"short_side": 96, "long_side": 160, "anchor": 16, "width": 32, "box_width": 128},
        **{"candidates": 200, "proposals": 32, "warmup_steps": 20, "trained_stages": 9},
        norm="trained",
    )
    changes: dict[str, Any] = {"detection": smaller, "batch_size": 8, "lr": 1e-3}
    if preset == "short":
        return changes | {"epochs": 8, "train_limit": 5000, "test_limit": 500, "test_every": 4}
    changes |= {"epochs": 4, "train_limit": 2000, "test_limit": 500, "test_every": 4}
    if preset == "smoke":
        limits = (320, 80) if dataset else (None, None)
        changes |= {"dataset": dataset or SHAPES, "train_limit": limits[0], "test_limit": limits[1]}
    return changes


def _with_small_variant(published: Recipe) -> dict[str, Any]:
    """Return what a reduced run of a large network changes beside its schedule."""
    small = NETWORKS[small_variant(published.network)].transformer
    if small is None:
        smaller = {"image_size": SMALL_SIDE} if streams(published.dataset) else {}
        return {
            "network": small_variant(published.network),
            "init": "scratch",
            "weights": "",
        } | smaller
    rates = {"lr": 1e-3, "lr_scaling": "none", "warmup_lr": 1e-5, "min_lr": 1e-5}
    return {
        "network": small_variant(published.network),
        "image_size": small.side,
        "init": "scratch",
        "weights": "",
    } | rates
