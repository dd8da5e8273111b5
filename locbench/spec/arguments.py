"""One recipe from the command line, and settings as a command line takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from locbench.datasets.catalogue import info, resolve
from locbench.errors import UsageError
from locbench.spec.networks import NETWORKS
from locbench.spec.presets import scaled_rate, small_variant
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_tables
from locbench.spec.validation import (
    Seeds,
    make_recipe,
    refuse_sizes,
    refuse_types,
    seed_numbers,
)

_ELSEWHERE = {
    "options": "Options of the method are given with --set NAME=VALUE.",
    "weights": "Give the file with --weights FILE.",
    "processes": "Start several processes with torchrun.",
    "detection": "Detectors are trained by a table: locbench table auglocal-coco.",
    "backbone": "Detectors are trained by a table: locbench table auglocal-coco.",
    "composition": "It follows from --method and --set.",
    "content": "It is found by reading the data set's files.",
}
"""Fields of a recipe that ``--recipe`` does not set, and what does."""


def settings_from_options(set_: Sequence[str] | None = None, **options: object) -> dict[str, Any]:
    """Return the settings of `make_recipe` that a command line gives.

    Args:
        set_: ``name=value`` words for the method.
        options: None where an option is left out.

    Raises:
        UsageError: see `assignments`.
    """
    settings = {name: value for name, value in options.items() if value is not None}
    return settings | ({"options": assignments(set_, "--set")} if set_ else {})


def recipes_from(
    settings: Mapping[str, Any], seeds: Seeds | None, root: Path, further: Sequence[str] = ()
) -> list[Recipe]:
    """Return the recipe of a command line, once per seed.

    Args:
        settings: of `make_recipe`; what is left out is the data set's published batch, a rate
            scaled to the batch, and 160 epochs (four on the embedded digits).
        seeds: which ones, or how many from 0 or from the ``seed`` among the further settings; one
            if None.
        root: folder of the data sets.
        further: ``name=value`` words for any other field of `Recipe`.

    Raises:
        UsageError: a setting or an option is unknown, given twice or does not fit.
    """
    further_given = _further(further, settings)
    if isinstance(seeds, tuple) and "seed" in further_given:
        raise UsageError(
            "the seed is given twice, with --recipe and with --seed or --seeds", "Give one of them."
        )
    given = {**settings, **further_given}
    refuse_types(given)
    refuse_sizes(given)
    published = published_settings(given["network"])
    settings = published | given
    settings["dataset"] = resolve(settings["dataset"], root)
    data = info(settings["dataset"])
    if data.name == "digits" and "epochs" not in given:
        settings["epochs"] = 4
    settings.setdefault("epochs", 160)
    if settings["epochs"] != published.get("epochs") and "warmup_epochs" not in given:
        settings.pop("warmup_epochs", None)  # a shorter run has a shorter warm-up
    settings.setdefault("batch_size", data.batch)
    settings.setdefault("lr", scaled_rate(data.lr, data.batch, settings["batch_size"]))
    numbers = seed_numbers(1 if seeds is None else seeds, settings.pop("seed", 0))
    recipes = [make_recipe(settings | {"seed": seed}) for seed in numbers]
    if "warmup_lr" in further_given and recipes[0].warmup_epochs == 0:
        raise UsageError(
            "warmup_lr is given, and the run has no warm-up", "Leave it out, or set warmup_epochs."
        )
    return recipes


def _further(words: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of ``--recipe``.

    What cannot be set so, or is given by an option of its own, is refused.
    """
    settings = assignments(words, "--recipe")
    for name in settings:
        if name in _ELSEWHERE:
            raise UsageError(f"--recipe {name}=... sets nothing", _ELSEWHERE[name])
        if name in given:
            option = "limit" if name == "train_limit" else name.replace("_", "-")
            raise UsageError(
                f"{name} is given twice, with --recipe and with --{option}", "Give one of them."
            )
    if settings.get("lr_scaling", "none") is None:
        settings["lr_scaling"] = "none"  # here that is a word of its own
    return {
        name: value for name, value in settings.items() if value is not None or name not in _OPTIONS
    }


