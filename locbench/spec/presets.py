"""How long and on what a recipe trains: the published schedule, reduced ones, and the presets."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, TypeAlias

import msgspec

from locbench.datasets.coco import SHAPES
from locbench.datasets.imagenet import streams
from locbench.datasets.known import KNOWN
from locbench.datasets.naming import short
from locbench.spec.detector import Detection
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Init, Memory, Precision, Recipe, drop_matters, warmup_epochs

SMALL_SIDE = 32
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
    drop_last: bool = False
    detection: Detection | None = None
    backbone: Schedule | None = None
    content: str = ""


def schedule_of(recipe: Recipe) -> Schedule:
    """Return a recipe's schedule, a detector's with that of its backbone."""
    backbone = schedule_of(recipe.backbone) if recipe.backbone else None
    own = {name: getattr(recipe, name) for name in Schedule.__struct_fields__} | {"backbone": backbone}
    return Schedule(**own)


def with_schedule(recipe: Recipe, schedule: Schedule, seed: int = 0) -> Recipe:
    """Return the recipe on another schedule and seed; the method, with its published weights, stays as it is.

    A detector's backbone keeps its seed: detectors of all seeds start from the same weights.
    """
    backbone = recipe.backbone
    if backbone is not None and schedule.backbone is not None:
        backbone = with_schedule(backbone, schedule.backbone, backbone.seed)
    changes = msgspec.structs.asdict(schedule) | {"backbone": backbone, "seed": seed}
    return msgspec.structs.replace(recipe, **changes)


def same_task_key(recipe: Recipe) -> str:
    """Return a key that recipes share when they differ in schedule and seed alone.

    Data set, initial weights and image size count as schedule, and so does the small network that stands in for a
    transformer in reduced runs.

    Methods whose published weights depend on the data set keep apart, as their weights differ.
    """
    neutral = Schedule(stand_in(recipe.network), "", 1, 1, 1.0, 0, None, None, 1, "fp32")
    if recipe.backbone is not None:
        neutral = msgspec.structs.replace(neutral, detection=Detection(), backbone=neutral)
    return _key(msgspec.structs.replace(with_schedule(recipe, neutral), method=""))


@lru_cache(maxsize=4096)
def _key(recipe: Recipe) -> str:
    return recipe.key


def reductions(schedule: Schedule, published: Schedule) -> list[str]:
    """Return, in words, how a schedule falls short of the published one; empty for a full run."""
    words = []
    if schedule.network != published.network:
        words.append(_smaller(_network(schedule.network), _network(published.network)))
    if schedule.image_size != published.image_size:
        words.append(f"images of {schedule.image_size or 'their own'} pixels")
    if schedule.weights != published.weights and schedule.weights:
        words.append(
            f"backbone from file {schedule.weights}, method unknown"
            if schedule.detection
            else f"pretrained weights of file {schedule.weights}"
        )
    elif schedule.init != published.init:
        words.append(_START[schedule.init])
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
    if schedule.drop_last != published.drop_last and drop_matters(schedule):
        words.append(f"incomplete batches {'dropped' if schedule.drop_last else 'kept'}")
    for name, label in (("batch_size", "batch"), ("lr", "learning rate"), ("precision", "precision")):
        if getattr(schedule, name) != getattr(published, name):
            words.append(f"{label} {getattr(schedule, name):g}" if name != "precision" else schedule.precision)
    return [*words, *_detector_reductions(schedule, published)]


def _detector_reductions(schedule: Schedule, published: Schedule) -> list[str]:
    own, other = schedule.detection, published.detection
    if own is None or other is None or schedule.backbone is None or published.backbone is None:
        return []
    words, wanted = [], msgspec.structs.asdict(other)
    if (own.short_side, own.long_side) != (other.short_side, other.long_side):
        words.append(f"images of {own.short_side} to {own.long_side} pixels")
    words += [
        f"{name.replace('_', ' ')} {value}"
        for name, value in msgspec.structs.asdict(own).items()
        if value != wanted[name] and not name.endswith("_side")
    ]
    backbone = [] if schedule.weights else reductions(schedule.backbone, published.backbone)
    return [*words, f"backbone with {', '.join(backbone)}"] if backbone else words


_START: dict[Init, str] = {
    "scratch": "from random weights",
    "pretrained": "from pretrained weights",
    "torchvision": "from torchvision's ImageNet weights",
}


def _network(name: str) -> str:
    return NETWORKS[name].label if name in NETWORKS else name


def _smaller(network: str, published: str) -> str:
    narrow = network.startswith(published)  # the same words for all networks that are made narrow alike
    return f"networks{network.removeprefix(published)}" if narrow else f"{network} instead of {published}"


def stand_in(network: str) -> str:
    """Return the small network that takes a network's place in reduced runs; itself where there is none."""
    return NETWORKS[network].stand_in or network


