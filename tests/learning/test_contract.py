"""What every registered method, branch and network must do.

A new one is covered by being registered.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from specimens import CLASSES, attach_point, batch, gradients, recipe
from step_contract import assert_holds
from torch import nn

from locbench.contract.methods import BranchContract, MethodContract
from locbench.contract.parts import NetworkContract
from locbench.costs.counts import parameter_counts
from locbench.errors import UsageError
from locbench.learning.learner import Learner, build_learner
from locbench.learning.modules import build_branch
from locbench.networks.chain import build_chain
from locbench.networks.flops import forward_flops
from locbench.spec.components import (
    BRANCHES,
    AugLocal,
    Cascade,
    Checkpointed,
    Isolated,
    SharedStem,
)
from locbench.spec.methods import METHODS
from locbench.spec.modifiers import MODIFIERS
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe

SIDE = 16


def expressions() -> list[str]:
    """Return every base method alone, under every modifier, and under some pairs of them."""
    found = []
    for base in METHODS:
        for count in (0, 1, 2):
            for modifiers in combinations(MODIFIERS, count):
                expression = "+".join((*modifiers, base))
                if {"hpff", "pff"} <= set(modifiers) or (
                    count == 2 and not {"hpff", "pgl"} & set(modifiers)
                ):
                    continue  # HPFF has patch feature fusion of its own
                try:
                    recipe(expression)
                except UsageError:
                    continue
                found.append(expression)
    return found


EXPRESSIONS = expressions()


def small(of: Recipe) -> Learner:
    return build_learner(of, CLASSES, SIDE)


def test_every_name_takes_part() -> None:
    names = {name for expression in EXPRESSIONS for name in expression.split("+")}
    assert names == {*METHODS, *MODIFIERS}
    assert {"bp", "checkpointed+bp", "hpff+pgl+infopro", "hpff+reconstruction+auglocal"} <= set(
        EXPRESSIONS
    )


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_method(expression: str) -> None:
    assert_holds(MethodContract(recipe(expression), CLASSES, SIDE).checks())


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_parameters_are_those_of_the_counts(expression: str) -> None:
    chosen = recipe(expression)
    net = small(chosen)
    counted = net.parameter_counts()
    assert counted == parameter_counts(chosen)
    local = net.composition.branches and net.modules_count > 1
    assert (counted["auxiliary"] > 0) == bool(local)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_last_module_reaches_one_back_in_a_cascade_and_none_when_isolated(
    expression: str,
) -> None:
    net, data = small(recipe(expression)), batch(4, SIDE, torch.float32)
    how, top = net.composition.routing, net.modules_count - 1
    net.step(*data)
    before = gradients(net)
    with torch.no_grad():
        for each in net.module_parameters(top):
            each.mul_(1.1).add_(0.05)
    net.zero_grad()
    net.step(*data)
    after = gradients(net)
    reach = {Isolated: 0, Cascade: 1, Checkpointed: top}[type(how)]
    for index in range(top):
        units = tuple(f"chain.units.{unit}." for unit in net.partition.ranges[index])
        changed = any(
            not torch.equal(each, after[name])
            for name, each in before.items()
            if name.startswith(units)
        )
        assert changed == (index >= top - reach), index


@pytest.mark.parametrize(
    "expression", ["bp", "dgl", "predsim", "infopro", "hpff+infopro", "pff+dgl", "pgl+auglocal"]
)
def test_bfloat16_gives_finite_losses_and_all_gradients(expression: str) -> None:
    net, exact = small(recipe(expression)), small(recipe(expression))
    data = batch(8, SIDE, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = net.step(*data)
    expected = exact.step(*data)
    torch.testing.assert_close(found.losses, expected.losses, rtol=0.1, atol=0.1)
    for (name, left), (_, right) in zip(
        net.named_parameters(), exact.named_parameters(), strict=True
    ):
        assert (left.grad is None) == (right.grad is None), name


@pytest.mark.parametrize("patches", [1, 2])
@pytest.mark.parametrize("layer", range(3))
@pytest.mark.parametrize("tag", list(BRANCHES))
def test_branch(tag: str, layer: int, patches: int) -> None:
    options = BRANCHES[tag].options()
    if patches > 1 and isinstance(options, SharedStem):
        pytest.skip(
            "what its decoder restores is not split into patches; 'pff' and 'hpff' are refused"
        )
    point = attach_point(layer, "resnet8", SIDE, patches)
    assert_holds(BranchContract(options, point, patches).checks())


SELECTIONS = (
    "uniform",
    "sequential",
    "repetitive",
    "repetitive-downsampled",
    "conv1x1",
    "conv3x3",
    "conv3x3-plain",
    "dgl",
)


@pytest.mark.parametrize("selection", [*SELECTIONS, ("uniform", "repetitive", "dgl")], ids=str)
@pytest.mark.parametrize("depth", [2, 3])
def test_every_selection_of_auglocal(selection: Any, depth: int) -> None:
    for layer in range(3):
        branch = build_branch(
            AugLocal(depth=depth, selection=selection), attach_point(layer, "resnet8", SIDE)
        )
        spec = attach_point(layer, "resnet8", SIDE).spec
        assert branch(torch.randn(2, spec.channels, spec.side, spec.side)).shape == (2, CLASSES)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_network(name: str) -> None:
    assert_holds(NetworkContract(name, CLASSES, 32).checks())
    counted = forward_flops(lambda: build_chain(name, CLASSES, 32), (3, 32, 32))
    # A transformer has neither BatchNorm nor adaptive pooling layers, which alone count beside
    # multiply-accumulates.
    assert (counted.flops > counted.macs) == (NETWORKS[name].transformer is None)


def test_copies_of_a_layer_have_fresh_weights() -> None:
    spec = attach_point(1, "resnet8", SIDE).spec
    left, right = spec.clone(16, 32, 2), spec.clone(16, 32, 2)
    weights = [next(each for each in net.parameters() if each.dim() == 4) for net in (left, right)]
    assert not torch.equal(*weights)
    assert isinstance(left, nn.Module)
