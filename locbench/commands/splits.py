"""What `locbench splits` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from locbench.commands.costs import traceable
from locbench.console import Terminal, print_json, remark
from locbench.costs.splits.cuts import cuts_for
from locbench.costs.splits.store import SHOWN, SplitStore
from locbench.spec.arguments import cost_recipe, parse_option, published_settings
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe
from locbench.spec.validation import make_recipe, refuse_count
from locbench.terminal.splits import print_splits, splits_entry


class Splitting:
    """Finds the best divisions of networks and shows them; what was found is kept in the results
    folder.

    Args:
        results: the results folder.
        as_json: print JSON.
    """

    def __init__(self, results: Path, *, as_json: bool) -> None:
        self.store = SplitStore(results, trace=True)
        self.as_json = as_json
        self.console = Terminal(stderr=as_json)

    def show(self, wanted: Mapping[str, object], options: Sequence[str], top: int | None) -> None:
        """Show the best divisions of a network into K modules, and how the one that is trained
        compares.

        Args:
            wanted: settings of `make_recipe`, None where the default is to be taken.
            options: ``name=value`` words for the method.
            top: so many divisions; None shows a few.

        Raises:
            UsageError: a setting is unknown, or the network cannot be cut so.
        """
        if top is not None:
            refuse_count("--top", top, 1000)
        recipe = split_recipe(wanted, dict(parse_option(each) for each in options))
        with traceable(), self.console.status("tracing"):
            splits = self.store.splits(recipe, count=top or SHOWN)
        assert splits is not None  # the store may trace
        remark(*self.store.log.lines)
        if self.as_json:
            print_json(splits_entry(recipe, splits, top or SHOWN))
        else:
            print_splits(self.console, recipe, splits, top or SHOWN)


def split_recipe(wanted: Mapping[str, object], options: Mapping[str, object]) -> Recipe:
    """Return the recipe whose modules are traced.

    What is not given is taken from the first published cell that trains the network if it is a
    transformer, for its batch and images belong to it, and else from the data set, as for `locbench
    costs`.

    Raises:
        UsageError: see `make_recipe` and `cuts_for`.
    """
    given = {name: value for name, value in wanted.items() if value is not None}
    network, modules = str(given["network"]), given["modules"]
    assert isinstance(modules, int)
    cuts_for(network, modules)
    published = published_settings(network)
    method = "dgl" if NETWORKS[network].transformer is None else "swin-reconstruction"
    if published:
        return make_recipe(published | {"method": method} | given | {"options": dict(options)})
    return cost_recipe({"method": method, "dataset": "cifar10"} | given, options)
