"""Numbers out of range, and settings that do not go together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from locbench.datasets.coco import PATTERN, SHAPES, holds_boxes
from locbench.datasets.imagenet import streams
from locbench.datasets.naming import canonical
from locbench.errors import UsageError
from locbench.printable import shortened
from locbench.registry import suggestion
from locbench.spec.components import AugLocal, Isolated
from locbench.spec.detector import Detection
from locbench.spec.expression import compose
from locbench.spec.methods import MethodContext
from locbench.spec.networks import NETWORKS, check_side, units_per_module
from locbench.spec.recipe import Recipe, refuse_types, warmup_epochs

MOST = {
    "epochs": 100_000,
    "batch_size": 1_000_000,
    "train_limit": 1_000_000_000,
    "test_limit": 1_000_000_000,
    "test_every": 100_000,
    "image_size": 10_000,
    "processes": 100_000,
}
"""Counts from 1, and the largest of each: a hundred times what anybody trains with, and nothing
that never ends.
"""

LARGEST_SEED = 2**32 - 1

MOST_SEEDS = 1000


def refuse_count(option: str, value: int, most: int) -> None:
    """Refuse a number below 1, or one so large that it can only be a slip.

    Raises:
        UsageError: it is one of both.
    """
    if value < 1:
        raise UsageError(f"{option} is {value}", "Ask for 1 or more.")
    if value > most:
        raise UsageError(f"{option} is {shortened(value)}", f"Ask for {most:,} or less.")


def refuse_sizes(settings: Mapping[str, Any]) -> None:
    """Refuse counts below 1 and beyond all sense.

    Raises:
        UsageError: a count is out of range.
    """
    for name, most in MOST.items():
        value = settings.get(name)
        if value is not None and not 1 <= value <= most:
            least = "1 or more" if value < 1 else f"{most:,} or less"
            raise UsageError(f"{name} is {value}", f"Set {name} to {least}.")
    if not 0 <= settings.get("seed", 0) <= LARGEST_SEED:
        raise UsageError(f"seed is {settings['seed']}", f"Set seed from 0 to {LARGEST_SEED}.")


def refuse_numbers(recipe: Recipe) -> None:
    """Refuse counts, rates and shares out of their range.

    Raises:
        UsageError: a number is out of range.
    """
    refuse_sizes(msgspec.structs.asdict(recipe))
    for name in ("lr", "weight_decay", "warmup_epochs", "warmup_lr", "min_lr"):
        value = getattr(recipe, name)
        if not 0 <= value < math.inf or (name == "lr" and value == 0):
            least = "above 0" if name == "lr" else "from 0"
            raise UsageError(f"{name} is {value:g}", f"Set {name} to a finite number {least}.")
    if recipe.warmup_epochs > recipe.epochs:
        raise UsageError(
            f"warmup_epochs is {recipe.warmup_epochs} of {recipe.epochs} epochs",
            "Set it to at most the epochs.",
        )
    _refuse_shares(recipe)


def _refuse_shares(recipe: Recipe) -> None:
    shares = [(name, getattr(recipe, name)) for name in ("momentum", "drop_path", "color_jitter")]
    for name, value in (*shares, *(("betas", each) for each in recipe.betas)):
        if not 0 <= value < 1:
            raise UsageError(f"{name} is {value:g}", f"Set {name} from 0 to below 1.")
    if not 0 < recipe.eps < 1:
        raise UsageError(f"eps is {recipe.eps:g}", "Set eps to a small number above 0.")


def _refuse_unused(recipe: Recipe) -> None:
    """Refuse settings of another optimizer: they would change nothing but the record's name."""
    sgd, adamw = {"momentum": 0.9, "nesterov": True}, {"betas": (0.9, 0.999), "eps": 1e-8}
    others: dict[str, Any] = sgd if recipe.optimizer == "adamw" else adamw
    for name, default in others.items():
        if getattr(recipe, name) != default:
            raise UsageError(
                f"{name} is not a setting of the optimizer {recipe.optimizer!r}", "Leave it out."
            )


