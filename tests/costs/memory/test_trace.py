"""Traced steps against real ones and a peak worked out by hand."""

from __future__ import annotations

import msgspec
import pytest
import torch
from specimens import recipe
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.trace import StepMemory, peak_bytes, trace_step
from locbench.costs.memory.tracker import GRANULE, ConvolutionBytes, MemoryTracker

SMALL = TraceOptions(batch_size=8, side=16)


REAL = msgspec.structs.replace(SMALL, fake=False)


STEPS = [
    ("bp", {}, False),
    ("bp+checkpointed", {"segments": 2}, False),
    ("dgl", {}, False),
    ("predsim", {}, False),
    ("auglocal", {"depth": 3}, False),
    ("infopro", {}, False),
    ("hpff+dgl", {}, False),
    ("pgl+head", {}, False),
    ("pgl+head", {}, True),
]


def traced(method: str, setting: TraceOptions, **options: object) -> StepMemory:
    return trace_step(recipe(method, network="resnet14", **options), setting)


@pytest.mark.parametrize(("method", "options", "guided"), STEPS, ids=str)
def test_fake_tensors_live_as_real_ones(
    method: str, options: dict[str, object], guided: bool
) -> None:
    fake, real = (
        traced(method, msgspec.structs.replace(each, guided=guided), **options)
        for each in (SMALL, REAL)
    )
    assert fake.peak == real.peak
    assert fake.by_kind() == real.by_kind()
    assert sum(fake.by_kind().values()) == fake.peak


def test_a_chain_worked_out_by_hand() -> None:
    """Two linear layers without biases, 64 -> 32 -> 64, with a ReLU between; batch 256."""
    with FakeTensorMode(), MemoryTracker() as live:
        first, second = nn.Linear(64, 32, bias=False), nn.Linear(32, 64, bias=False)
        images = torch.zeros(256, 64)
        start = len(live.trace.events)
        hidden = first(images).relu_()
        loss = second(hidden).sum()
        loss.backward()
    weight, wide, narrow = 64 * 32 * 4, 256 * 64 * 4, 256 * 32 * 4
    # Both weights, the images, and the hidden map, in place after the ReLU.
    always = 2 * weight + wide + narrow
    forward = always + wide + GRANULE  # the output is freed once it is summed
    # At the ReLU: the loss and its gradient, the second weight's gradient, and the hidden map's
    # before and after.
    backward = always + 2 * GRANULE + weight + 2 * narrow
    changes = [change for _, change in live.trace.events]
    assert sum(changes[: start + 3]) == forward
    assert live.trace.peak(start)[0] == max(forward, backward) == backward == 189_440
    assert sum(changes) == always + GRANULE + 2 * weight  # what is left: gradients and the loss


def test_sizes_are_rounded_up_to_granules() -> None:
    with FakeTensorMode(), MemoryTracker() as live:
        kept: list[Tensor] = [torch.zeros(1), torch.zeros(128), torch.zeros(129)]
    assert [change for _, change in live.trace.events] == [512, 512, 1024]
    assert live.trace.peak()[0] == 2048
    del kept[2]
    assert live.trace.events[-1][1] == -1024


def test_views_and_changes_in_place_are_no_new_storage() -> None:
    with FakeTensorMode(), MemoryTracker() as live:
        x = torch.zeros(256)
        x.view(16, 16).relu_().t().add_(1)
    assert len([1 for _, change in live.trace.events if change > 0]) == 1


def test_memory_grows_with_the_batch_and_not_with_the_schedule() -> None:
    one = recipe("dgl", network="resnet14")
    peaks = [
        peak_bytes(one, msgspec.structs.replace(SMALL, batch_size=batch))
        for batch in (64, 128, 256)
    ]
    assert peaks[2] - peaks[1] == pytest.approx(2 * (peaks[1] - peaks[0]), rel=0.01)
    longer = msgspec.structs.replace(one, epochs=9, seed=5, lr=0.3)
    assert peak_bytes(longer, SMALL) == peak_bytes(one, SMALL)


def test_first_backward_of_every_shape_of_convolution() -> None:
    live = ConvolutionBytes()
    step = trace_step(recipe("bp", network="resnet14"), SMALL, live)
    found = live.first_backwards()
    assert set(found) == {
        "3-16 3x3/1 at 16",
        "16-16 3x3/1 at 16",
        "16-32 3x3/2 at 16",
        "16-32 1x1/2 at 16",
        "32-32 3x3/1 at 8",
        "32-64 3x3/2 at 8",
        "32-64 1x1/2 at 8",
        "64-64 3x3/1 at 4",
    }
    # Backpropagation goes from the top down and frees as it goes; the first step has no momentum
    # yet.
    order = ["32-32 3x3/1 at 8", "16-16 3x3/1 at 16", "3-16 3x3/1 at 16"]
    assert [found[shape] for shape in order] == sorted(
        (found[shape] for shape in order), reverse=True
    )
    assert max(found.values()) <= step.peak
