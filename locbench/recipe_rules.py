"""What no recipe may be: numbers out of range, and settings that do not go together. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from locbench.data.imagenet.layout import streams
from locbench.detection.settings import refuse_unfit_detector
from locbench.errors import UsageError
from locbench.learning.options import AugLocal
from locbench.networks.catalogue import NETWORKS, check_side

if TYPE_CHECKING:
    from locbench.recipe import Recipe


MOST = {
    "epochs": 100_000,
    "batch_size": 1_000_000,
    "train_limit": 1_000_000_000,
    "test_limit": 1_000_000_000,
    "test_every": 100_000,
    "image_size": 10_000,
    "processes": 100_000,
}
"""Counts from 1, and the largest of each: a hundred times what anybody trains with, and nothing that never ends."""

LARGEST_SEED = 2**32 - 1

MOST_SEEDS = 1000


def shortened(value: object) -> str:
    """Return a value as it is shown in a message, which nobody wants to fill the terminal."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


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
            f"warmup_epochs is {recipe.warmup_epochs} of {recipe.epochs} epochs", "Set it to at most the epochs."
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
    """Refuse what the chosen optimizer does not have: it would change the record's name and nothing else."""
    sgd, adamw = {"momentum": 0.9, "nesterov": True}, {"betas": (0.9, 0.999), "eps": 1e-8}
    others: dict[str, Any] = sgd if recipe.optimizer == "adamw" else adamw
    for name, default in others.items():
        if getattr(recipe, name) != default:
            raise UsageError(f"{name} is not a setting of the optimizer {recipe.optimizer!r}", "Leave it out.")


def refuse_unfit(recipe: Recipe) -> None:
    """Refuse settings that do not go together: network and image size, what transformers alone have, mixing.

    Raises:
        UsageError: two settings do not fit.
    """
    refuse_unfit_detector(recipe)
    _refuse_split(recipe)
    _refuse_unused(recipe)
    transformer = NETWORKS[recipe.network].transformer
    if transformer is not None:
        check_side(recipe.network, recipe.side)
    if transformer is None and recipe.drop_path:
        raise UsageError(f"drop_path is for transformers, {recipe.network} is none", "Leave drop_path out.")
    _refuse_init(recipe)
    if recipe.drop_path and recipe.memory == "lean":
        raise UsageError("lean memory runs a module twice, which drop_path draws anew", "Use --memory plain.")
    if transformer is not None and any(isinstance(each, AugLocal) for each in recipe.composition.branches):
        raise UsageError("AugLocal copies convolutional layers and has no rule for transformers", "Use another method.")
    if streams(recipe.dataset) and recipe.augmentation != "imagenet":
        raise UsageError(
            f"{recipe.dataset!r} is read from files, the augmentation {recipe.augmentation!r} is for images in memory",
            "Choose a table of ImageNet, or another data set.",
        )
    if recipe.weights and recipe.init == "scratch" and recipe.detection is None:
        raise UsageError("weights name a file, but the run starts from random ones", "Leave them out, or set init.")
    if recipe.rate != "cosine-step" and (recipe.min_lr or recipe.lr_scaling != "none"):
        name = "min_lr" if recipe.min_lr else "lr_scaling"
        raise UsageError(f"{name} belongs to the rate 'cosine-step'", f"Set rate, or leave {name} out.")
    if recipe.clip_norm is not None and not 0 < recipe.clip_norm < math.inf:
        raise UsageError(f"clip_norm is {recipe.clip_norm:g}", "Set clip_norm above 0, or leave it out.")
    if recipe.color_jitter and recipe.augmentation != "swin":
        raise UsageError("color_jitter belongs to the augmentation 'swin'", "Leave it out, or set augmentation.")
    if recipe.mixup and not recipe.composition.end_to_end:
        raise UsageError("mixup makes soft labels, which local losses do not take", "Use it with the method 'bp'.")


def _refuse_split(recipe: Recipe) -> None:
    units, split = NETWORKS[recipe.network].units, recipe.split
    if split is not None and (min(split, default=0) < 1 or sum(split) != units or len(split) != recipe.modules):
        raise UsageError(
            f"split {','.join(map(str, split))} does not divide {units} local layers into {recipe.modules} modules",
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
            f"Use --init {' or '.join(fitting)}, or another network; the presets' small networks have none.",
        )
    if recipe.init != "scratch" and recipe.detection is not None:
        raise UsageError("a detector starts from its backbone's weights", "Leave --init out.")


def refuse_infinite(value: Any, name: str = "") -> None:
    """Refuse numbers that JSON does not have, wherever they stand in a method's options: no record could be read again.

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
