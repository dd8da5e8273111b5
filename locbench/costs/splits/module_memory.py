"""The peak of one local module's training step, traced alone.

What counts is what a device that trained this module alone would hold: its parameters, gradients
and optimizer state, its auxiliary nets' too, its input, the labels, and the tensors of its step
(with PGL, of a local one). Other modules' parameters do not count, and the image only where it is
the input or an auxiliary net restores it.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import msgspec
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from locbench.costs.memory.fake_ops import ShapeCache, forget_values
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.trace import (
    gradient_buckets,
    take_step,
    with_kept_softmax,
    without_collector,
)
from locbench.costs.memory.tracker import GRANULE, MemoryTracker
from locbench.costs.splits.cuts import ModuleSpan
from locbench.costs.splits.single_module import SingleModule
from locbench.datasets.catalogue import info
from locbench.learning.auxiliary.branch import Targets, ramp
from locbench.networks.chain import Chain, build_chain
from locbench.spec.components import Branch, Composition
from locbench.spec.recipe import Recipe, without_schedule
from locbench.training.device import autocast
from locbench.training.optimizer import make_optimizer


class TracedNetwork:
    """A network on fake tensors, whose local modules are traced one at a time, equal ones once.

    Args:
        recipe: network, data set, batch and optimizer; method and K are given module by module.
        setting: what else a step's memory depends on.
    """

    def __init__(self, recipe: Recipe, setting: TraceOptions = TraceOptions()) -> None:
        data = info(recipe.dataset)
        side, classes = setting.side or recipe.side, setting.classes or data.classes
        self.recipe, self.setting = recipe, setting
        self._mode = FakeTensorMode()
        with without_collector(), self._mode:
            self.chain = build_chain(recipe.network, classes, side, recipe.drop_path)
            if setting.kept_softmax:
                with_kept_softmax(self.chain)
            self._images = torch.zeros(setting.batch_size or recipe.batch_size, 3, side, side)
            self._forward = _forward(self.chain, self._images, recipe)
        self._structures = [structure(unit) for unit in self.chain.units]
        self._bounds: dict[tuple[int, int], int] = {}
        self._peaks: dict[Hashable, int] = {}

    def peak(self, span: ModuleSpan, modules: int, composition: Composition) -> int:
        """Return the bytes that a module of a division into K modules needs."""
        with self._mode:
            learner = SingleModule(self.chain, span, modules, composition)
            kind = self._kind(learner)
            if kind not in self._peaks:
                self._peaks[kind] = self._traced(learner)
        assert self._peaks[kind] >= self.bound(span), (
            f"{span} needs less than its forward pass keeps"
        )
        return self._peaks[kind]

    def bound(self, span: ModuleSpan) -> int:
        """Return a number of bytes that the module's peak is not below.

        It is what the module holds when its forward pass ends, auxiliary nets left out, read off
        one forward pass of the network, in which a layer keeps what it keeps in a module.
        """
        layer_range = span.first, span.last
        if layer_range not in self._bounds:
            layers = self._forward[span.first : span.last + 1]
            if span.last == len(self.chain.units) - 1:
                layers = self._forward[span.first :]
            states = 2 if self.recipe.optimizer == "adamw" else int(self.recipe.momentum > 0)
            copies = 1 + self.setting.keep_gradients + self.setting.ddp_buckets + states
            kept = sum(copies * layer.parameters + layer.buffers + layer.kept for layer in layers)
            self._bounds[layer_range] = layers[0].given + kept
        return self._bounds[layer_range]

    def _kind(self, learner: SingleModule) -> Hashable:
        """Return what a module's peak depends on: modules with equal ones need the same."""
        span = learner.span
        layers = tuple(self._structures[span.first : span.last + 1])
        runs = tuple(_running(branch, learner) for branch in learner.composition.branches)
        above = structure(learner.nets[-1]), runs, learner.composition.patches
        return self._forward[span.first].key, layers, above

    def _traced(self, learner: SingleModule) -> int:
        parameters = [parameter for net in learner.nets for parameter in net.parameters()]
        buffers = [buffer for net in learner.nets for buffer in net.buffers()]
        copied = nn.ParameterList(parameters)
        with without_collector(), MemoryTracker() as live:
            live.run = ShapeCache(self._mode)
            forget_values(buffers)
            live.label(buffers, "buffers")
            live.label(parameters, "parameters")
            buckets = gradient_buckets(copied) if self.setting.ddp_buckets else []
            live.label(buckets, "gradient buckets")
            optimizer = make_optimizer(learner, self.recipe)
            x, targets = self._batch(learner)
            start = 0
            for _ in range(2):
                start = len(live.trace.events)
                take_step(learner, optimizer, x, targets, self.recipe, self.setting, live)
            peak: int = live.trace.peak(start)[0]
        for parameter in parameters:
            parameter.grad = None
        return peak

    def _batch(self, learner: SingleModule) -> tuple[Tensor, Targets]:
        labels = torch.zeros(len(self._images), dtype=torch.int64)
        pixels = torch.zeros(self._images.shape) if learner.restores_image else None
        return self._forward[learner.span.first].input(), Targets(labels, pixels)


