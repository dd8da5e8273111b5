"""Results of operations on fake tensors, remembered by the given shapes.

`FakeTensorMode` works every operation out anew or looks it up in a cache whose keys cost more than
all else in a trace. A training step repeats few distinct operations thousands of times; this cache
keeps only what a memory trace needs of them: sizes, strides, types, and which result shares whose
storage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

_DEVICE = torch.ops.prim.device.default

_TYPED = (bool, float, complex)
"""Numbers of these types equal whole numbers but make other results."""


@dataclass(frozen=True)
class _Given:
    """The result is the argument tensor of this index: an operation in place."""

    index: int


@dataclass(frozen=True)
class _Made:
    """A tensor on storage of its own, or on that of an argument.

    Attributes:
        index: of the argument tensor; None for a storage of its own.
        offset: elements after the argument.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    index: int | None
    offset: int
    attributes: dict[str, Any]


_Result = _Given | _Made | None


class _UncachedError(Exception):
    """An argument or a result is of a kind that is not remembered."""


_KNOWN: dict[Any, tuple[type | None, tuple[_Result, ...]]] = {}
"""Results by operation and arguments; the rows of a table share most of them."""


class ShapeCache:
    """Runs operations on the fake tensors of a mode, each distinct one once in a process.

    Args:
        mode: the mode that is active where operations are run.
    """

    def __init__(self, mode: FakeTensorMode) -> None:
        self._mode = mode

    def __call__(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Return what the mode would."""
        if func is _DEVICE:
            return args[0].fake_device
        if _gives_nothing(func):
            # The mode would run a fused optimizer on real tensors, gigabytes of them, for want of a
            # rule.
            return None
        tensors: list[FakeTensor] = []
        try:
            key = (
                func,
                _described(args, tensors),
                (*kwargs, *_described(kwargs.values(), tensors)),
            )
            known = _KNOWN.get(key)
        except (_UncachedError, TypeError):  # TypeError: not hashable
            return func(*args, **kwargs)
        if known is not None:
            container, results = known
            outputs = [self._make(result, tensors) for result in results]
            return outputs[0] if container is None else container(outputs)
        result = func(*args, **kwargs)
        if not _particular(func):
            self._remember(key, result, tensors)
        return result

    def _remember(self, key: Any, result: Any, tensors: list[FakeTensor]) -> None:
        several = isinstance(result, tuple | list)
        results = tuple(result) if several else (result,)
        try:
            _KNOWN[key] = (type(result) if several else None, _read(results, tensors))
        except _UncachedError:
            return

    def _make(self, result: _Result, tensors: list[FakeTensor]) -> Tensor | None:
        if result is None:
            return None
        if isinstance(result, _Given):
            return tensors[result.index]
        with torch._C._DisableTorchDispatch():  # the modes would make fake tensors of these
            meta = torch.empty_strided(
                result.size, result.stride, dtype=result.dtype, device="meta"
            )
            if result.index is not None:
                owner = tensors[result.index]
                offset = owner.storage_offset() + result.offset
                meta.set_(owner.untyped_storage(), offset, result.size, result.stride)
            fake = Tensor._make_subclass(
                FakeTensor, meta, False, dispatch_device=True, device_for_backend_keys=result.device
            )
        fake.__dict__.update(result.attributes, fake_mode=self._mode)
        return fake


def forget_values(tensors: Iterable[Tensor]) -> None:
    """Let fake tensors that are known by value be known by shape alone, as all others are.

    For tensors whose values nobody reads.
    """
    for tensor in tensors:
        if isinstance(tensor, FakeTensor):
            tensor.constant = None


def _described(values: Iterable[Any], tensors: list[FakeTensor]) -> tuple[Any, ...]:
    """Return a hashable description of arguments, and gather their tensors."""
    described: list[Any] = []
    for value in values:
        kind = type(value)
        if isinstance(value, FakeTensor):
            if value.constant is not None:
                raise _UncachedError
            tensors.append(value)
            described.append((value.shape, value.stride(), value.dtype, value.fake_device))
        elif kind is tuple or kind is list:
            described.append(_described(value, tensors))
        elif kind in _TYPED:
            described.append((kind, value))
        elif isinstance(value, Tensor):
            raise _UncachedError
        else:
            described.append(value)
    return tuple(described)


def _read(results: tuple[Any, ...], tensors: list[FakeTensor]) -> tuple[_Result, ...]:
    # The first argument on a storage stands for it.
    owners = {
        id(tensors[index].untyped_storage()): index for index in reversed(range(len(tensors)))
    }
    read = tuple(_read_one(result, tensors, owners) for result in results)
    fresh = [
        id(result.untyped_storage())
        for result, remembered in zip(results, read, strict=True)
        if _is_fresh(remembered)
    ]
    if len(set(fresh)) < len(fresh):
        raise _UncachedError
    return read


def _read_one(result: Any, tensors: list[FakeTensor], owners: dict[int, int]) -> _Result:
    if result is None:
        return None
    if not isinstance(result, FakeTensor) or result.constant is not None:
        raise _UncachedError
    for index, tensor in enumerate(tensors):
        if result is tensor:
            return _Given(index)
    size, stride, storage = tuple(result.shape), tuple(result.stride()), result.untyped_storage()
    owner, offset = owners.get(id(storage)), int(result.storage_offset())
    if owner is not None:
        offset -= int(tensors[owner].storage_offset())
    elif storage.nbytes() != _bytes(size, stride, result.dtype):
        raise _UncachedError  # a part of a larger storage that is its own
    return _Made(size, stride, result.dtype, result.fake_device, owner, offset, _attributes(result))


def _attributes(result: FakeTensor) -> dict[str, Any]:
    """Return what a fake tensor carries besides its shape.

    Making one anew takes ten times as long as copying this.
    """
    return {name: value for name, value in result.__dict__.items() if name != "fake_mode"}


def _is_fresh(result: _Result) -> bool:
    return isinstance(result, _Made) and result.index is None


def _bytes(size: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype) -> int:
    if 0 in size:
        return 0
    return (
        1 + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    ) * dtype.itemsize


@cache
def _gives_nothing(func: Any) -> bool:
    """Return whether an operation only writes into its arguments, which have no values here."""
    schema = getattr(func, "_schema", None)
    return schema is not None and not schema.returns


def _particular(func: Any) -> bool:
    """Return whether more than the shapes of its arguments decides what an operation does."""
    tags = getattr(func, "tags", None)
    # Offsets in storage.
    absolute = func in (
        torch.ops.aten.as_strided.default,
        torch.ops.aten.as_strided_.default,
    )
    return tags is None or torch.Tag.inplace_view in tags or absolute
