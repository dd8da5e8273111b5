"""Predicted memory of Swin Transformers against counts by hand and another predictor."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from locbench.costs.memory.options import TraceOptions, legacy
from locbench.costs.memory.trace import KeptSoftmax, gradient_buckets, trace_step, with_kept_softmax
from locbench.costs.memory.tracker import MemoryTracker
from locbench.spec.networks import NETWORKS, TransformerInfo
from locbench.spec.recipe import Recipe
from locbench.spec.validation import make_recipe

MIB = 2**20


def swin(
    method: str, modules: int | None = None, *, network: str = "swin-tiny", batch: int = 8
) -> Recipe:
    settings: dict[str, Any] = {
        "network": network,
        "dataset": "cifar100",
        "method": method,
        "modules": modules,
    }
    settings |= {
        "epochs": 1,
        "batch_size": batch,
        "lr": 1e-3,
        "optimizer": "adamw",
        "augmentation": "swin",
    }
    return make_recipe(settings)


# Peaks in MiB at batch 8 and 100 classes, current autograd and softmax as up to torch 1.10, of an
# independent predictor on meta tensors.
ANCHORS = [
    ("bp", None, 1250.5, 1317.3),
    ("swin-reconstruction", 2, 903.1, 941.8),
    ("swin-greedy", 2, 902.5, 941.2),
    ("swin-reconstruction", 4, 846.7, 874.8),
]


@pytest.mark.parametrize(("method", "modules", "current", "kept"), ANCHORS)
def test_peak_agrees_with_an_independent_predictor(
    method: str, modules: int | None, current: float, kept: float
) -> None:
    recipe = swin(method, modules)
    assert trace_step(recipe).peak / MIB == pytest.approx(current, rel=0.01)
    assert trace_step(recipe, TraceOptions(kept_softmax=True)).peak / MIB == pytest.approx(
        kept, rel=0.01
    )


class EndOfForward(MemoryTracker):
    """Notes the event at which the last backward pass of the trace began."""

    def __init__(self) -> None:
        super().__init__()
        self.event = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.nll_loss_backward.default:
            self.event = len(self.trace.events)
        return super().__torch_dispatch__(func, types, args, kwargs)


def closed_form(shape: TransformerInfo, batch: int, *, kept: bool) -> float:
    """Return the bytes that a forward pass leaves.

    They are 16 C + heads * window^2 elements per token and block, these twice if kept.
    """
    total, side, channels = 0.0, shape.side // 4, shape.channels
    # The image and the patch embedding's LayerNorm input.
    total += batch * (3 * shape.side**2 + side**2 * channels)
    for stage, (depth, heads) in enumerate(zip(shape.depths, shape.heads, strict=True)):
        tokens = batch * side**2
        attention = heads * shape.window**2 * (2 if kept else 1)
        total += depth * tokens * (16 * channels + attention)
        if stage < len(shape.depths) - 1:
            total += 2 * tokens * channels  # PatchMerging: the gathered map and its LayerNorm
            side, channels = side // 2, 2 * channels
    return 4 * (total + batch * side**2 * channels)  # the final norm


@pytest.mark.parametrize("network", ["swin-tiny", "swin-base", "swin-large"])
@pytest.mark.parametrize("kept", [False, True])
def test_bytes_after_the_forward_pass_have_a_closed_form(network: str, *, kept: bool) -> None:
    live = EndOfForward()
    step = trace_step(swin("bp", network=network, batch=4), TraceOptions(kept_softmax=kept), live)
    resident = sum(each.size for each in step.trace.alive_at(step.start))
    image = 4 * 4 * 3 * NETWORKS[network].transformer.side ** 2  # type: ignore[union-attr]
    found = sum(each.size for each in step.trace.alive_at(live.event)) - resident + image
    shape = NETWORKS[network].transformer
    assert shape is not None
    assert found == pytest.approx(closed_form(shape, 4, kept=kept), rel=0.01)


def test_kept_softmax_has_the_gradient_of_softmax() -> None:
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(KeptSoftmax.apply, (x,))
    net = nn.Sequential(nn.Linear(5, 5), nn.Softmax(dim=-1)).double()
    expected = net(x)
    with_kept_softmax(net)
    assert not any(isinstance(each, nn.Softmax) for each in net.modules())
    torch.testing.assert_close(net(x), expected)


def test_buckets_are_one_copy_of_all_parameters() -> None:
    net = nn.Linear(10, 7)
    assert sum(each.numel() for each in gradient_buckets(net)) == 77
    recipe = swin("swin-greedy", 2, network="swin-micro")
    without, bucketed = trace_step(recipe), trace_step(recipe, TraceOptions(ddp_buckets=True))
    assert bucketed.by_kind()["gradient buckets"] == pytest.approx(
        without.by_kind()["parameters"], rel=0.02
    )
    assert legacy(TraceOptions()) == TraceOptions(kept_softmax=True, ddp_buckets=True)


def test_fake_step_equals_a_real_one() -> None:
    for method, modules in (("bp", None), ("swin-reconstruction", 2), ("swin-contrast", 4)):
        recipe = swin(method, modules, network="swin-micro", batch=4)
        assert trace_step(recipe).peak == trace_step(recipe, TraceOptions(fake=False)).peak, method


@pytest.mark.parametrize(
    ("method", "modules"), [("bp", None), ("swin-reconstruction", 2), ("swin-infopro", 4)]
)
def test_a_primed_step_is_the_second_one(method: str, modules: int | None) -> None:
    recipe = swin(method, modules, network="swin-micro", batch=4)
    for setting in (TraceOptions(), legacy(TraceOptions()), TraceOptions(keep_gradients=False)):
        assert trace_step(recipe, setting, primed=True).peak == trace_step(recipe, setting).peak