def refuse_unfit(recipe: Recipe) -> None:
    """Refuse settings that do not go together.

    Raises:
        UsageError: two settings do not fit.
    """
    if recipe.memory == "lean" and (why := lean_obstacle(recipe)):
        raise UsageError(why, "Use --memory plain, or leave it out.")
    refuse_unfit_detector(recipe)
    _refuse_split(recipe)
    _refuse_unused(recipe)
    transformer = NETWORKS[recipe.network].transformer
    if transformer is not None:
        check_side(recipe.network, recipe.side)
    if transformer is None and recipe.drop_path:
        raise UsageError(
            f"drop_path is for transformers, {recipe.network} is none", "Leave drop_path out."
        )
    _refuse_init(recipe)
    if transformer is not None and any(
        isinstance(each, AugLocal) for each in recipe.composition.branches
    ):
        raise UsageError(
            "AugLocal copies convolutional layers and has no rule for transformers",
            "Use another method.",
        )
    if streams(recipe.dataset) and recipe.augmentation != "imagenet":
        raise UsageError(
            f"{recipe.dataset!r} is read from files, the augmentation "
            f"{recipe.augmentation!r} is for images in memory",
            "Choose a table of ImageNet, or another data set.",
        )
    if recipe.weights and recipe.init == "scratch" and recipe.detection is None:
        raise UsageError(
            "weights name a file, but the run starts from random ones",
            "Leave them out, or set init.",
        )
    if recipe.rate != "cosine-step" and (recipe.min_lr or recipe.lr_scaling != "none"):
        name = "min_lr" if recipe.min_lr else "lr_scaling"
        raise UsageError(
            f"{name} belongs to the rate 'cosine-step'", f"Set rate, or leave {name} out."
        )
    if recipe.clip_norm is not None and not 0 < recipe.clip_norm < math.inf:
        raise UsageError(
            f"clip_norm is {recipe.clip_norm:g}", "Set clip_norm above 0, or leave it out."
        )
    if recipe.color_jitter and recipe.augmentation != "swin":
        raise UsageError(
            "color_jitter belongs to the augmentation 'swin'", "Leave it out, or set augmentation."
        )
    if recipe.mixup and not recipe.composition.end_to_end:
        raise UsageError(
            "mixup makes soft labels, which local losses do not take",
            "Use it with the method 'bp'.",
        )


def _refuse_split(recipe: Recipe) -> None:
    units, split = NETWORKS[recipe.network].units, recipe.split
    if split is not None and (
        min(split, default=0) < 1 or sum(split) != units or len(split) != recipe.modules
    ):
        raise UsageError(
            f"split {','.join(map(str, split))} does not divide {units} local "
            f"layers into {recipe.modules} modules",
            f"Give {recipe.modules} whole numbers from 1 whose sum is {units}, or leave split out.",
        )


def _refuse_init(recipe: Recipe) -> None:
    known = NETWORKS[recipe.network]
    own = "torchvision" if known.torchvision else "pretrained" if known.transformer else "scratch"
    if recipe.init not in ("scratch", own):
        library = "timm" if recipe.init == "pretrained" else "torchvision"
        fitting = dict.fromkeys((own, "scratch"))
        raise UsageError(
            f"{library} has no weights of {known.label}",
            f"Use --init {' or '.join(fitting)}, or another network; the presets' "
            "small networks have none.",
        )
    if recipe.init != "scratch" and recipe.detection is not None:
        raise UsageError("a detector starts from its backbone's weights", "Leave --init out.")


