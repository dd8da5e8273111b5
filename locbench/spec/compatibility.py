"""Settings of a recipe that do not go together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from locbench.datasets.coco import PATTERN, SHAPES, holds_boxes
from locbench.datasets.imagenet import streams
from locbench.errors import UsageError
from locbench.spec.components import AugLocal, Isolated
from locbench.spec.detector import Detection
from locbench.spec.networks import NETWORKS, TimmNetwork, check_side
from locbench.spec.recipe import Recipe

Fault: TypeAlias = tuple[str, str]
"""A message and its remedy."""


def refuse_unfit(recipe: Recipe, *, ask_timm: bool = True) -> None:
    """Refuse settings that do not go together.

    Args:
        recipe: what is trained.
        ask_timm: whether timm is asked if its model takes them, for which it is imported; it has
            been asked before a recipe was trained.

    Raises:
        UsageError: two settings do not fit.
    """
    network = NETWORKS[recipe.network]
    asked = ask_timm or not isinstance(network, TimmNetwork)
    for message, remedy in _faults(recipe, asked):
        raise UsageError(message, remedy)
    if asked and (network.transformer is not None or isinstance(network, TimmNetwork)):
        check_side(recipe.network, recipe.side)


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


def _faults(recipe: Recipe, asked: bool) -> Iterator[Fault]:
    if recipe.memory == "lean" and (why := lean_obstacle(recipe)):
        yield why, "Use --memory plain, or leave it out."
    if recipe.detection is None or recipe.backbone is None:
        yield from _classifier_faults(recipe)
    else:
        yield from _detector_faults(recipe, recipe.detection, recipe.backbone)
    if asked:
        yield from _split_faults(recipe)
        yield from _layer_faults(recipe)
    yield from _optimizer_faults(recipe)
    yield from _weight_faults(recipe)
    if streams(recipe.dataset) and recipe.augmentation != "imagenet":
        message = (
            f"{recipe.dataset!r} is read from files, the augmentation "
            f"{recipe.augmentation!r} is for images in memory"
        )
        yield message, "Choose a table of ImageNet, or another data set."
    if recipe.color_jitter and recipe.augmentation != "swin":
        message = "color_jitter belongs to the augmentation 'swin'"
        yield message, "Leave it out, or set augmentation."
    if recipe.mixup and not recipe.composition.end_to_end:
        message = "mixup makes soft labels, which local losses do not take"
        yield message, "Use it with the method 'bp'."


def _split_faults(recipe: Recipe) -> Iterator[Fault]:
    units, split, modules = NETWORKS[recipe.network].units, recipe.split, recipe.modules
    if split is not None and (
        min(split, default=0) < 1 or sum(split) != units or len(split) != modules
    ):
        words = ",".join(map(str, split))
        yield (
            f"split {words} does not divide {units} local layers into {modules} modules",
            f"Give {modules} whole numbers from 1 whose sum is {units}, or leave split out.",
        )


def _optimizer_faults(recipe: Recipe) -> Iterator[Fault]:
    """Yield settings of another optimizer or rate, which would change the record's name alone."""
    sgd, adamw = {"momentum": 0.9, "nesterov": True}, {"betas": (0.9, 0.999), "eps": 1e-8}
    unused: dict[str, Any] = sgd if recipe.optimizer == "adamw" else adamw
    for name, default in unused.items():
        if getattr(recipe, name) != default:
            message = f"{name} is not a setting of the optimizer {recipe.optimizer!r}"
            yield message, "Leave it out."
    if recipe.rate != "cosine-step" and (recipe.min_lr or recipe.lr_scaling != "none"):
        name = "min_lr" if recipe.min_lr else "lr_scaling"
        yield f"{name} belongs to the rate 'cosine-step'", f"Set rate, or leave {name} out."


