"""One recipe from the command line. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from locbench.data.catalogue import info, resolve
from locbench.errors import UsageError
from locbench.recipe import Recipe, make_recipe
from locbench.schedule import scaled_rate


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
    settings = {name: value for name, value in wanted.items() if value is not None}
    settings["dataset"] = resolve(settings["dataset"], root)
    data = info(settings["dataset"], root)
    settings.setdefault("epochs", 4 if data.name == "digits" else 160)
    settings.setdefault("batch_size", data.batch)
    settings.setdefault("lr", scaled_rate(data.lr, data.batch, settings["batch_size"]))
    settings["options"] = dict(parse_option(each) for each in options)
    return [make_recipe(settings | {"seed": seed}) for seed in range(seeds)]


def parse_option(text: str) -> tuple[str, object]:
    """Read ``name=value``; a value with commas is a list, ``true`` and ``false`` are truth values."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--set {text!r} is not NAME=VALUE", "For example: --set depth=3")
    parts = [_plain(part.strip()) for part in value.split(",")]
    return name.strip(), parts if len(parts) > 1 else parts[0]


def _plain(word: str) -> object:
    return {"true": True, "false": False, "none": None}.get(word.lower(), word)
