"""Global average pooling whose gradient lies in memory as the map does."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class GlobalAveragePool(nn.AdaptiveAvgPool2d):
    """Mean over height and width, B x C x H x W to B x C x 1 x 1.

    PyTorch's own gives a gradient without channels last, whatever the map had, and the ReLU before
    it is then differentiated twenty times as slowly. Same numbers and same memory.
    """

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of every channel."""
        return cast(Tensor, _Mean.apply(x))


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        ctx.shape, ctx.format = x.shape, torch.channels_last if last else torch.contiguous_format
        return x.mean((2, 3), keepdim=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # One map and nothing besides, so that a step takes the memory that it took.
        whole = torch.empty(
            ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=ctx.format
        )
        return whole.copy_(gradient).div_(ctx.shape[2] * ctx.shape[3])
