"""A stand-in for CUDA graphs on the CPU: a call's tensor operations are recorded, and run again on
the same memory.

As in a graph, Python runs once: numbers that it computed are frozen, and reading a tensor's value
is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Call = Callable[[], None]
_READS = (
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.equal.default,
)


class Recorder(TorchDispatchMode):
    """Writes down every operation with its arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[tuple[Any, Any, Any, list[Tensor]]] = []

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Let compiled layers run as such; what they call is written down."""
        return True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _READS:
            raise RuntimeError(f"operation not permitted while capturing: {func}")
        kwargs = kwargs or {}
        places = {each.untyped_storage().data_ptr() for each in tensors((args, kwargs))}
        found = func(*args, **kwargs)
        made = [each for each in tensors(found) if each.untyped_storage().data_ptr() not in places]
        if made or func._schema.is_mutable or not tensors(found):
            self.entries.append((func, args, kwargs, made))
        return found

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, made in self.entries:
            fresh = tensors(func(*args, **kwargs))
            if made:
                for place, each in zip(made, fresh, strict=True):
                    place.copy_(each)


class RecordedGraphs:
    """See `locbench.training.graphed.Graphs`; counts what it is asked for."""

    most_bytes = 0

    def __init__(self) -> None:
        self.warmed = self.captured = self.replayed = 0

    def warm_up(self, call: Call) -> None:
        self.warmed += 1
        call()

    def capture(self, call: Call) -> Call:
        self.captured += 1
        recorder = Recorder()
        with recorder:
            call()

        def replay() -> None:
            self.replayed += 1
            recorder.replay()

        return replay

    def recover(self) -> None:
        """There is nothing to recover: a failed recording leaves nothing behind."""


def tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]