_OPTIONS = ("modules", "epochs", "batch_size", "lr", "train_limit", "precision", "memory", "init")
"""Fields with an option of their own, of which ``none`` asks for the default, as leaving the option
out does.
"""


def initial_weights(network: str, init: str | None, digest: str) -> dict[str, str]:
    """Return the settings of initial weights; a file alone is of the network's own source.

    Args:
        network: its name.
        init: as in `Recipe`; None leaves it to the file.
        digest: of a weight file; empty for none.
    """
    if not digest:
        return {"init": init} if init else {}
    return {
        "init": init or ("torchvision" if NETWORKS[network].torchvision else "pretrained"),
        "weights": digest,
    }


def published_settings(network: str) -> dict[str, Any]:
    """Return how a transformer is trained where it was published first, without method and data.

    Batch, image size, optimizer and augmentation belong to it; a small one is trained as those it
    stands in for, on images of its own size. Convolutional networks are trained as their data set
    says.
    """
    transformer = NETWORKS[network].transformer
    if transformer is None:
        return {}
    named = [name for name in NETWORKS if name == network or small_variant(name) == network]
    for table in load_tables([], named):  # one that is broken has no say here
        for cell in table.cells:
            if cell.recipe is not None and cell.recipe.network in named:
                settings = table.settings(cell) | {
                    "network": network,
                    "image_size": transformer.side,
                }
                left_out = ("method", "modules", "options", "init")
                return {name: settings[name] for name in settings if name not in left_out}
    return {}


_EXAMPLES = {"--set": "depth=3", "--recipe": "drop_path=0.1"}


def assignments(words: Sequence[str], option: str) -> dict[str, Any]:
    """Read the ``name=value`` words of ``--set`` or ``--recipe``.

    A value with commas is a list, ``true`` and ``false`` are truth values. Numbers are read for
    ``--recipe``; the options of methods read their own.

    Raises:
        UsageError: a word is no such pair, or a name is there twice.
    """
    read = _number if option == "--recipe" else _plain
    settings: dict[str, Any] = {}
    for word in words:
        name, equals, value = (part.strip() for part in word.partition("="))
        if not equals or not name:
            raise UsageError(
                f"{option} {word!r} is not NAME=VALUE", f"For example: {option} {_EXAMPLES[option]}"
            )
        if name in settings:
            raise UsageError(f"{option} {name}=... is given twice", "Give one of them.")
        parts = [read(part.strip()) for part in value.split(",")]
        settings[name] = parts if len(parts) > 1 else parts[0]
    return settings


def _number(word: str) -> object:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return _plain(word)


def _plain(word: str) -> object:
    return {"true": True, "false": False, "none": None}.get(word.lower(), word)


def cost_recipe(settings: Mapping[str, Any]) -> Recipe:
    """Return a recipe of which only the costs are of interest.

    The schedule is the published one of the data set, which is CIFAR-10 if none is given.
    """
    given = {"dataset": "cifar10", **settings}
    data = info(given["dataset"])
    usual = {"batch_size": data.batch, "epochs": 160, "lr": data.lr}
    return make_recipe(usual | published_settings(given["network"]) | given)


def setting_words(settings: Mapping[str, Any]) -> str:
    """Return settings as ``name=value``, the options of the method among them."""
    flat = {name: value for name, value in settings.items() if name != "options"} | settings.get(
        "options", {}
    )
    return ", ".join(f"{name}={value_words(value)}" for name, value in flat.items())


def value_words(value: Any) -> str:
    """Return a value as ``--set`` takes it, settings within settings in brackets."""
    if isinstance(value, Mapping):
        return f"({setting_words(value)})"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