def refuse_infinite(value: Any, name: str = "") -> None:
    """Refuse numbers that JSON does not have, anywhere in a method's options.

    Args:
        value: options, as plain data.
        name: of the option that they are the value of.

    Raises:
        UsageError: a number is not finite.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"option {name!r} of the method is {value}", "Set it to a finite number.")
    if isinstance(value, Mapping):
        for key, each in value.items():
            refuse_infinite(each, key)
    if isinstance(value, list | tuple):
        for each in value:
            refuse_infinite(each, name)


def refuse_unfit_detector(recipe: Recipe) -> None:
    """Refuse boxes without a detector, a detector without boxes, and what detectors do not have.

    Raises:
        UsageError: two settings do not fit.
    """
    if recipe.detection is None or recipe.backbone is None:
        _refuse_without(recipe)
        return
    if not holds_boxes(recipe.dataset):
        raise UsageError(
            f"{recipe.dataset!r} holds images in classes, and a detector learns "
            "from boxes and masks",
            f"Use coco, {PATTERN}, or {SHAPES}.",
        )
    if recipe.backbone.network != recipe.network or recipe.backbone.detection is not None:
        raise UsageError(
            f"the backbone is {recipe.backbone.network!r} and the detector's "
            f"network {recipe.network!r}",
            "Set both to the same network; the backbone is itself no detector.",
        )
    for fault, remedy in _faults(recipe, recipe.detection):
        raise UsageError(fault, remedy)


def _refuse_without(recipe: Recipe) -> None:
    if recipe.detection is not None or recipe.backbone is not None:
        missing = "detection" if recipe.detection is None else "backbone"
        raise UsageError(
            f"a detector needs both detection and backbone, {missing} is missing",
            f"Set {missing} too.",
        )
    if holds_boxes(recipe.dataset):
        raise UsageError(
            f"{recipe.dataset!r} holds boxes and masks for detectors, and this "
            "trains on images in classes",
            "Choose another data set (see: locbench data), or the table auglocal-coco.",
        )
    if recipe.rate == "steps":
        raise UsageError("the rate 'steps' is for detectors", "Use one of the cosines.")


def _faults(recipe: Recipe, detection: Detection) -> list[tuple[str, str]]:
    """Return what does not fit a detector, as pairs of message and remedy."""
    numbers = ("short_side", "levels", "anchor", "width", "box_width", "milestone_epochs")
    least = dict.fromkeys(numbers, 1) | {
        "candidates": 2,
        "proposals": 2,
        "long_side": detection.short_side,
    }
    least |= {"trained_stages": 0, "warmup_steps": 0}
    found = [
        (f"detection.{name} is {getattr(detection, name)}", f"Set it to {low} or more.")
        for name, low in least.items()
        if getattr(detection, name) < low
    ]
    wrong = {
        "a detector's backbone is a convolutional network": NETWORKS[recipe.network].transformer
        is not None,
        "a detector is trained by backpropagation; its backbone's recipe has a method of its own": (
            not recipe.composition.end_to_end
        ),
        "a detector is trained by one process": recipe.processes > 1,
        "mixup is not for detectors": recipe.mixup,
        "a detector's rate is 'steps'": recipe.rate != "steps",
    }
    return found + [(message, "Change that setting.") for message, is_so in wrong.items() if is_so]


def lean_obstacle(recipe: Recipe) -> str:
    """Return why a recipe cannot be run in lean memory, or nothing."""
    routing = recipe.composition.routing
    if not isinstance(routing, Isolated):
        kind = routing.__struct_config__.tag
        return (
            "lean memory is for isolated modules and backpropagation, this method's "
            f"routing is {kind}"
        )
    if recipe.drop_path:
        return "lean memory runs a module twice, which drop_path draws anew"
    return "lean memory is not for detectors" if recipe.detection is not None else ""


def make_recipe(settings: Mapping[str, Any]) -> Recipe:
    """Build a recipe from flat settings, as a table's TOML or the command line gives them.

    Args:
        settings: ``network``, ``dataset``, ``method``, ``epochs``, ``batch_size``, ``lr``;
            optionally ``modules``, ``options`` (of the method) and any further field of `Recipe`;
            ``backbone`` is a table of such settings.

    Raises:
        UsageError: a setting is unknown, missing or does not fit.
    """
    fields = dict(settings)
    options = fields.pop("options", {})
    known = [*Recipe.__struct_fields__, "options"]
    for name in fields:
        if name not in known or name in ("composition", "content"):
            raise UsageError(f"unknown recipe setting {name!r}", suggestion(name, known))
    for name in ("network", "dataset", "method", "epochs", "batch_size", "lr"):
        if name not in fields:
            raise UsageError(f"recipe setting {name!r} is missing", "Give it a value.")
    refuse_types({**fields, "options": options})
    fields["dataset"] = canonical(fields["dataset"])
    transformer = NETWORKS[fields["network"]].transformer
    if transformer is not None:
        fields.setdefault("image_size", transformer.side)
    if streams(fields["dataset"]):
        fields.setdefault("augmentation", "imagenet")
    if fields.get("backbone") is not None:
        fields["backbone"] = msgspec.to_builtins(make_recipe(fields["backbone"]))
    refuse_sizes(fields)
    refuse_infinite(options)
    if isinstance(fields.get("split"), list | tuple):
        fields.setdefault("modules", len(fields["split"]))
    modules = fields.get("modules")
    if modules in NETWORKS[fields["network"]].carried_splits:
        fields.setdefault("split", NETWORKS[fields["network"]].carried_splits[modules])
    layers = units_per_module(fields["network"], modules)
    context = MethodContext(
        network=fields["network"], dataset=fields["dataset"], modules=len(layers)
    )
    fields["composition"] = compose(fields["method"], options, context)
    fields.setdefault("warmup_epochs", warmup_epochs(fields["epochs"]))
    return _checked(fields)


def _checked(fields: dict[str, Any]) -> Recipe:
    composition = fields.pop("composition")
    plain = {**fields, "composition": msgspec.to_builtins(composition)}
    try:
        recipe = msgspec.convert(plain, Recipe, strict=True)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"bad recipe: {error}", "Check the setting that the message names."
        ) from None
    refuse_numbers(recipe)
    refuse_infinite(plain["composition"])
    refuse_unfit(recipe)
    return recipe
