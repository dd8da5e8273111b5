"""The best divisions of networks, kept on disk beside traced steps."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import msgspec

from locbench.costs.memory.options import TraceOptions, step_words
from locbench.costs.splits.cuts import Division, search_space
from locbench.costs.splits.search import Search
from locbench.costs.trace_store import TraceLog, TraceStore, made_with
from locbench.files import file_name
from locbench.spec.networks import NETWORKS, units_per_module
from locbench.spec.recipe import Recipe, without_schedule

SPLIT_VERSION = 1
"""Version of the rules by which modules are traced and divisions ranked: raised by hand, as
`TRACE_VERSION` is.
"""

SHOWN = 5
"""So many of the best divisions are worked out unless more are asked for."""


class Splits(msgspec.Struct, frozen=True, kw_only=True):
    """What was found for a network, a method and K.

    Attributes:
        recipe, setting: what was traced; the recipe without its schedule.
        made_with: versions of locbench, torch and timm, which are told and compared with nothing,
            and of the plugins, of which another version voids it.
        trace_version: of the rules; see `SPLIT_VERSION`. Files without it are of version 1.
        divisions: how many divisions there are.
        best: the best of them, the best first.
        trained: the division that ``locbench run`` trains; None if it cuts where none of these
            does.
        rank: of that division, 1 for the best; None where it is not known.
    """

    recipe: Recipe
    setting: TraceOptions
    made_with: str
    trace_version: int = 1
    divisions: int
    best: tuple[Division, ...]
    trained: Division | None
    rank: int | None

    def __post_init__(self) -> None:
        layers = NETWORKS[self.recipe.network].units
        whole = all(
            sum(division.units) == layers and len(division.peaks) == len(division.units)
            for division in self.best
        )
        if not (self.best and whole):
            raise ValueError("the divisions are not of all layers, with a size for every module")

    def loss(self, division: Division) -> float:
        """Return by how many percent a division's largest module is above the best one's."""
        return 100 * (max(division.peaks) / max(self.best[0].peaks) - 1)


class SplitStore(TraceStore[Splits]):
    """The divisions that a results folder holds, and further ones; see `TraceStore`."""

    def __init__(
        self, results: Path, *others: Path, trace: bool = False, log: TraceLog | None = None
    ) -> None:
        super().__init__(results, Splits, SPLIT_VERSION, trace=trace, log=log, others=others)

    def splits(
        self, recipe: Recipe, setting: TraceOptions = TraceOptions(), count: int = SHOWN
    ) -> Splits | None:
        """Return the ``count`` best divisions; None if they are not there.

        Raises:
            UsageError: see `search_space`.
        """
        search_space(recipe)
        splits = self.find(self.path(recipe, setting), recipe)
        if splits is not None and len(splits.best) >= min(count, splits.divisions):
            return splits
        return self._searched(recipe, setting, count) if self.trace else None

    def path(self, recipe: Recipe, setting: TraceOptions = TraceOptions()) -> Path:
        """Return the file of a recipe's divisions."""
        words = [
            "splits",
            recipe.network,
            recipe.dataset,
            f"k{recipe.modules}",
            f"b{recipe.batch_size}",
        ]
        return self.folder / file_name([*words, step_words(recipe, setting)[-1]], ".json")

    def _searched(self, recipe: Recipe, setting: TraceOptions, count: int) -> Splits:
        from locbench.costs.splits.module_memory import ModuleMemory

        search = Search(search_space(recipe), ModuleMemory(recipe, setting))
        best = search.best(count)
        trained = trained_division(recipe, search)
        splits = Splits(
            recipe=without_schedule(recipe),
            setting=setting,
            made_with=made_with(recipe),
            trace_version=self.version,
            divisions=search.space.divisions,
            best=tuple(best),
            trained=trained,
            rank=search.rank(trained, best) if trained else None,
        )
        self.add(self.path(recipe, setting), splits)
        return splits


def trained_division(recipe: Recipe, search: Search) -> Division | None:
    """Return the division that a recipe trains, as published or in equal parts.

    None if it is none of the search's.
    """
    ends = tuple(
        count - 1
        for count in accumulate(recipe.split or units_per_module(recipe.network, recipe.modules))
    )
    return search.division(ends) if set(ends[:-1]) <= set(search.space.cuts) else None


def split_text(network: str, units: tuple[int, ...]) -> str:
    """Return local layers per module as Pathak et al. 2023 print them (Table 1).

    A transformer's blocks are counted; its patch embedding, trained with the first module, is none.
    """
    first, *others = units
    return ",".join(map(str, (first - (NETWORKS[network].transformer is not None), *others)))


def table_split(recipe: Recipe, store: SplitStore) -> str | None:
    """Return the best division of a recipe's network; without local modules, its blocks per stage.

    None if the store has not got it and may not trace.
    """
    transformer = NETWORKS[recipe.network].transformer
    if recipe.composition.end_to_end and transformer is not None:
        return ",".join(map(str, transformer.depths))
    splits = store.splits(recipe)
    return None if splits is None else split_text(recipe.network, splits.best[0].units)
