"""What training held in memory in 2022 and does not today: softmax's input, gradient buckets of several processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class KeptSoftmax(torch.autograd.Function):
    """Softmax over the last axis whose backward pass keeps the input too, as up to torch 1.10.

    From 1.11 on it keeps the input's type alone; the gradients are the same.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return softmax of a tensor of any shape, over its last axis."""
        y = torch.softmax(x, dim=-1)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        """Return the gradient of the input."""
        _, y = ctx.saved_tensors
        return torch._softmax_backward_data(gradients[0], y, -1, y.dtype)


class LegacySoftmax(nn.Module):
    """Softmax over the last axis that remembers its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Return softmax of a tensor of any shape."""
        return KeptSoftmax.apply(x)  # type: ignore[no-any-return]


def with_kept_softmax(net: nn.Module) -> None:
    """Let every softmax layer of a net keep its input for the backward pass, in place."""
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Softmax):
                setattr(parent, name, LegacySoftmax())


def gradient_buckets(net: nn.Module) -> list[Tensor]:
    """Return buffers as large as all parameters together: what DistributedDataParallel copies gradients into."""
    return [torch.zeros(sum(each.numel() for each in net.parameters()))]
