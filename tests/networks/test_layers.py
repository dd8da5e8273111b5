"""Pooling with PyTorch's numbers, and projections without oneDNN's faulty gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from specimens import CLASSES, recipe
from torch import Tensor, nn

from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.trace import trace_step
from locbench.learning.learner import build_learner
from locbench.networks import layers as module
from locbench.networks.chain import build_chain
from locbench.networks.layers import (
    AveragePool,
    GlobalAveragePool,
    SubsampledConv2d,
    projection,
)
from locbench.spec.networks import NETWORKS

CONVOLUTIONAL = [name for name in NETWORKS if NETWORKS[name].transformer is None]


def endangered(net: nn.Module) -> list[str]:
    """Return strided 1x1 convolutions of one group and few channels that PyTorch computes."""
    return [
        name
        for name, each in net.named_modules()
        if type(each) is nn.Conv2d
        and each.kernel_size == (1, 1)
        and each.stride != (1, 1)
        and each.in_channels < 16
        and each.groups == 1
    ]


def subsampled(net: nn.Module) -> list[str]:
    return [name for name, each in net.named_modules() if isinstance(each, SubsampledConv2d)]


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_no_network_has_an_endangered_layer(name: str) -> None:
    with torch.device("meta"):
        chain = build_chain(name, CLASSES, 32)
    assert not endangered(chain)
    # 8, 16, 32 and 64 channels with a stride between: the other networks have at least 16 before
    # each.
    assert len(subsampled(chain)) == (name == "resnet34-narrow")


@pytest.mark.parametrize(
    "name", ["resnet34-narrow", "regnetx-400mf-narrow", "mobilenetv2-narrow", "resnet8"]
)
def test_nor_has_an_auxiliary_net(name: str) -> None:
    with torch.device("meta"):
        learner = build_learner(recipe("auglocal", name, depth=6), CLASSES, 32)
    assert not endangered(learner)
    assert bool(subsampled(learner)) == (name in ("resnet34-narrow", "regnetx-400mf-narrow"))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("side", "stride"), [(56, 2), (55, 2), (57, 3)])
@pytest.mark.parametrize("inputs", [4, 8, 15])
def test_gradients_are_those_of_double_precision(
    inputs: int, side: int, stride: int, layout: torch.memory_format
) -> None:
    x = torch.randn(2, inputs, side, side)
    net = projection(inputs, 16, stride)
    weight = net.weight.detach().double()
    # In double precision as a product of matrices, with no convolution at all.
    picked = x.double()[:, :, ::stride, ::stride]
    expected = torch.einsum("oi,bihw->bohw", weight[:, :, 0, 0], picked)
    gradient = torch.randn_like(expected)
    outer = torch.einsum("bohw,bihw->oi", gradient, picked)[:, :, None, None]
    inner = torch.zeros_like(x, dtype=torch.float64)
    inner[:, :, ::stride, ::stride] = torch.einsum("oi,bohw->bihw", weight[:, :, 0, 0], gradient)
    seen = x.to(memory_format=layout).requires_grad_()
    found = net.to(memory_format=layout)(seen)  # type: ignore[call-overload]
    found.backward(gradient.float())
    for ours, theirs in ((found, expected), (seen.grad, inner), (net.weight.grad, outer)):
        assert ours is not None
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)


def test_a_small_map_gives_pytorchs_numbers() -> None:
    """Maps of 16 x 16 are worked through in one block, where oneDNN is right."""
    x = torch.randn(16, 8, 16, 16).to(memory_format=torch.channels_last)
    ours, theirs = projection(8, 16, 2), nn.Conv2d(8, 16, 1, 2, bias=False)
    theirs.load_state_dict(ours.state_dict())
    found = [run(net, x) for net in (ours, theirs)]
    for left, right in zip(*found, strict=True):
        torch.testing.assert_close(left, right)
        assert left.stride() == right.stride()


def run(net: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    assert isinstance(net, nn.Module)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    seen = x.clone().requires_grad_()
    y = net(seen)
    (y * y).sum().backward()
    assert seen.grad is not None
    assert net.weight.grad is not None
    return y.detach(), seen.grad, net.weight.grad


def test_autocast_computes_it_in_its_type() -> None:
    net, x = projection(8, 16, 2), torch.randn(2, 8, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = net(x)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert net.weight.grad is not None
    assert net.weight.grad.dtype == torch.float32
    expected = x.detach()[:, :, ::2, ::2].sum((0, 2, 3)).expand(16, 8)
    torch.testing.assert_close(net.weight.grad[:, :, 0, 0], expected, rtol=0.02, atol=0.1)


@pytest.mark.parametrize("frozen", ["weight", "map"])
def test_only_what_is_asked_for_is_computed(frozen: str) -> None:
    net, x = projection(4, 8, 2), torch.randn(2, 4, 6, 6, requires_grad=frozen != "map")
    net.requires_grad_(frozen != "weight")
    net(x).sum().backward()
    assert (x.grad is None) == (frozen == "map")
    assert (net.weight.grad is None) == (frozen == "weight")


def test_a_step_takes_the_memory_that_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = recipe("bp", "resnet34-narrow")
    ours = trace_step(chosen, TraceOptions(side=64), primed=True)
    monkeypatch.setattr(module, "VECTOR_WIDTH", 0)
    theirs = trace_step(chosen, TraceOptions(side=64), primed=True)
    assert ours.peak == theirs.peak


def test_names_and_shapes_of_the_weights_stay() -> None:
    ours, theirs = projection(8, 16, 2), nn.Conv2d(8, 16, 1, 2, bias=False)
    assert {key: each.shape for key, each in ours.state_dict().items()} == {
        "weight": theirs.weight.shape
    }
    assert type(projection(16, 16, 2)) is type(projection(8, 16, 1)) is nn.Conv2d
    assert F.mse_loss(ours(torch.zeros(1, 8, 4, 4)), torch.zeros(1, 16, 2, 2)) == 0


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (2, 1, 8, 8), (4, 7, 1, 1)])
def test_pooling_has_pytorchs_numbers_and_gradients(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    x = torch.randn(shape, dtype=torch.float64).to(memory_format=layout)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    weight = torch.randn(shape[:2], dtype=torch.float64)[:, :, None, None]
    found, expected = GlobalAveragePool()(ours), nn.AdaptiveAvgPool2d(1)(theirs)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-15)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (4, 12), (7, 8), (3, 4), (4, 4)])
def test_averages_of_parts_are_those_of_adaptive_pooling(
    height: int, width: int, layout: torch.memory_format
) -> None:
    x = torch.randn(2, 5, height, width, dtype=torch.float64).to(memory_format=layout)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    weight = torch.randn(2, 5, 4, 4, dtype=torch.float64)
    found, expected = AveragePool(4)(ours), nn.AdaptiveAvgPool2d(4)(theirs)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-15)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-14, atol=1e-15)


def test_the_gradient_of_pooling_lies_as_the_map() -> None:
    seen: list[torch.Tensor] = []
    x = torch.randn(3, 5, 4, 6).to(memory_format=torch.channels_last).requires_grad_()
    y = x.relu()
    y.register_hook(seen.append)
    GlobalAveragePool()(y).sum().backward()
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    # A plain map keeps plain strides.
    x = torch.randn(3, 5, 4, 6, requires_grad=True)
    GlobalAveragePool()(x).sum().backward()
    assert x.grad is not None
    assert x.grad.is_contiguous()
