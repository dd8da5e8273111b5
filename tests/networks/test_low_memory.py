"""Recomputing layers: the numbers of the plain ones, and only BatchNorm's input kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from locbench.networks.low_memory import (
    norm_relu,
    norm_relu_conv,
    save_memory,
)
from locbench.networks.resnet_cifar import BasicBlock


def twins(build: Any) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    plain = build().double()
    lean = build().double()
    lean.load_state_dict(plain.state_dict())
    save_memory(lean)
    return plain, lean


LAYERS: dict[str, Any] = {
    "block": lambda: BasicBlock(4, 4),
    "strided block": lambda: BasicBlock(4, 8, 2),
    "chain": lambda: nn.Sequential(
        nn.Conv2d(4, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 4, 3, 2, 1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
    ),
    "norm first": lambda: nn.Sequential(
        nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, groups=2, dilation=2)
    ),
    "same padding": lambda: nn.Sequential(
        nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, padding="same")
    ),
    "no statistics": lambda: nn.Sequential(
        nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU(), nn.Conv2d(4, 6, 1)
    ),
    "cumulative": lambda: nn.Sequential(
        nn.BatchNorm2d(4, momentum=None), nn.ReLU(), nn.Conv2d(4, 6, 1)
    ),
    "vectors": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(400, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)
    ),
    "norm last": lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)),
}


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("autocast", [False, True])
def test_layers(layers: str, autocast: bool) -> None:
    """Output, input gradient, parameter gradients and statistics are those of the plain layers."""
    results = []
    for net in twins(LAYERS[layers]):
        x = torch.randn(
            5, 4, 10, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64
        )
        if autocast:
            net, x = net.float(), x.float()
        x.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y = net(x)
        y.float().square().mean().backward() if autocast else y.square().mean().backward()
        results.append([y, x.grad, *(each.grad for each in net.parameters()), *net.buffers()])
    for left, right in zip(*results, strict=True):
        assert left is not None
        assert right is not None
        assert left.dtype == right.dtype
        tolerance = {"rtol": 0.05, "atol": 0.01} if autocast else {"rtol": 1e-12, "atol": 1e-13}
        torch.testing.assert_close(left, right, **tolerance)


def test_what_the_fused_layers_keep() -> None:
    norm, conv = nn.BatchNorm2d(4), nn.Conv2d(4, 8, 3)
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    for run in (lambda: norm_relu(x, norm), lambda: norm_relu_conv(x, norm, conv)):
        kept: list[Tensor] = []

        def keep(tensor: Tensor, kept: list[Tensor] = kept) -> Tensor:
            kept.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda each: each):
            run()
        maps = [each for each in kept if each.dim() == 4 and each.shape[0] == 2]
        assert [each.data_ptr() for each in maps] == [x.data_ptr()]
