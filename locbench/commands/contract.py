"""What `locbench check` does: run the contract of components and say what holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from locbench.console import Output
from locbench.contract.findings import Check, Finding, findings
from locbench.contract.methods import BranchContract, MethodContract, attach_points
from locbench.contract.parts import DatasetContract, NetworkContract
from locbench.datasets.catalogue import info
from locbench.datasets.known import DATASETS
from locbench.errors import FailureError, UsageError
from locbench.plugins import LOADED
from locbench.registry import Registry, suggestion
from locbench.spec.components import BRANCHES
from locbench.spec.methods import METHODS
from locbench.spec.modifiers import MODIFIERS
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe
from locbench.spec.validation import make_recipe
from locbench.terminal.contract import print_check

Kind = Literal["method", "modifier", "auxiliary branch", "network", "data set"]

REGISTRIES: dict[Kind, Registry[Any]] = {
    "method": METHODS,
    "modifier": MODIFIERS,
    "auxiliary branch": BRANCHES,
    "network": NETWORKS,
    "data set": DATASETS,
}


class Checked(msgspec.Struct, frozen=True):
    """A component and what its contract found.

    Attributes:
        plugin: that it is of; empty for locbench's own.
        findings: one per check.
    """

    kind: Kind
    name: str
    plugin: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Bench:
    """On what components are tried.

    Attributes:
        network: for methods, branches and data sets.
        image_size: side of the images in pixels; None takes the network's or the data set's own.
        root: folder of the data sets.
    """

    network: str
    image_size: int | None
    root: Path

    def recipe(self, network: str, method: str, dataset: str = "digits") -> Recipe:
        """Return a recipe of one short epoch."""
        side = {} if self.image_size is None else {"image_size": self.image_size}
        usual = {"dataset": dataset, "epochs": 1, "batch_size": 8, "lr": 0.05}
        return make_recipe(usual | {"network": network, "method": method} | side)

    def checks(self, kind: Kind, name: str) -> Iterator[Check]:
        """Yield the checks of a component."""
        made: list[Recipe] = []
        classes = info("digits").classes
        if kind == "data set":
            self.recipe(self.network, "bp")
            yield Check(
                "a recipe is made on it",
                lambda: made.append(self.recipe(self.network, "bp", name)),
                basic=True,
            )
            yield from DatasetContract(made[0], self.root).checks()
            return
        network = name if kind == "network" else self.network
        method = {
            "method": name,
            "modifier": f"{name}+{MODIFIERS[name].base if kind == 'modifier' else ''}",
        }.get(kind, "dgl")
        yield Check(
            f"a recipe is made of it{'' if kind == 'network' else f' on {network}'}",
            lambda: made.append(self.recipe(network, method)),
            basic=True,
        )
        side = made[0].side
        if kind == "network":
            yield from NetworkContract(name, classes, side).checks()
        if kind == "auxiliary branch":
            for point in attach_points(network, classes, side):
                yield from BranchContract(BRANCHES[name].options(), point).checks()
        else:
            yield from MethodContract(made[0], classes, side).checks()


def check_components(names: Sequence[str], bench: Bench, output: Output) -> None:
    """Check components by name, or all of the plugins that are loaded, and print what holds.

    Raises:
        UsageError: there is no such component, or nothing to check.
        FailureError: a check fails.
    """
    checked = [
        Checked(
            kind, name, REGISTRIES[kind].plugin_of(name), tuple(findings(bench.checks(kind, name)))
        )
        for kind, name in _chosen(names)
    ]
    output.show(lambda: checked, lambda console: print_check(console, checked))
    faults = [finding for each in checked for finding in each.findings if finding.fault]
    if faults:
        total = sum(len(each.findings) for each in checked)
        raise FailureError(
            f"{len(faults)} of {total} checks {'fails' if len(faults) == 1 else 'fail'}",
            "Correct what the sentences above say.",
        )


def _chosen(names: Sequence[str]) -> list[tuple[Kind, str]]:
    known = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry]
    if names:
        for name in names:
            if not any(name == each for _, each in known):
                raise UsageError(
                    f"unknown component {name!r}", suggestion(name, [each for _, each in known])
                )
        return [(kind, name) for kind, name in known if name in names]
    chosen = [(kind, name) for kind, name in known if REGISTRIES[kind].plugin_of(name)]
    if not chosen:
        empty = f"the plugin {', '.join(LOADED)} registers nothing" if LOADED else ""
        raise UsageError(
            empty or "there is nothing to check",
            "Load a plugin with --plugin FILE.py, or name components.",
        )
    return chosen
