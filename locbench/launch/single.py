"""One recipe from the command line. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from locbench.data.catalogue import info, resolve
from locbench.errors import UsageError
from locbench.networks.catalogue import NETWORKS
from locbench.recipe import Recipe, make_recipe
from locbench.schedule import scaled_rate, stand_in
from locbench.tables import load_tables


def recipes_from(wanted: Mapping[str, Any], options: Sequence[str], seeds: int, root: Path) -> list[Recipe]:
    """Return the recipe of a command line, once per seed.

    Args:
        wanted: settings of `make_recipe`; None takes the data set's published batch, a rate scaled to the batch, 160
            epochs (four on the embedded digits).
        options: ``name=value`` words for the method.
        seeds: number of seeds.
        root: folder of the data sets.

    Raises:
        UsageError: a setting or an option is unknown or does not fit.
    """
    if seeds < 1:
        raise UsageError(f"--seeds is {seeds}", "Ask for 1 or more.")
    given = {name: value for name, value in wanted.items() if value is not None}
    published = published_settings(str(given["network"]))
    settings = published | given
    settings["dataset"] = resolve(settings["dataset"], root)
    data = info(settings["dataset"], root)
    if data.name == "digits" and "epochs" not in given:
        settings["epochs"] = 4
    settings.setdefault("epochs", 160)
    if settings["epochs"] != published.get("epochs"):  # a shorter run has a shorter warm-up
        settings.pop("warmup_epochs", None)
    settings.setdefault("batch_size", data.batch)
    settings.setdefault("lr", scaled_rate(data.lr, data.batch, settings["batch_size"]))
    settings["options"] = dict(parse_option(each) for each in options)
    return [make_recipe(settings | {"seed": seed}) for seed in range(seeds)]


def initial_weights(network: str, init: str | None, digest: str) -> dict[str, str]:
    """Return the settings of initial weights; a file without a word of whose they are is of the network's own source.

    Args:
        network: its name.
        init: as in `Recipe`; None leaves it to the file.
        digest: of a weight file; empty for none.
    """
    if not digest:
        return {"init": init} if init else {}
    return {"init": init or ("torchvision" if NETWORKS[network].torchvision else "pretrained"), "weights": digest}


def published_settings(network: str) -> dict[str, Any]:
    """Return how a transformer is trained where it was published first, without method and data; or nothing.

    Batch, image size, optimizer and augmentation belong to it; a small one is trained as those it stands in for, on
    images of its own size. Convolutional networks are trained as their data set says.
    """
    transformer = NETWORKS[network].transformer
    if transformer is None:
        return {}
    named = [name for name in NETWORKS if name == network or stand_in(name) == network]
    for table in load_tables():
        for cell in table.cells:
            if cell.recipe is not None and cell.recipe.network in named:
                settings = table.settings(cell) | {"network": network, "image_size": transformer.side}
                left_out = ("method", "modules", "options", "init")
                return {name: settings[name] for name in settings if name not in left_out}
    return {}


def parse_option(text: str) -> tuple[str, object]:
    """Read ``name=value``; a value with commas is a list, ``true`` and ``false`` are truth values."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--set {text!r} is not NAME=VALUE", "For example: --set depth=3")
    parts = [_plain(part.strip()) for part in value.split(",")]
    return name.strip(), parts if len(parts) > 1 else parts[0]


def parse_setting(text: str) -> tuple[str, object]:
    """Read ``name=value`` for a field of `Recipe`, numbers as such.

    Raises:
        UsageError: the text is no setting.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--recipe {text!r} is not NAME=VALUE", "For example: --recipe drop_path=0.1")
    parts = [_number(part.strip()) for part in value.split(",")]
    return name.strip(), parts if len(parts) > 1 else parts[0]


def _number(word: str) -> object:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return _plain(word)


def _plain(word: str) -> object:
    return {"true": True, "false": False, "none": None}.get(word.lower(), word)
