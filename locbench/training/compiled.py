"""Training steps whose layers are compiled by torch.compile.

There is one compilation per distinct shape of layer. What is compiled is a local layer, or a block
of an auxiliary net: large enough to be fused, and few of them differ. All go through one function
that takes the layer as an argument, so that torch.compile reads its parameters as inputs and a
network of 55 local layers needs no more compilations than one of ten. Routing, criteria and the
optimizer stay as they are, and so does evaluation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
import torch._dynamo
import torch._functorch.config
from torch import Tensor, nn
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
from torch._dynamo.utils import counters

from locbench.console import remark
from locbench.data.batches import Batch
from locbench.learning.auxiliary.branch import AuxiliaryNet, Targets
from locbench.learning.learner import Learner
from locbench.learning.routing import StepOutput
from locbench.spec.components import Cascade
from locbench.training.eager import EagerEngine

SHAPES = 1024
"""Compilations of the one function that are allowed; torch.compile gives up after 8 by default."""


class CompiledEngine:
    """Takes the steps of an eager engine with compiled layers.

    Batches of another size than the first, such as an epoch's last one, run eagerly rather than to
    be compiled for. So does a layer that cannot be compiled; that is said once. Random numbers are
    those of eager steps. No CUDA graphs are made of layers: `GraphedEngine` makes them of steps.

    Args:
        plain: takes the steps.
        backend: of torch.compile; tests take one that only traces.
        layers: what is compiled; None means `compiled_layers`.
    """

    def __init__(
        self,
        plain: EagerEngine,
        backend: str | Callable[..., Any] = "inductor",
        layers: Sequence[nn.Module] | None = None,
    ) -> None:
        self.plain = plain
        self.compile_seconds = 0.0
        self._size: int | None = None
        layers = compiled_layers(plain.learner) if layers is None else layers
        self._kinds = [(layer, str(layer)) for layer in layers]
        self._failed: set[str] = set()
        inductor = {"fallback_random": True, "triton.cudagraphs": False}
        options: dict[str, Any] = {"options": inductor} if backend == "inductor" else {}
        compiled = torch.compile(
            _forward, backend=backend, fullgraph=True, dynamic=False, **options
        )
        self._compiled = cast(Callable[..., Tensor], compiled)

    @property
    def name(self) -> str:
        """``compiled``, or ``eager`` where no layer could be compiled."""
        return "compiled" if any(kind not in self._failed for _, kind in self._kinds) else "eager"

    def step(
        self, batch: Batch, targets: Targets, *, guided: bool, global_batch: int | None = None
    ) -> StepOutput:
        """Take a step, compiled if the batch has the first one's size."""
        with self.layers_for(batch):
            return self.plain.step(batch, targets, guided=guided, global_batch=global_batch)

    @contextmanager
    def layers_for(self, batch: Batch) -> Iterator[None]:
        """Let layers run compiled in the context, for a batch of the first one's size."""
        self._size = self._size or len(batch.labels)
        if len(batch.labels) == self._size:
            with self._settings(), self._in_place():
                yield
        else:
            yield

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """Allow many shapes of one function, and compile backward passes with forward ones.

        Where a gradient is carried through a module twice, its backward pass may not use up what
        was kept for it.
        """
        twice = isinstance(self.plain.learner.composition.routing, Cascade)
        switches = {"force_non_lazy_backward_lowering": True, "donated_buffer": not twice}
        config = torch._functorch.config  # not every version has both
        switches = {name: value for name, value in switches.items() if hasattr(config, name)}
        # PyTorch 2.6 knows the limits by the older name alone.
        name = "recompile" if hasattr(torch._dynamo.config, "recompile_limit") else "cache_size"
        limits = {f"{name}_limit": SHAPES, f"accumulated_{name}_limit": SHAPES}
        with torch._dynamo.config.patch(limits), config.patch(switches):
            yield

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        """Let the layers run compiled for the time of a step; nobody else meets them changed."""
        for net, kind in self._kinds:
            if kind not in self._failed:
                net.forward = partial(self._run, kind, net)
        try:
            yield
        finally:
            for net, _ in self._kinds:
                net.__dict__.pop("forward", None)

    def _run(self, kind: str, net: nn.Module, *inputs: Tensor) -> Tensor:
        if kind in self._failed:
            return _forward(net, *inputs)
        graphs, begun = counters["stats"]["unique_graphs"], time.perf_counter()
        try:
            return self._compiled(net, *inputs)
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            # Nothing of the layer has run yet.
            self._failed.add(kind)
            lines = str(error).strip().splitlines() or [type(error).__name__]
            remark(f"a layer {type(net).__name__} cannot be compiled and runs eagerly: {lines[0]}")
            return _forward(net, *inputs)
        finally:
            if counters["stats"]["unique_graphs"] != graphs:
                self.compile_seconds += time.perf_counter() - begun


def compiled_layers(learner: Learner) -> list[nn.Module]:
    """Return the layers that are worth compiling; none is within another one.

    They are the local layers, the classifier, and what the branches of the auxiliary loss call,
    each cut into its blocks where it is a sequence of blocks. A single operation gains nothing.
    """
    called = [
        net
        for branch in learner.modules()
        if isinstance(branch, AuxiliaryNet)
        for net in branch.children()
        if not isinstance(net, AuxiliaryNet | nn.ModuleList)
    ]
    nets = (*learner.chain.units, learner.chain.head, *called)
    return [block for net in nets for block in _blocks(net)]


def _blocks(net: nn.Module) -> Iterator[nn.Module]:
    children = list(net.children())
    nested = any(list(child.children()) for child in children)
    if type(net).forward is nn.Sequential.forward and nested:
        for child in children:
            yield from _blocks(child)
    elif children:
        yield net


def _forward(net: nn.Module, *inputs: Tensor) -> Tensor:
    """Run a layer as its class says, past what may stand in its place for the time of a step."""
    return cast(Tensor, type(net).forward(net, *inputs))