class ModuleMemory:
    """The local modules that a recipe's network may be cut into; see `splits.search.Peaks`.

    Args:
        recipe: network, method and K.
        setting: what else a step's memory depends on.
    """

    def __init__(self, recipe: Recipe, setting: TraceOptions = TraceOptions()) -> None:
        bare = without_schedule(recipe, modules=None, composition=Composition())
        self._network, self._composition = _network(bare, setting), recipe.composition
        self._modules = recipe.modules or len(self._network.chain.units)

    def bound(self, span: ModuleSpan) -> int:
        """Return a number of bytes that the module's peak is not below."""
        return self._network.bound(span)

    def peak(self, span: ModuleSpan) -> int:
        """Return the bytes that the module needs."""
        return self._network.peak(span, self._modules, self._composition)


@lru_cache(maxsize=1)  # one K after the other of the same network
def _network(recipe: Recipe, setting: TraceOptions) -> TracedNetwork:
    return TracedNetwork(recipe, setting)


@dataclass(frozen=True)
class _Layer:
    """A layer's input, which takes ``given`` bytes, and the bytes that the layer adds to a module.

    Attributes:
        kept: what its forward pass leaves alive.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype
    given: int
    parameters: int
    buffers: int
    kept: int

    @property
    def key(self) -> Hashable:
        """What a tensor like the layer's input depends on."""
        return self.shape, self.strides, self.dtype

    def input(self) -> Tensor:
        """Return a tensor like the layer's input."""
        return torch.empty_strided(self.shape, self.strides, dtype=self.dtype)


def _forward(chain: Chain, images: Tensor, recipe: Recipe) -> list[_Layer]:
    """Run a network once, with its graph, and return its local layers and its classifier."""
    layers: list[_Layer] = []
    x = images
    with MemoryTracker() as live, autocast(recipe.precision, torch.device("cpu")):
        live.label([images, *chain.parameters(), *chain.buffers()], "input")
        for net in [*chain.units, chain.head]:
            like = tuple(x.shape), x.stride(), x.dtype
            given, before = (
                rounded(torch.empty_strided(*like[:2], dtype=like[2])),
                len(live.trace.events),
            )
            x = net(x)
            kept = sum(change for _, change in live.trace.events[before:])
            layers.append(
                _Layer(*like, given, _bytes(net.parameters()), _bytes(net.buffers()), kept)
            )
    return layers


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(map(rounded, tensors))


def rounded(tensor: Tensor) -> int:
    """Return the bytes of a tensor's storage, rounded up as the trace does."""
    return -(-tensor.untyped_storage().nbytes() // GRANULE) * GRANULE


def structure(net: nn.Module) -> str:
    """Return what a net's memory depends on: layers and shapes of tensors.

    Rates of stochastic depth are left out.
    """
    shapes = [tuple(tensor.shape) for tensor in (*net.parameters(), *net.buffers())]
    return re.sub(r"drop_prob=[\d.]+", "drop_prob", f"{net!r}") + str(shapes)


def _running(branch: Branch, learner: SingleModule) -> Branch:
    """Return a branch's options with 1 or 0 for each weight, since weight 0 means not run."""
    position = (
        learner.span.module / (learner.modules_count - 2) if learner.modules_count > 2 else 0.0
    )
    weights = [name for name in branch.__struct_fields__ if name.endswith("weight")]
    running = {name: 2 * (float(bool(ramp(getattr(branch, name), position))),) for name in weights}
    return msgspec.structs.replace(branch, **running)
