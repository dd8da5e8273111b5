"""What `locbench splits` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from locbench.commands.costs import traceable
from locbench.console import Output, remark
from locbench.costs.splits.cuts import cuts_for
from locbench.costs.splits.store import SHOWN, SplitStore
from locbench.spec.arguments import cost_recipe, published_settings
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe
from locbench.spec.validation import make_recipe, refuse_count
from locbench.terminal.splits import print_splits, splits_entry


def show_splits(
    settings: Mapping[str, Any], top: int | None, results: Path, output: Output
) -> None:
    """Show the best divisions of a network into K modules, and of the one that is trained.

    Args:
        settings: of `make_recipe`.
        top: so many divisions; None shows a few.
        results: the results folder, where divisions are kept.
        output: where to print.

    Raises:
        UsageError: a setting is unknown, or the network cannot be cut so.
    """
    if top is not None:
        refuse_count("--top", top, 1000)
    recipe, count = split_recipe(settings), top or SHOWN
    store = SplitStore(results, trace=True)
    with traceable(), output.console.status("tracing"):
        splits = store.splits(recipe, count=count)
    assert splits is not None  # the store may trace
    remark(*store.log.lines)
    output.show(
        lambda: splits_entry(recipe, splits, count),
        lambda console: print_splits(console, recipe, splits, count),
    )


def split_recipe(settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe whose modules are traced.

    What is not given is taken from the first published cell that trains the network if it is a
    transformer, for its batch and images belong to it, and else from the data set, as for `locbench
    costs`.

    Raises:
        UsageError: see `make_recipe` and `cuts_for`.
    """
    network = settings["network"]
    cuts_for(network, settings["modules"])
    method = "dgl" if NETWORKS[network].transformer is None else "swin-reconstruction"
    published = published_settings(network)
    if published:
        return make_recipe({**published, "method": method, **settings})
    return cost_recipe({"method": method, **settings})
