"""How a gradient that a leaf has gathered goes on through the output that the leaf stands for."""

from __future__ import annotations

import torch
from torch import Tensor


def hand_over(output: Tensor, leaf: Tensor) -> None:
    """Back-propagate the gradient that a leaf has gathered through the output it stands for.

    The gradient enters by a hook that gives the only reference to it away. Passed as an argument it would stay alive
    through the whole backward pass, one feature map more at the peak.
    """
    held = [leaf.grad]
    leaf.grad = None
    give(output, held)


def give(output: Tensor, held: list[Tensor | None]) -> None:
    """Back-propagate a gradient through an output, taking it out of the list that holds its only reference."""
    output.register_hook(lambda _: held.pop())  # type: ignore[no-untyped-call]
    torch.autograd.backward(output, output.new_zeros(()).expand_as(output))
