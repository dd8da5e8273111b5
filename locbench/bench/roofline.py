"""How long a device's memory and arithmetic need for a step at least, operation by operation.

A step is traced on fake tensors as the eager engine takes it. An operation reads its arguments and
writes its results once, views apart, and multiplies and adds what `torch.utils.flop_counter` counts
(two per multiply-accumulate of convolutions and matrix products, nothing else). Its least time is
the larger of bytes over the device's bandwidth and operations over its peak, both measured here:
that of a copy and that of a matrix product. The roofline of a step is the sum over its operations.
An engine that joins operations, and so does not write what it reads again, may be faster; so may
small maps that stay in a cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

from locbench.bench.cases import Case
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.trace import take_step, without_collector
from locbench.costs.memory.tracker import MemoryTracker
from locbench.datasets.catalogue import info
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import build_learner
from locbench.spec.choices import Precision
from locbench.training.optimizer import make_optimizer

_COPIED = {"cpu": 2**28, "cuda": 2**30}
"""Bytes that are copied, by type of device: beyond its caches."""

_SIDE = {"cpu": 2048, "cuda": 8192}
"""Side of the matrices that are multiplied."""

_TYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


class Operation(NamedTuple):
    """An operation of a step: bytes read and written, and floating-point operations."""

    name: str
    moved: int
    flops: int


class Ceiling(msgspec.Struct, frozen=True):
    """What a device reaches: bytes per second of a copy, read and written, and operations per
    second of a product.
    """

    bytes_per_second: float
    flops_per_second: float

    def seconds(self, operations: Iterable[Operation]) -> float:
        """Return the least time of operations one after the other."""
        return sum(
            max(each.moved / self.bytes_per_second, each.flops / self.flops_per_second)
            for each in operations
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
    """Return the bytes that an operation reads and writes.

    0 for one that only looks at memory in another way.
    """
    given = [each for each in tree_iter((args, kwargs)) if isinstance(each, Tensor)]
    known = {id(each.untyped_storage()) for each in given}
    made = [
        each
        for each in tree_iter(result)
        if isinstance(each, Tensor) and id(each.untyped_storage()) not in known
    ]
    changed = [
        each
        for value in _changed(func, args, kwargs)
        for each in tree_iter(value)
        if isinstance(each, Tensor)
    ]
    if not made and not changed:
        return 0
    return sum(_size(each) for each in [*given, *changed, *made])


def _changed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Return the arguments that an operation writes to, which `moved_bytes` counts once more.

    A fused optimizer may write to gradients, but does so for a scaler alone, and there is none
    here.
    """
    named = zip(func._schema.arguments, args, strict=False)
    written = {
        each.name for each in func._schema.arguments if each.alias_info and each.alias_info.is_write
    }
    written.discard("grads")
    found = [value for each, value in named if each.name in written]
    return [*found, *(value for name, value in kwargs.items() if name in written)]


def _size(tensor: Tensor) -> int:
    return min(
        tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
    )  # an expanded one is small


def _flops(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
    count = flop_registry.get(func.overloadpacket)
    return int(count(*args, **kwargs, out_val=result)) if count else 0


class TracedStep(NamedTuple):
    """A step's operations, and the predicted peak of live tensors in it in bytes."""

    operations: list[Operation]
    peak: int


def trace(case: Case) -> TracedStep:
    """Trace a case's training step on fake tensors; nothing is computed."""
    recipe, data = case.recipe, info(case.recipe.dataset)
    setting = TraceOptions(guided=case.guided, keep_gradients=False)
    with without_collector(), FakeTensorMode(), Operations() as live:
        learner = build_learner(recipe, data.classes, recipe.side)
        optimizer = make_optimizer(learner, recipe)
        images = torch.zeros(recipe.batch_size, 3, recipe.side, recipe.side)
        targets = Targets(
            torch.zeros(recipe.batch_size, dtype=torch.int64), torch.zeros_like(images)
        )
        for each in learner.parameters():  # a first step, for the optimizer's state
            each.grad = torch.zeros_like(each)
        optimizer.step()
        live.seen.clear()
        start = len(live.trace.events)
        take_step(learner, optimizer, images, targets, recipe, setting, live)
        peak, _ = live.trace.peak(start)
    return TracedStep(live.seen, peak)


def measure_ceiling(device: torch.device, precision: Precision) -> Ceiling:
    """Measure a copy and a matrix product in a precision on a device, each the fastest of some."""
    kind, dtype = device.type, _TYPES[precision]
    source = torch.ones(_COPIED[kind] // 4, device=device)
    target = torch.empty_like(source)
    side = _SIDE[kind]
    left, right = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
    copied = _fastest(lambda: target.copy_(source), device)
    multiplied = _fastest(lambda: torch.mm(left, right), device)
    return Ceiling(2 * _COPIED[kind] / copied, 2 * side**3 / multiplied)


def _fastest(call: Callable[[], object], device: torch.device, times: int = 7) -> float:
    found = []
    for _ in range(times + 1):
        begun = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - begun)
    return min(found[1:])
