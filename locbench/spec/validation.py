"""Recipes from flat settings, whose types and ranges are checked."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

import msgspec

from locbench.datasets.catalogue import info
from locbench.datasets.imagenet import streams
from locbench.datasets.naming import canonical
from locbench.errors import UsageError
from locbench.printable import shortened
from locbench.registry import suggestion
from locbench.spec.compatibility import refuse_unfit
from locbench.spec.expression import compose
from locbench.spec.methods import MethodContext
from locbench.spec.networks import NETWORKS, TimmNetwork, units_per_module
from locbench.spec.recipe import Recipe, warmup_epochs

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


Seeds: TypeAlias = int | tuple[int, ...]
"""How many seeds, from 0 and up, or which ones."""


def asked_seeds(seeds: str | None, seed: int | None) -> Seeds | None:
    """Return what ``--seeds`` and ``--seed`` ask for; None without either.

    Args:
        seeds: a count such as ``3``, or a list such as ``0,3,7``.
        seed: one seed alone.

    Raises:
        UsageError: both are given, or one of them is no count and no list of seeds.
    """
    if seeds is not None and seed is not None:
        raise UsageError("--seed and --seeds are two choices of seeds", "Give one of them.")
    if seeds is None:
        return None if seed is None else _distinct("--seed", (seed,))
    words = [word.strip() for word in seeds.split(",")]
    if not all(re.fullmatch(r"-?[0-9]{1,20}", word) for word in words):
        raise UsageError(
            f"--seeds is {shortened(seeds)}", "Give a count such as 3, or a list such as 0,3,7."
        )
    numbers = tuple(map(int, words))
    return numbers[0] if len(numbers) == 1 else _distinct("--seeds", numbers)


def _distinct(option: str, numbers: tuple[int, ...]) -> tuple[int, ...]:
    refuse_count(f"the number of {option}", len(numbers), MOST_SEEDS)
    for number in numbers:
        if not 0 <= number <= LARGEST_SEED:
            raise UsageError(f"{option} has {number}", f"Give seeds from 0 to {LARGEST_SEED}.")
        if numbers.count(number) > 1:
            raise UsageError(f"{option} has {number} twice", "Give every seed once.")
    return numbers


def seed_numbers(asked: Seeds, first: int = 0) -> Sequence[int]:
    """Return the seeds of a list as they are, and those of a count from ``first`` on.

    Raises:
        UsageError: the count is below 1 or beyond all sense.
    """
    if isinstance(asked, tuple):
        return asked
    refuse_count("--seeds", asked, MOST_SEEDS)
    return range(first, first + asked)


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


_FROM_0 = (lambda value: 0 <= value < math.inf, "a finite number from 0")
_ABOVE_0 = (lambda value: 0 < value < math.inf, "a finite number above 0")
_SHARE = (lambda value: 0 <= value < 1, "a number from 0 to below 1")
_SMALL = (lambda value: 0 < value < 1, "a small number above 0")

_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "lr": _ABOVE_0,
    "clip_norm": _ABOVE_0,
    **dict.fromkeys(("weight_decay", "warmup_epochs", "warmup_lr", "min_lr"), _FROM_0),
    **dict.fromkeys(("momentum", "drop_path", "color_jitter", "betas"), _SHARE),
    "eps": _SMALL,
}
"""Ranges that no type can say: finite, and open at an end."""


def refuse_numbers(recipe: Recipe) -> None:
    """Refuse counts, rates and shares out of their range.

    Raises:
        UsageError: a number is out of range.
    """
    refuse_sizes(msgspec.structs.asdict(recipe))
    for name, (fits, words) in _RANGES.items():
        value = getattr(recipe, name)
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None and not fits(number):
                raise UsageError(f"{name} is {number:g}", f"Set {name} to {words}.")
    if recipe.warmup_epochs > recipe.epochs:
        raise UsageError(
            f"warmup_epochs is {recipe.warmup_epochs} of {recipe.epochs} epochs",
            "Set it to at most the epochs.",
        )


_LARGEST = 2**53
"""Largest whole number that every part of a recipe can hold, its JSON included."""


def refuse_types(settings: Mapping[str, Any]) -> None:
    """Refuse settings of another type than the recipe has, before anything is computed with them.

    Raises:
        UsageError: a value has the wrong type, or is a whole number without bounds.
    """
    for name, value in settings.items():
        if name not in _types():
            continue
        if _has_huge(value):
            raise UsageError(
                f"recipe setting {name!r} is too large: {shortened(value)}",
                "Set it to a smaller number.",
            )
        try:
            msgspec.convert(value, _types()[name], strict=True)
        except msgspec.ValidationError as error:
            raise UsageError(
                f"recipe setting {name!r} is {shortened(value)}: {error}",
                f"Set it to {_expected(_types()[name])}.",
            ) from None


@cache
def _types() -> dict[str, Any]:
    types = {
        field.name: field.type
        for field in msgspec.structs.fields(Recipe)
        if field.name != "composition"
    }
    return types | {"options": dict[str, Any], "backbone": dict[str, Any] | None}


def _has_huge(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_huge, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_huge, value))
    return isinstance(value, int) and abs(value) > _LARGEST


def _expected(kind: Any) -> str:
    """Return in words what a setting of a type takes."""
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_expected(alternative) for alternative in get_args(kind))
    if get_origin(kind) is tuple:
        return "two numbers with a comma between them"
    words = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        type(None): "none",
    }
    return words.get(kind, "a table of names and values")


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
        for key, item in value.items():
            refuse_infinite(item, key)
    if isinstance(value, list | tuple):
        for item in value:
            refuse_infinite(item, name)


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
    network = NETWORKS[fields["network"]]
    if network.transformer is not None:
        fields.setdefault("image_size", network.transformer.side)
    elif isinstance(network, TimmNetwork) and _shrinks(fields["dataset"], network.facts.side):
        fields.setdefault("image_size", network.facts.side)
    if streams(fields["dataset"]):
        fields.setdefault("augmentation", "imagenet")
    if fields.get("backbone") is not None:
        fields["backbone"] = msgspec.to_builtins(make_recipe(fields["backbone"]))
    refuse_sizes(fields)
    refuse_infinite(options)
    if isinstance(fields.get("split"), list | tuple):
        fields.setdefault("modules", len(fields["split"]))
    modules = fields.get("modules")
    if modules in network.carried_splits:
        fields.setdefault("split", network.carried_splits[modules])
    layers = units_per_module(fields["network"], modules)
    context = MethodContext(
        network=fields["network"], dataset=fields["dataset"], modules=len(layers)
    )
    fields["composition"] = compose(fields["method"], options, context)
    if isinstance(network, TimmNetwork):
        _leave_out_implied(fields, network, layers)
    fields.setdefault("warmup_epochs", warmup_epochs(fields["epochs"]))
    return _checked(fields)


def _shrinks(dataset: str, side: int) -> bool:
    """Return whether images are scaled to a side of itself: files of any size, and larger ones."""
    own = info(dataset).side
    return own != side if streams(dataset) else own > side


def _leave_out_implied(
    fields: dict[str, Any], network: TimmNetwork, layers: tuple[int, ...]
) -> None:
    """Leave out what is implied by a model of timm, so that `Recipe.key` need not ask timm."""
    if fields.get("split") is not None and tuple(fields["split"]) == layers:
        fields["split"] = None
    if fields.get("split") is None and fields.get("modules") == network.units:
        fields["modules"] = None


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
