"""Peak tensor memory of a training step, predicted without a device.

The second step of a run is traced (momentum exists then), on fake tensors of any batch size. What
is counted is the storage of tensors: parameters, gradients, optimizer state, activations,
temporaries. What a GPU holds besides (context, cuDNN's workspaces, fragments of the allocator) is
no tensor and is not in the figure. With ``bf16`` the CPU's rules of autocast are traced, which keep
softmax and LayerNorm in bfloat16 where a GPU's keep them in float32.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from locbench.costs.memory.fake_ops import ShapeCache, forget_values
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.tracker import MemoryTracker, Trace
from locbench.datasets.catalogue import info
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import Learner, build_learner
from locbench.learning.modules import Auxiliary
from locbench.spec.recipe import Recipe, without_schedule
from locbench.training.device import autocast
from locbench.training.optimizer import ModuleSGD, make_optimizer


@dataclass(frozen=True)
class StepMemory:
    """A traced step.

    Attributes:
        peak: largest number of live bytes during the second step.
        peak_event: index of the event in ``trace`` after which the peak was reached.
        start: index of the second step's first event.
        trace: all events, both steps.
    """

    peak: int
    peak_event: int
    start: int
    trace: Trace

    def by_kind(self) -> dict[str, int]:
        """Return the live bytes at the peak by what they hold."""
        sums: dict[str, int] = {}
        for storage in self.trace.alive_at(self.peak_event):
            sums[storage.kind] = sums.get(storage.kind, 0) + storage.size
        return dict(sorted(sums.items()))


def peak_bytes(recipe: Recipe, setting: TraceOptions = TraceOptions()) -> int:
    """Return the predicted peak of live tensor bytes in a training step."""
    return _peak(without_schedule(recipe), setting)


@lru_cache(maxsize=256)
def _peak(recipe: Recipe, setting: TraceOptions) -> int:
    return trace_step(recipe, setting).peak


def trace_step(
    recipe: Recipe,
    setting: TraceOptions = TraceOptions(),
    live: MemoryTracker | None = None,
    *,
    primed: bool = False,
) -> StepMemory:
    """Trace two training steps of a recipe and return the second's memory.

    Args:
        recipe: what is trained.
        setting: what a step depends on besides.
        live: another tracker than `MemoryTracker`.
        primed: make gradients and optimizer state of all parameters instead of taking the first
            step, in half the time. The same where a step reaches every parameter.
    """
    data = info(recipe.dataset)
    side, classes = setting.side or recipe.side, setting.classes or data.classes
    mode = FakeTensorMode() if setting.fake else None
    with without_collector(), mode or nullcontext(), live or MemoryTracker() as live:
        if mode is not None:
            live.run = ShapeCache(mode)
        learner = build_learner(recipe, classes, side)
        if setting.kept_softmax:
            with_kept_softmax(learner)
        buckets = gradient_buckets(learner) if setting.ddp_buckets else []
        live.label(buckets, "gradient buckets")
        optimizer = make_optimizer(learner, recipe)
        forget_values(learner.buffers())  # BatchNorm counts its batches
        live.label(learner.buffers(), "buffers")
        live.label(learner.parameters(), "parameters")
        pixels = recipe.augmentation == "standard" or learner.restores_image
        images, targets = _batch(setting.batch_size or recipe.batch_size, side, live, pixels=pixels)
        _attribute(learner, live)
        start = 0
        if primed:
            _prime(learner, optimizer)
        for _ in range(1 if primed else 2):
            start = len(live.trace.events)
            take_step(learner, optimizer, images, targets, recipe, setting, live)
        live.label(_state_of(optimizer), "optimizer state")
        peak, event = live.trace.peak(start)
        # Without the deaths that follow when the learner goes.
        trace = Trace(list(live.trace.events))
    return StepMemory(peak, event, start, trace)


def take_step(
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    targets: Targets,
    recipe: Recipe,
    setting: TraceOptions,
    live: MemoryTracker,
) -> None:
    """Take a training step as the loop does, labelling what is born in it.

    Args:
        learner: what is trained.
        optimizer: of all its parameters.
        images, targets: a batch.
        recipe: precision of the step.
        setting: phase, and whether gradients stay allocated.
        live: the recorder.
    """
    optimizer.zero_grad(set_to_none=not setting.keep_gradients)

    def label_gradients() -> None:
        live.label(
            (weight.grad for weight in learner.parameters() if weight.grad is not None), "gradients"
        )

    def finished(module: int) -> None:
        if isinstance(optimizer, ModuleSGD):
            label_gradients()
            optimizer.step_module(module)

    with autocast(recipe.precision, torch.device("cpu")):
        learner.step(images, targets, guided=setting.guided, finished=finished)
    label_gradients()
    live.kind, live.module = "temporaries", -1
    optimizer.step()


def _prime(learner: Learner, optimizer: torch.optim.Optimizer) -> None:
    for parameter in learner.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()


def _batch(size: int, side: int, live: MemoryTracker, *, pixels: bool) -> tuple[Tensor, Targets]:
    images, labels = torch.zeros(size, 3, side, side), torch.zeros(size, dtype=torch.int64)
    restored = torch.zeros(size, 3, side, side) if pixels else None
    live.label([images, labels, *([] if restored is None else [restored])], "input")
    return images, Targets(labels, restored)


def _state_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [
        value
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor)
    ]


def _attribute(learner: Learner, live: MemoryTracker) -> None:
    """Let hooks say which local module a storage is born in, and whether in a forward pass."""

    def entering(module: int) -> Any:
        def hook(_: nn.Module, __: Any) -> None:
            live.module, live.kind = module, "activations"

        return hook

    def leaving(_: nn.Module, __: Any, ___: Any) -> None:
        live.kind = "temporaries"

    for index, layers in enumerate(learner.partition.ranges):
        nets = [learner.chain.units[layer] for layer in layers]
        for auxiliaries in (learner.independents, learner.cascades):
            if str(index) in auxiliaries:
                nets += list(cast(Auxiliary, auxiliaries[str(index)]).branches)
        if index == learner.partition.modules - 1:
            nets.append(learner.chain.head)
        for net in nets:
            net.register_forward_pre_hook(entering(index))
            net.register_forward_hook(leaving)


@contextmanager
def without_collector() -> Iterator[None]:
    """Keep Python's collector from freeing cycles at random moments of the trace."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class KeptSoftmax(torch.autograd.Function):
    """Softmax over the last axis whose backward pass keeps the input too, as up to torch 1.10.

    From 1.11 on it keeps the input's type alone; the gradients are the same.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return softmax of a tensor of any shape, over its last axis."""
        y = torch.softmax(x, dim=-1)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        """Return the gradient of the input."""
        _, y = ctx.saved_tensors
        return torch._softmax_backward_data(gradients[0], y, -1, y.dtype)


class LegacySoftmax(nn.Module):
    """Softmax over the last axis that remembers its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Return softmax of a tensor of any shape."""
        return KeptSoftmax.apply(x)  # type: ignore[no-any-return]


def with_kept_softmax(net: nn.Module) -> None:
    """Let every softmax layer of a net keep its input for the backward pass, in place."""
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Softmax):
                setattr(parent, name, LegacySoftmax())


def gradient_buckets(net: nn.Module) -> list[Tensor]:
    """Return what DistributedDataParallel copies gradients into: a buffer for all parameters."""
    return [torch.zeros(sum(parameter.numel() for parameter in net.parameters()))]
