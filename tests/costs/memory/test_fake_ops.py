"""Remembered operations on fake tensors against FakeTensorMode."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from locbench.costs.memory import fake_ops as shape_cache
from locbench.costs.memory.fake_ops import ShapeCache, forget_values
from locbench.costs.memory.tracker import MemoryTracker


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape_cache, "_KNOWN", {})


def _look(tensor: Tensor, base: Tensor) -> tuple[object, ...]:
    shares = tensor.untyped_storage()._cdata == base.untyped_storage()._cdata
    size = tensor.untyped_storage().nbytes()
    return (
        tuple(tensor.shape),
        tensor.stride(),
        tensor.storage_offset(),
        tensor.dtype,
        tensor.device.type,
        shares,
        size,
    )


def _run(
    work: Callable[[Tensor], tuple[Tensor, ...]], *, cached: bool, times: int = 2
) -> list[tuple[object, ...]]:
    mode = FakeTensorMode()
    with mode, MemoryTracker() as live:
        if cached:
            live.run = ShapeCache(mode)
        looks: list[tuple[object, ...]] = []
        for _ in range(times):
            base = torch.zeros(4, 6, 8, 8)
            looks += [_look(each, base) for each in work(base)]
    return looks


def _views(x: Tensor) -> tuple[Tensor, ...]:
    halves = [part for row in x.chunk(2, dim=2) for part in row.chunk(2, dim=3)]
    nested = [half[1:, ::2].transpose(1, 2) for half in halves]
    return (
        *halves,
        *nested,
        *x.unbind(0),
        x[2].as_strided((2, 3), (1, 2), 7),
        halves[3].as_strided((2, 3), (1, 2)),
    )


def _fresh(x: Tensor) -> tuple[Tensor, ...]:
    last = x.contiguous(memory_format=torch.channels_last)
    pooled, indices = F.max_pool2d(last, 2, return_indices=True)
    return (
        last,
        pooled,
        indices,
        x + 1,
        x > 0,
        (x > 0) + 1,
        (x > 0) + 1.5,
        x.to(torch.bfloat16),
        x.sum(),
        x[:, :0] * 2,
    )


def _in_place(x: Tensor) -> tuple[Tensor, ...]:
    y = torch.empty_like(x)
    return (
        y,
        y.add_(1),
        y[1].mul_(2),
        y.t_() if y.ndim == 2 else y.transpose_(1, 2),
        y.reshape(4, -1),
    )


@pytest.mark.parametrize("work", [_views, _fresh, _in_place])
def test_same_shapes_storages_and_offsets_as_without(
    work: Callable[[Tensor], tuple[Tensor, ...]],
) -> None:
    assert _run(work, cached=True) == _run(work, cached=False)


def test_a_view_at_another_offset_is_known_from_the_first() -> None:
    mode = FakeTensorMode()
    with mode, MemoryTracker() as live:
        live.run = ShapeCache(mode)
        x = torch.zeros(4, 8)
        _ = x[0].view(2, 4)
        before = len(shape_cache._KNOWN)
        second = x[1].view(2, 4)  # another index: one new entry, for the selection
        assert len(shape_cache._KNOWN) == before + 1
    assert second.storage_offset() == 8


def test_gradients_and_lifetimes_are_those_without() -> None:
    def events(cached: bool) -> list[tuple[int, int]]:
        mode = FakeTensorMode()
        with mode, MemoryTracker() as live:
            if cached:
                live.run = ShapeCache(mode)
            net = torch.nn.Sequential(
                torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(inplace=True)
            )
            for _ in range(3):
                net(torch.zeros(5, 3, 9, 9)).square().mean().backward()
        return [(entry.number, change) for entry, change in live.trace.events]

    assert events(cached=True) == events(cached=False)


def test_a_known_value_stays_known_until_it_is_forgotten() -> None:
    mode = FakeTensorMode()
    with mode, MemoryTracker() as live:
        live.run = ShapeCache(mode)
        count = torch.tensor(3)
        count.add_(1)
        assert count.item() == 4
        forget_values([count])
        count.add_(1)
        with pytest.raises(DataDependentOutputException):
            count.item()


def test_an_optimizer_runs_on_no_real_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """FakeTensorMode has no rule for fused steps and would run them on real zeros."""

    def refused(*_: object) -> None:
        raise AssertionError("a step ran on real tensors")

    monkeypatch.setattr("torch._subclasses.fake_tensor.run_fallback_kernel", refused)
    mode = FakeTensorMode()
    with mode, MemoryTracker() as live:
        live.run = ShapeCache(mode)
        weight = torch.nn.Parameter(torch.zeros(7, 3))
        weight.grad = torch.zeros(7, 3)
        for optimizer in (
            torch.optim.SGD([weight], lr=1.0, momentum=0.9, fused=True),
            torch.optim.AdamW([weight], fused=True),
        ):
            before = len(live.trace.events)
            optimizer.step()
            optimizer.step()
            born = [size for _, size in live.trace.events[before:] if size > 0]
            assert len(born) == sum(
                isinstance(each, Tensor) for each in optimizer.state[weight].values()
            )
