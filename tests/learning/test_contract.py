"""What every registered method, branch and network must do.

A new one is covered by being registered.
"""

from __future__ import annotations

from copy import deepcopy
from itertools import combinations
from typing import Any

import pytest
import torch
from specimens import CLASSES, assert_same, attach_point, batch, gradients, recipe
from torch import nn

from locbench.costs.counts import parameter_counts
from locbench.errors import UsageError
from locbench.learning.auxiliary.branch import AuxiliaryNet
from locbench.learning.auxiliary.hpff import PatchFusion
from locbench.learning.learner import Learner, build_learner
from locbench.learning.modules import build_branch
from locbench.networks.chain import build_chain
from locbench.networks.flops import forward_flops
from locbench.spec.components import (
    BRANCHES,
    AugLocal,
    Branch,
    Cascade,
    Checkpointed,
    Isolated,
    Patches,
    SharedStem,
)
from locbench.spec.methods import METHODS
from locbench.spec.modifiers import MODIFIERS
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe
from locbench.training.optimizer import make_optimizer

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
    chosen = recipe(expression)
    net, data = small(chosen), batch(4, SIDE, torch.float32)
    output = net.step(*data)
    assert output.losses.shape == (net.modules_count,)
    assert output.losses.isfinite().all()
    assert output.logits.shape == (4, CLASSES)
    assert all(each.grad is not None for each in net.chain.parameters())
    assert all(each.grad is None or each.grad.isfinite().all() for each in net.parameters())
    counted = net.parameter_counts()
    assert counted == parameter_counts(chosen)
    assert counted["primary"] == sum(
        each.numel() for each in build_chain("resnet8", CLASSES, SIDE).parameters()
    )
    local = net.composition.branches and net.modules_count > 1
    assert (counted["auxiliary"] > 0) == bool(local)
    guided = net.step(*data, guided=True)
    assert guided.losses.isfinite().all()
    assert_flops_countable(net)


def assert_flops_countable(net: Learner) -> None:
    for branch in net.modules():
        if (
            isinstance(branch, AuxiliaryNet)
            and not isinstance(branch, PatchFusion)
            and type(branch).forward != AuxiliaryNet.forward
        ):
            name = next(name for name, each in net.named_modules() if each is branch)
            spec = net.chain.specs[net.partition.ends[int(name.split(".")[1])]]
            side = spec.side // 2 if net.composition.patches or ".decoders." in name else spec.side
            counted = forward_flops(
                lambda each=branch: each.to("meta"), (spec.channels, side, side)
            )
            assert counted.flops >= counted.macs > 0


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_gradients_stay_where_routing_allows(expression: str) -> None:
    """The last module changes what reaches one module back in a cascade, none when isolated."""
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


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_saved_and_loaded_it_goes_on_with_the_same_numbers(expression: str) -> None:
    chosen = recipe(expression)
    net, again = small(chosen), small(recipe(expression))
    with torch.no_grad():
        for each in again.parameters():
            each.zero_()
    optimizers = [make_optimizer(each, chosen) for each in (net, again)]
    first, second = batch(4, SIDE, torch.float32), batch(4, SIDE, torch.float32, seed=1)
    net.step(*first)
    optimizers[0].step()
    again.load_state_dict(net.state_dict())
    # By itself it shares the momentum.
    optimizers[1].load_state_dict(deepcopy(optimizers[0].state_dict()))
    for each, optimizer in zip((net, again), optimizers, strict=True):
        optimizer.zero_grad()
        each.step(*second)
        optimizer.step()
    for (name, left), (_, right) in zip(
        net.state_dict().items(), again.state_dict().items(), strict=True
    ):
        assert torch.equal(left, right), name


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


def branch_options() -> list[Branch]:
    return [BRANCHES[tag].options() for tag in BRANCHES]


@pytest.mark.parametrize("patches", [1, 2])
@pytest.mark.parametrize("layer", range(3))
@pytest.mark.parametrize("options", branch_options(), ids=lambda each: each.__struct_config__.tag)
def test_branch(options: Branch, layer: int, patches: int) -> None:
    point = attach_point(layer, "resnet8", SIDE, patches)
    branch: AuxiliaryNet = build_branch(options, point)
    if patches > 1 and isinstance(options, SharedStem):
        pytest.skip(
            "what its decoder restores is not split into patches; 'pff' and 'hpff' are refused"
        )
    if patches > 1:
        branch = PatchFusion(branch, Patches())
    features = torch.randn(
        4, point.spec.channels, point.spec.side, point.spec.side
    ).requires_grad_()
    source = torch.randn(
        4, point.input_features.channels, point.input_features.side, point.input_features.side
    )
    targets = batch(4, SIDE, torch.float32)[1].with_features(source)
    loss = branch.backward(features, targets, 2.0)
    assert loss.isfinite()
    assert loss.shape == ()
    assert features.grad is not None
    assert features.grad.abs().sum() > 0
    assert all(each.grad is not None for each in branch.parameters())
    once = gradients(branch)
    for each in branch.parameters():
        each.grad = None
    branch.backward(features.detach(), targets, 4.0)
    assert_same(
        {k: v.double() for k, v in gradients(branch).items()},
        {k: 2 * v.double() for k, v in once.items()},
    )


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
    """Layers, their specs and FLOPs, on the meta device."""
    info = NETWORKS[name]
    with torch.device("meta"):
        chain = build_chain(name, CLASSES, 32)
        x = torch.empty(2, 3, 32, 32)
    assert len(chain.units) == len(chain.specs) == info.units
    assert (chain.classes, chain.side) == (CLASSES, 32)
    for unit, spec in zip(chain.units, chain.specs, strict=True):
        x = unit(x)
        assert x.shape == (2, spec.channels, spec.side, spec.side)
    assert chain.head(x).shape == (2, CLASSES)
    counted = forward_flops(lambda: build_chain(name, CLASSES, 32), (3, 32, 32))
    # A transformer has neither BatchNorm nor adaptive pooling layers, which alone count beside
    # multiply-accumulates.
    assert counted.flops >= counted.macs > 0
    assert (counted.flops > counted.macs) == (info.transformer is None)
    for modules, split in info.splits.items():
        assert (len(split), sum(split)) == (modules, info.units)


def test_copies_of_a_layer_have_fresh_weights() -> None:
    spec = attach_point(1, "resnet8", SIDE).spec
    left, right = spec.clone(16, 32, 2), spec.clone(16, 32, 2)
    weights = [next(each for each in net.parameters() if each.dim() == 4) for net in (left, right)]
    assert not torch.equal(*weights)
    assert isinstance(left, nn.Module)