def _label(dataset: str) -> str:
    return KNOWN[dataset].label if dataset in KNOWN else short(dataset)


def scaled_rate(lr: float, batch_size: int, new_batch: int) -> float:
    """Return the learning rate for another batch size by the linear scaling rule (Goyal et al. 2017)."""
    return lr * new_batch / batch_size


def preset_schedule(preset: Preset, published: Schedule, dataset: str | None = None) -> Schedule:
    """Return the schedule that a preset makes of a published one.

    ``paper`` leaves it as it is. ``quick`` trains on 4,000 images of the table's own data set, ``smoke`` on
    scikit-learn's digits at 16x16 pixels, which need no download; both in batches of 64 at a rate scaled to the batch.
    A large network's place is taken by a small one of as many local layers, from random weights; a detector is made
    small all through, on a small backbone that is trained by the row's method; ``quick`` trains it on 2,000 images for
    four epochs in batches of 8, ``smoke`` on the drawn shapes.

    Args:
        preset: its name.
        published: the schedule of the table.
        dataset: a data set that the user asked for; ``smoke`` then trains on 800 of its images, as for large
            networks; in the place of ImageNet on 400.
    """
    if preset == "paper":
        return published
    if published.detection is not None and published.backbone is not None:
        return _small_detector(preset, published, published.detection, published.backbone, dataset)
    changes: dict[str, Any] = {"batch_size": 64, "lr": scaled_rate(0.8, 1024, 64)} | _with_stand_in(published)
    if preset == "quick":
        changes |= {"epochs": 10, "train_limit": 4000, "test_every": 5}
    else:
        changes |= {"epochs": 4, "dataset": dataset or "digits", "test_every": 4}
        changes |= {"test_limit": 500} if dataset else {}
        small = dataset or stand_in(published.network) != published.network
        changes |= {"train_limit": 400 if streams(published.dataset) else 800} if small else {}
    changes["warmup_epochs"] = warmup_epochs(changes["epochs"]) if published.warmup_epochs else 0
    return msgspec.structs.replace(published, **changes)


def _small_detector(
    preset: Preset, published: Schedule, detection: Detection, backbone: Schedule, dataset: str | None
) -> Schedule:
    smaller = msgspec.structs.replace(
        detection,
        **{"short_side": 96, "long_side": 160, "anchor": 16, "width": 32, "box_width": 128, "candidates": 200},
        **{"proposals": 32, "warmup_steps": 20, "trained_stages": 9, "norm": "trained"},
    )
    changes: dict[str, Any] = {"network": stand_in(published.network), "batch_size": 8, "lr": 1e-3}
    changes |= {"epochs": 4, "train_limit": 2000, "test_limit": 500, "test_every": 4}
    if preset == "smoke":
        changes |= {"dataset": dataset or SHAPES}
        changes |= {"train_limit": 320, "test_limit": 80} if dataset else {"train_limit": None, "test_limit": None}
    return msgspec.structs.replace(published, **changes, detection=smaller, backbone=preset_schedule(preset, backbone))


def _with_stand_in(published: Schedule) -> dict[str, Any]:
    """Return what a reduced run of a large network changes: the network, image size, initial weights, and rates."""
    small = NETWORKS[stand_in(published.network)].transformer
    if small is None:
        smaller = {"image_size": SMALL_SIDE} if streams(published.dataset) else {}
        return {"network": stand_in(published.network), "init": "scratch", "weights": ""} | smaller
    rates = {"lr": 1e-3, "lr_scaling": "none", "warmup_lr": 1e-5, "min_lr": 1e-5}
    return {"network": stand_in(published.network), "image_size": small.side, "init": "scratch", "weights": ""} | rates