def _layer_faults(recipe: Recipe) -> Iterator[Fault]:
    network = NETWORKS[recipe.network]
    copies = any(isinstance(branch, AugLocal) for branch in recipe.composition.branches)
    if recipe.drop_path and not network.takes_drop_path:
        message = f"drop_path is for transformers, {recipe.network} is none"
        yield message, "Leave drop_path out."
    if copies and not network.copied:
        message = "AugLocal copies convolutional layers and has no rule for transformers"
        if isinstance(network, TimmNetwork):
            message = (
                "AugLocal copies blocks of timm's ResNets and ConvNeXts in their plain form and "
                f"has no rule for those of {network.label}"
            )
        yield message, "Use another method."
    if isinstance(network, TimmNetwork):
        yield from _normalisation_faults(recipe, network)


def _weight_faults(recipe: Recipe) -> Iterator[Fault]:
    network = NETWORKS[recipe.network]
    weights = network.published_init
    if recipe.init not in ("scratch", weights):
        library = "timm" if recipe.init == "pretrained" else "torchvision"
        yield (
            f"{library} has no weights of {network.label}",
            f"Use --init {' or '.join(dict.fromkeys((weights, 'scratch')))}, or another network; "
            "the presets' small networks have none.",
        )
    if recipe.weights and recipe.init == "scratch" and recipe.detection is None:
        message = "weights name a file, but the run starts from random ones"
        yield message, "Leave them out, or set init."


def _normalisation_faults(recipe: Recipe, network: TimmNetwork) -> Iterator[Fault]:
    if recipe.augmentation == "swin" and (network.facts.mean, network.facts.std) != OF_IMAGENET:
        message = (
            f"the augmentation 'swin' normalises images by ImageNet's statistics, {network.label} "
            f"by a mean of {network.facts.mean} and a deviation of {network.facts.std}"
        )
        yield message, "Leave augmentation out."


OF_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's pixels by channel."""


def _classifier_faults(recipe: Recipe) -> Iterator[Fault]:
    if recipe.detection is not None or recipe.backbone is not None:
        missing = "detection" if recipe.detection is None else "backbone"
        message = f"a detector needs both detection and backbone, {missing} is missing"
        yield message, f"Set {missing} too."
    if holds_boxes(recipe.dataset):
        yield (
            f"{recipe.dataset!r} holds boxes and masks for detectors, and this "
            "trains on images in classes",
            "Choose another data set (see: locbench data), or the table auglocal-coco.",
        )
    if recipe.rate == "steps":
        yield "the rate 'steps' is for detectors", "Use one of the cosines."


def _detector_faults(recipe: Recipe, detection: Detection, backbone: Recipe) -> Iterator[Fault]:
    if not holds_boxes(recipe.dataset):
        yield (
            f"{recipe.dataset!r} holds images in classes, and a detector learns "
            "from boxes and masks",
            f"Use coco, {PATTERN}, or {SHAPES}.",
        )
    if backbone.network != recipe.network or backbone.detection is not None:
        yield (
            f"the backbone is {backbone.network!r} and the detector's network {recipe.network!r}",
            "Set both to the same network; the backbone is itself no detector.",
        )
    if detection.long_side < detection.short_side:
        message = f"detection.long_side is {detection.long_side}"
        yield message, f"Set it to {detection.short_side} or more."
    if recipe.init != "scratch":
        yield "a detector starts from its backbone's weights", "Leave --init out."
    wrong = {
        "a detector's backbone is a convolutional network": (
            NETWORKS[recipe.network].transformer is not None
        ),
        "a detector's backbone is one of locbench's own networks": (
            isinstance(NETWORKS[recipe.network], TimmNetwork)
        ),
        "a detector is trained by backpropagation; its backbone's recipe has a method of its own": (
            not recipe.composition.end_to_end
        ),
        "a detector is trained by one process": recipe.processes > 1,
        "mixup is not for detectors": recipe.mixup,
        "a detector's rate is 'steps'": recipe.rate != "steps",
    }
    for message, is_so in wrong.items():
        if is_so:
            yield message, "Change that setting."
