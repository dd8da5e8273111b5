"""Live tensor bytes of a computation, traced operation by operation.

A dispatch mode sees every tensor that an operation returns, and a weak reference on its storage
says when it dies. Each storage is rounded up to 512 bytes, as CUDA's caching allocator does. Under
`FakeTensorMode` the tensors have shapes and lifetimes but no memory, so a step of any batch size is
traced on a laptop.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

GRANULE = 512


@dataclass
class Storage:
    """A storage that was alive during the trace.

    Attributes:
        number: in order of birth.
        size: bytes, rounded up.
        kind: what it holds: ``parameters``, ``gradients``, ``optimizer state``, ``input``,
            ``activations`` (made by a forward pass) or ``temporaries`` (made by a backward pass or
            the optimizer).
        module: 0-based index of the local module that it belongs to; -1 for none.
    """

    number: int
    size: int
    kind: str
    module: int


@dataclass
class Trace:
    """Births and deaths of storages in order: the storage and +size or -size."""

    events: list[tuple[Storage, int]] = field(default_factory=list)

    def peak(self, start: int = 0) -> tuple[int, int]:
        """Return the most live bytes from event ``start`` on, and the event that led to them."""
        live = sum(change for _, change in self.events[:start])
        best, where = live, start
        for index, (_, change) in enumerate(self.events[start:], start + 1):
            live += change
            if live > best:
                best, where = live, index
        return best, where

    def alive_at(self, event: int) -> list[Storage]:
        """Return the storages that are alive after so many events."""
        alive: dict[int, Storage] = {}
        for storage, change in self.events[:event]:
            if change > 0:
                alive[storage.number] = storage
            else:
                alive.pop(storage.number, None)
        return list(alive.values())


class MemoryTracker(TorchDispatchMode):
    """Records every storage's birth and death in a `Trace`.

    Attributes:
        trace: what was recorded.
        kind, module: what storages born from now on are labelled with.
        run: how operations are run.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self.kind = "temporaries"
        self.module = -1
        self.run: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any] = _as_it_is
        self._alive: dict[int, tuple[weakref.ref[Any], Storage]] = {}
        self._count = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and the wrapper costs as much as the recording

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation and note the storages of what it returns."""
        result = self.run(func, args, kwargs or {})
        if isinstance(result, Tensor):
            self.note(result)
        elif isinstance(result, tuple | list):
            for part in tree_iter(result):
                if isinstance(part, Tensor):
                    self.note(part)
        self.ran(func, args)
        return result

    def ran(self, func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Note more of an operation that has run; nothing here."""

    def note(self, tensor: Tensor, kind: str | None = None) -> Storage:
        """Note a tensor's storage if it is new; with ``kind``, label it so also if it is known."""
        storage = tensor.untyped_storage()
        key = id(storage)
        if key not in self._alive:
            self._born(key, storage)
        known = self._alive[key][1]
        if kind is not None:
            known.kind = kind
        return known

    def label(self, tensors: Iterable[Tensor], kind: str) -> None:
        """Label the storages of tensors, whenever they were born."""
        for tensor in tensors:
            self.note(tensor, kind)

    def _born(self, key: int, storage: torch.UntypedStorage) -> None:
        size = -(-storage.nbytes() // GRANULE) * GRANULE
        entry = Storage(self._count, size, self.kind, self.module)
        self._count += 1

        def died(_: object) -> None:
            del self._alive[key]
            self.trace.events.append((entry, -size))

        self._alive[key] = (weakref.ref(storage, died), entry)
        self.trace.events.append((entry, size))


def _as_it_is(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return func(*args, **kwargs)


class ConvolutionBytes(MemoryTracker):  # type: ignore[no-untyped-call]
    """A trace with the bytes live after the first backward pass of each shape of convolution."""

    def __init__(self) -> None:
        super().__init__()
        self._events: dict[str, int] = {}

    def ran(self, func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Note the moment of a convolution's backward."""
        if func is torch.ops.aten.convolution_backward.default:
            self._events.setdefault(
                shape_name(args[1], args[2], args[4][0]), len(self.trace.events)
            )

    def first_backwards(self) -> dict[str, int]:
        """Return the live bytes at each of these moments, by the name of the shape."""
        live, totals = 0, [0]
        for _, change in self.trace.events:
            live += change
            totals.append(live)
        return {shape: totals[event] for shape, event in self._events.items()}


def shape_name(images: Tensor, weight: Tensor, stride: int) -> str:
    """Return ``16-32 3x3/2 at 32``: channels in and out, kernel/stride, side of the input."""
    outputs, inputs, *kernel = weight.shape
    return f"{inputs}-{outputs} {kernel[0]}x{kernel[1]}/{stride} at {images.shape[-1]}"
