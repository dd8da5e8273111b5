"""Which plugins a recipe uses, and records of plugins that are not here or have changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from locbench.datasets.known import DATASETS
from locbench.datasets.naming import named_by_folder
from locbench.plugins import LOADED
from locbench.registry import Registry
from locbench.results.record import Provenance, Record
from locbench.spec.components import BRANCHES
from locbench.spec.methods import METHODS
from locbench.spec.modifiers import MODIFIERS
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe


class _Branch(msgspec.Struct):
    kind: str = ""


class _Composition(msgspec.Struct):
    branches: list[_Branch] = []


class _Names(msgspec.Struct):
    """The names in a recipe, be they known here or not."""

    network: str = ""
    dataset: str = ""
    method: str = ""
    composition: _Composition = msgspec.field(default_factory=_Composition)
    backbone: _Names | None = None

    def components(self) -> Iterator[tuple[Registry[Any], str]]:
        """Yield the registry and the name of everything that can be a plugin's."""
        yield NETWORKS, self.network
        if not named_by_folder(self.dataset):
            yield DATASETS, self.dataset
        for name in filter(None, self.method.split("+")):
            yield (MODIFIERS if name in MODIFIERS else METHODS), name
        for branch in self.composition.branches:
            yield BRANCHES, branch.kind
        if self.backbone is not None:
            yield from self.backbone.components()


class _Outline(msgspec.Struct):
    """What of a record can be read without its plugins."""

    recipe: _Names
    provenance: Provenance


def plugins_of(recipe: Recipe) -> dict[str, str]:
    """Return the plugins that a recipe's network, data set, method and branches are of.

    Returns:
        Their digests by name; see `Plugin`.
    """
    if not LOADED:
        return {}
    names = msgspec.convert(msgspec.to_builtins(recipe), _Names)
    owners = {registry.plugin_of(name) for registry, name in names.components()}
    return {name: LOADED[name].digest for name in sorted(owners - {""}) if name in LOADED}


def explained(fault: str, content: bytes) -> str:
    """Return why a record cannot be used, told by its plugins where they are the cause.

    Args:
        fault: what is wrong with it here.
        content: of its file.
    """
    try:
        outline = msgspec.json.decode(content, type=_Outline)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return fault
    used = outline.provenance.plugin_digests
    absent = [name for name in used if name not in LOADED]
    unknown = (
        f"its {registry.kind} {name!r}"
        for registry, name in outline.recipe.components()
        if name not in registry
    )
    component = next(unknown, "")
    if absent and component:
        which = " or ".join(map(repr, absent))
        return f"{component} is of the plugin {which}, which is not loaded (--plugin FILE.py)"
    if absent:
        return f"{fault}; its plugin {absent[0]!r} is not loaded (--plugin FILE.py)"
    changed = _changed(used)
    return f"{fault}; its plugin {changed[0]!r} has changed since it was made" if changed else fault


def changed_plugins(record: Record) -> list[str]:
    """Return the plugins of a record that are loaded in another version than the one it used."""
    return _changed(record.provenance.plugin_digests)


def changed_lines(records: Iterable[Record]) -> list[str]:
    """Return a sentence for each plugin of which some records used another version."""
    counts: dict[str, int] = {}
    for record in {record.key: record for record in records}.values():
        for name in changed_plugins(record):
            counts[name] = counts.get(name, 0) + 1
    return [
        f"{count} record{' was' if count == 1 else 's were'} made with another version of the "
        f"plugin {name!r} than the one that is loaded."
        for name, count in counts.items()
    ]


def _changed(used: dict[str, str]) -> list[str]:
    return [name for name in used if name in LOADED and LOADED[name].digest != used[name]]
