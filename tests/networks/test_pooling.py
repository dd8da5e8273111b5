"""Global average pooling: PyTorch's numbers, in the map's own layout."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from locbench.networks.pooling import GlobalAveragePool


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (2, 1, 8, 8), (4, 7, 1, 1)])
def test_same_numbers_and_gradients_as_pytorchs(
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


def test_the_gradient_lies_as_the_map() -> None:
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
