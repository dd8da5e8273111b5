"""Backward passes from a gathered gradient, and frozen running statistics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def backward_through(output: Tensor, leaf: Tensor) -> None:
    """Back-propagate the gradient that a leaf has gathered through the output it stands for.

    Args:
        output: what a module gave, with its graph; the graph is gone on return.
        leaf: the same values, detached; its ``grad`` is None on return.
    """
    gradient = [leaf.grad]
    leaf.grad = None
    backward_releasing(output, gradient)


def backward_releasing(output: Tensor, gradient: list[Tensor | None]) -> None:
    """Back-propagate a gradient that is let go as soon as it is used.

    It enters by a hook that gives the only reference to it away. Passed as an argument it would
    stay alive through the whole backward pass, one feature map more at the peak.

    Args:
        output: where the pass begins.
        gradient: with respect to the output, in a list that holds the only reference to it; the
            list is empty on return.
    """
    output.register_hook(lambda _: gradient.pop())  # type: ignore[no-untyped-call]
    torch.autograd.backward(output, output.new_zeros(()).expand_as(output))


@contextmanager
def frozen_running_stats(*modules: nn.Module) -> Iterator[None]:
    """Let BatchNorm normalise by the batch and leave its running statistics as they are.

    They are exchanged for copies meanwhile rather than switched off: gradient checkpointing demands
    that a second pass saves the same tensors as the first.
    """
    norms = [
        layer
        for module in modules
        for layer in module.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    ]
    statistics = [dict(norm._buffers) for norm in norms]
    for norm in norms:
        for name, buffer in norm._buffers.items():
            norm._buffers[name] = None if buffer is None else buffer.clone()
    try:
        yield
    finally:
        for norm, buffers in zip(norms, statistics, strict=True):
            norm._buffers.update(buffers)
