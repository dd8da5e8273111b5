"""Graphs are freed as soon as they are used: live saved tensors, counted by hooks."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

import pytest
import torch
from specimens import batch, learner
from torch import Tensor

from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import Learner

SIDE = 16


class Held:
    """A saved tensor; the meter hears when the graph lets go of it."""

    def __init__(self, tensor: Tensor, meter: Meter) -> None:
        self.tensor, self.meter, self.tag = tensor, meter, meter.tag
        meter.take(tensor, self.tag)

    def __del__(self) -> None:
        self.meter.release(self.tensor, self.tag)


class Meter:
    """Bytes that graphs keep alive, parameters aside, and the modules whose graphs do so."""

    def __init__(self, net: Learner) -> None:
        self.parameters = {each.untyped_storage().data_ptr() for each in net.parameters()}
        self.storages: Counter[int] = Counter()
        self.tags: Counter[int] = Counter()
        self.tag = -1
        self.bytes = self.peak = self.most_modules = 0
        self.net, self.run = net, net.run_module

    def pack(self, tensor: Tensor) -> Tensor | Held:
        return (
            tensor
            if tensor.untyped_storage().data_ptr() in self.parameters
            else Held(tensor.detach(), self)
        )

    def unpack(self, packed: Tensor | Held) -> Tensor:
        return packed.tensor if isinstance(packed, Held) else packed

    def take(self, tensor: Tensor, tag: int) -> None:
        storage = tensor.untyped_storage()
        self.bytes += 0 if self.storages[storage.data_ptr()] else storage.nbytes()
        self.storages[storage.data_ptr()] += 1
        self.tags[tag] += 1
        self.peak = max(self.peak, self.bytes)
        self.most_modules = max(
            self.most_modules, sum(count > 0 and each >= 0 for each, count in self.tags.items())
        )

    def release(self, tensor: Tensor, tag: int) -> None:
        storage = tensor.untyped_storage()
        self.storages[storage.data_ptr()] -= 1
        self.tags[tag] -= 1
        self.bytes -= 0 if self.storages[storage.data_ptr()] else storage.nbytes()

    def run_module(self, index: int, x: Tensor) -> Tensor:
        self.tag = index
        try:
            return self.run(index, x)
        finally:
            self.tag = -1


def measured(method: str, *, guided: bool = False, **options: Any) -> Meter:
    net = learner(method, side=SIDE, network="resnet20", dtype=torch.float32, **options)
    meter, data = Meter(net), batch(8, SIDE, torch.float32)
    net.run_module = meter.run_module  # type: ignore[method-assign]
    with torch.autograd.graph.saved_tensors_hooks(meter.pack, meter.unpack):
        net.step(*data, guided=guided)
    assert meter.bytes == 0, "something outlives the step"
    return meter


@pytest.mark.parametrize("method", ["auglocal", "dgl", "predsim", "head"])
def test_isolated_modules_need_less_than_backpropagation(method: str) -> None:
    whole, local = measured("bp"), measured(method)
    assert local.most_modules == 1
    # Ten local layers: one of them and its auxiliary net, in place of all.
    assert local.peak < 0.6 * whole.peak


def test_auxiliary_nets_are_gone_before_the_next_module() -> None:
    """PGL's global phase keeps the backbone's graph and one auxiliary net's at a time."""
    whole, guided = measured("bp"), measured("pgl+head", guided=True)
    assert guided.most_modules == 10
    assert whole.peak <= guided.peak < 1.1 * whole.peak


@pytest.mark.parametrize("base", ["dgl", "predsim", "infopro"])
@pytest.mark.parametrize(
    "options", [{}, {"levels": "CL"}, {"official_edges": True}, {"pff": 0}], ids=str
)
def test_two_module_graphs_at_a_time_in_the_cascade(base: str, options: dict[str, Any]) -> None:
    meter = measured(f"hpff+{base}", **options)
    assert meter.most_modules == 2
    if base == "dgl":
        assert meter.peak < 0.6 * measured("bp").peak


@pytest.mark.parametrize("base", ["auglocal", "head", "dgl"])
def test_two_passes_need_less_than_retained_patches(base: str) -> None:
    two, retain = measured(f"pff+{base}"), measured(f"pff+{base}", passes="retain")
    assert two.peak < retain.peak


def test_checkpointing_needs_less_than_backpropagation() -> None:
    assert measured("bp+checkpointed", segments=3).peak < measured("bp").peak


@pytest.mark.parametrize("method", ["dgl", "auglocal", "pff+dgl"])
def test_nothing_of_a_module_is_left_when_the_next_one_runs(method: str) -> None:
    """Neither its output with the graph, nor the leaf that gathers the output's gradient."""
    net = learner(method, side=SIDE, network="resnet14")
    run, independent, seen = net.run_module, net.independent, []

    def run_module(index: int, x: Tensor) -> Tensor:
        assert [each() for each in seen] == [None] * len(seen)
        h = run(index, x)
        seen.append(weakref.ref(h))
        return h

    def train(index: int, features: Tensor, targets: Targets, scale: float = 1.0) -> Tensor:
        seen.append(weakref.ref(features))
        return independent(index, features, targets, scale)

    net.run_module, net.independent = run_module, train  # type: ignore[method-assign]
    net.step(*batch(4, SIDE))
    assert len(seen) == 2 * net.modules_count - 1
