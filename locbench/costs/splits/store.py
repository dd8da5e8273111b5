"""The best divisions of networks, kept on disk beside traced steps: tracing modules takes long, a report none."""

from __future__ import annotations

import hashlib
from itertools import accumulate
from pathlib import Path

import msgspec

from locbench.costs.memory.options import Setting
from locbench.costs.memory.store import timeless
from locbench.costs.splits.cuts import Division, ground_of
from locbench.costs.splits.search import Search
from locbench.costs.trace_files import TraceFiles, made_with
from locbench.files import file_name
from locbench.spec.networks import NETWORKS, units_per_module
from locbench.spec.recipe import Recipe

SPLIT_VERSION = 1
"""Version of the rules by which modules are traced and divisions ranked: raised by hand, as `TRACE_VERSION` is."""

SHOWN = 5
"""So many of the best divisions are worked out unless more are asked for."""


class Splits(msgspec.Struct, frozen=True, kw_only=True):
    """What was found for a network, a method and K.

    Attributes:
        recipe, setting: what was traced; the recipe without its schedule.
        made_with: versions of locbench and of torch; told, and compared with nothing.
        trace_version: of the rules; see `SPLIT_VERSION`. Files without it are of version 1.
        divisions: how many divisions there are.
        best: the best of them, the best first.
        trained: the division that ``locbench run`` trains; None if it cuts where none of these does.
        rank: of that division, 1 for the best; None where it is not known.
    """

    recipe: Recipe
    setting: Setting
    made_with: str
    trace_version: int = 1
    divisions: int
    best: tuple[Division, ...]
    trained: Division | None
    rank: int | None

    def __post_init__(self) -> None:
        layers = NETWORKS[self.recipe.network].units
        whole = all(sum(each.units) == layers and len(each.peaks) == len(each.units) for each in self.best)
        if not (self.best and whole):
            raise ValueError("the divisions are not of all layers, with a size for every module")

    def loss(self, division: Division) -> float:
        """Return by how many percent a division's largest module needs more than the best division's."""
        return 100 * (max(division.peaks) / max(self.best[0].peaks) - 1)


class SplitBook:
    """The divisions that a results folder holds.

    Args:
        files: where traces are kept; see `MemoryBook.files`.
        trace: work out what is not there and keep it; without it, what is not there is None.
    """

    def __init__(self, files: TraceFiles, *, trace: bool = False) -> None:
        self.files, self.trace = files, trace

    def splits(self, recipe: Recipe, setting: Setting = Setting(), count: int = SHOWN) -> Splits | None:
        """Return the ``count`` best divisions; None if they are not there.

        Raises:
            UsageError: see `ground_of`.
        """
        ground_of(recipe)
        path = self.path(recipe, setting)
        found = self.files.read(path, Splits, SPLIT_VERSION, timeless(recipe), setting)
        if found is not None and len(found.best) >= min(count, found.divisions):
            return found
        return self._searched(recipe, setting, count) if self.trace else None

    def path(self, recipe: Recipe, setting: Setting = Setting()) -> Path:
        """Return the file of a recipe's divisions."""
        content = timeless(recipe).key.encode() + msgspec.json.encode(setting, order="deterministic")
        words = ["splits", recipe.network, recipe.dataset, f"k{recipe.modules}", f"b{recipe.batch_size}"]
        return self.files.folder / file_name([*words, hashlib.sha256(content).hexdigest()[:12]], ".json")

    def _searched(self, recipe: Recipe, setting: Setting, count: int) -> Splits:
        from locbench.costs.splits.module_memory import Segments

        search = Search(ground_of(recipe), Segments(recipe, setting))
        best = search.best(count)
        trained = trained_division(recipe, search)
        splits = Splits(
            recipe=timeless(recipe),
            setting=setting,
            made_with=made_with(),
            trace_version=SPLIT_VERSION,
            divisions=search.ground.divisions,
            best=tuple(best),
            trained=trained,
            rank=search.rank(trained, best) if trained else None,
        )
        self.files.write(self.path(recipe, setting), splits)
        return splits


def trained_division(recipe: Recipe, search: Search) -> Division | None:
    """Return the division that a recipe trains, as published or in equal parts; None if it is none of the search's."""
    ends = tuple(each - 1 for each in accumulate(recipe.split or units_per_module(recipe.network, recipe.modules)))
    return search.division(ends) if set(ends[:-1]) <= set(search.ground.cuts) else None


def split_text(network: str, units: tuple[int, ...]) -> str:
    """Return local layers per module as Pathak et al. 2023 print them (Table 1).

    A transformer's blocks are counted; its patch embedding, trained with the first module, is none.
    """
    first, *others = units
    return ",".join(map(str, (first - (NETWORKS[network].transformer is not None), *others)))


def table_split(recipe: Recipe, book: SplitBook) -> str | None:
    """Return the best division of a recipe's network; without local modules, its blocks per stage.

    None if the book has not got it and may not trace.
    """
    transformer = NETWORKS[recipe.network].transformer
    if recipe.composition.end_to_end and transformer is not None:
        return ",".join(map(str, transformer.depths))
    splits = book.splits(recipe)
    return None if splits is None else split_text(recipe.network, splits.best[0].units)
