"""The least time that a device needs for a step.

A step is traced on fake tensors as the eager engine takes it. An operation reads its arguments and
writes its results once, views apart, and multiplies and adds what `torch.utils.flop_counter` counts
(two per multiply-accumulate of convolutions and matrix products, nothing else). Its least time is
the larger of bytes over the device's bandwidth and operations over its peak, both measured here:
that of a copy, and that of a matrix product or a convolution, whichever is faster. The roofline of
a step is the sum over its operations.
An engine that joins operations, and so does not write what it reads again, may be faster; so may
small maps that stay in a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

from locbench.bench.cases import Case
from locbench.bench.results import Bound
from locbench.costs.measured.step_meter import meter_of
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.trace import take_step, without_collector
from locbench.costs.memory.tracker import MemoryTracker
from locbench.datasets.catalogue import info
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import build_learner
from locbench.spec.choices import Precision
from locbench.training.device import memory_layout
from locbench.training.optimizer import make_optimizer

COPIED = {"cpu": 2**28, "cuda": 2**30}
"""Bytes that are copied, by type of device: beyond its caches."""

SIDE = {"cpu": 2048, "cuda": 8192}
"""Side of the matrices that are multiplied."""

CONVOLVED = {"cpu": (32, 256, 16), "cuda": (256, 256, 32)}
"""Images, channels and side of the maps that are convolved."""

_TYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


class Operation(NamedTuple):
    """An operation of a step: bytes read and written, and floating-point operations."""

    name: str
    moved: int
    flops: int


class Ceiling(msgspec.Struct, frozen=True):
    """Bytes per second of a copy, read and written, and FLOPs per second of the fastest product."""

    bytes_per_second: float
    flops_per_second: float

    def seconds(self, operations: Iterable[Operation]) -> float:
        """Return the least time of operations one after the other."""
        return sum(
            max(moved / self.bytes_per_second, flops / self.flops_per_second)
            for _, moved, flops in operations
        )


class Operations(MemoryTracker):  # type: ignore[no-untyped-call]
    """Records every operation, beside the births and deaths of storages.

    Attributes:
        seen: the operations in order; views are none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Operation] = []

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation and note what it moves and computes."""
        result = super().__torch_dispatch__(func, types, args, kwargs)
        moved = moved_bytes(func, args, kwargs or {}, result)
        if moved:
            self.seen.append(Operation(str(func), moved, _flops(func, args, kwargs or {}, result)))
        return result


def moved_bytes(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
    """Return the bytes that an operation reads and writes; 0 for a view."""
    inputs, changed = _tensors((args, kwargs)), _tensors(_changed(func, args, kwargs))
    storages = {id(tensor.untyped_storage()) for tensor in inputs}
    outputs = [value for value in _tensors(result) if id(value.untyped_storage()) not in storages]
    if not outputs and not changed:
        return 0
    return sum(map(_size, [*inputs, *changed, *outputs]))


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_iter(values) if isinstance(value, Tensor)]


def _changed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Return the arguments that an operation writes to, which `moved_bytes` counts once more.

    A fused optimizer may write to gradients, but does so for a scaler alone, and there is none
    here.
    """
    arguments = func._schema.arguments
    written = {arg.name for arg in arguments if arg.alias_info and arg.alias_info.is_write}
    written.discard("grads")
    values = {arg.name: value for arg, value in zip(arguments, args, strict=False)} | kwargs
    return [value for name, value in values.items() if name in written]


def _size(tensor: Tensor) -> int:
    # An expanded one is small.
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _flops(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
    count = flop_registry.get(func.overloadpacket)
    return int(count(*args, **kwargs, out_val=result)) if count else 0


def bound_of(case: Case, ceiling: Ceiling) -> Bound:
    """Return what a case's training step must do, and its least time under a ceiling."""
    operations, peak = trace(case)
    return Bound(
        operations=len(operations),
        moved_bytes=sum(operation.moved for operation in operations),
        flops=sum(operation.flops for operation in operations),
        milliseconds=1000 * ceiling.seconds(operations),
        predicted_peak_bytes=peak,
    )


def trace(case: Case) -> tuple[list[Operation], int]:
    """Trace a case's training step on fake tensors; nothing is computed.

    Returns:
        The operations, and the peak of live tensors in bytes.
    """
    recipe, data = case.recipe, info(case.recipe.dataset)
    setting = TraceOptions(guided=case.guided, keep_gradients=False)
    with without_collector(), FakeTensorMode(), Operations() as live:
        learner = build_learner(recipe, data.classes, recipe.side)
        optimizer = make_optimizer(learner, recipe)
        images = torch.zeros(recipe.batch_size, 3, recipe.side, recipe.side)
        labels = torch.zeros(recipe.batch_size, dtype=torch.int64)
        targets = Targets(labels, torch.zeros_like(images))
        for parameter in learner.parameters():  # a first step, for the optimizer's state
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        live.seen.clear()
        start = len(live.trace.events)
        take_step(learner, optimizer, images, targets, recipe, setting, live)
        peak, _ = live.trace.peak(start)
    return live.seen, peak


def measure_ceiling(device: torch.device, precision: Precision) -> Ceiling:
    """Measure a copy, a matrix product and a convolution in a precision, each the fastest of some.

    On some CPUs the library of matrix products uses half the width of the registers that the
    convolutions' uses. The numbers are random: constant ones take less power, and a device
    multiplies them faster.
    """
    size, side = COPIED[device.type], SIDE[device.type]
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    images, channels, width = CONVOLVED[device.type]
    kind, layout = _TYPES[precision], memory_layout(precision, device)
    left, right = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    maps, weight = (
        torch.randn(shape, device=device).to(kind, memory_format=layout)
        for shape in ((images, channels, width, width), (channels, channels, 3, 3))
    )
    copied = _fastest(lambda: target.copy_(source), device)
    multiplied = _fastest(lambda: torch.mm(left, right), device)
    convolved = _fastest(lambda: F.conv2d(maps, weight, padding=1), device)
    products = 2 * side**3 / multiplied, 2 * 9 * channels * maps.numel() / convolved
    return Ceiling(2 * size / copied, max(products))


def _fastest(call: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of the fastest of seven calls, after one."""
    call()
    return min(meter_of(device).milliseconds(call, 7)) / 1000
