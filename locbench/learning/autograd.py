"""How a gradient that a leaf has gathered goes on through the output that the leaf stands for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def backward_through(output: Tensor, leaf: Tensor) -> None:
    """Back-propagate the gradient that a leaf has gathered through the output it stands for.

    The gradient enters by a hook that gives the only reference to it away. Passed as an argument it
    would stay alive through the whole backward pass, one feature map more at the peak.
    """
    held = [leaf.grad]
    leaf.grad = None
    backward_releasing(output, held)


def backward_releasing(output: Tensor, held: list[Tensor | None]) -> None:
    """Back-propagate a gradient through an output, taking it out of the list that holds its only
    reference.
    """
    output.register_hook(lambda _: held.pop())  # type: ignore[no-untyped-call]
    torch.autograd.backward(output, output.new_zeros(()).expand_as(output))


@contextmanager
def frozen_running_stats(*modules: nn.Module) -> Iterator[None]:
    """Let BatchNorm normalise by the batch and leave its running statistics as they are.

    They are exchanged for copies meanwhile rather than switched off: gradient checkpointing demands
    that a second pass saves the same tensors as the first.
    """
    norms = [
        each
        for net in modules
        for each in net.modules()
        if isinstance(each, nn.modules.batchnorm._BatchNorm)
    ]
    kept = [dict(each._buffers) for each in norms]
    for each in norms:
        for name, buffer in each._buffers.items():
            each._buffers[name] = None if buffer is None else buffer.clone()
    try:
        yield
    finally:
        for each, before in zip(norms, kept, strict=True):
            each._buffers.update(before)
