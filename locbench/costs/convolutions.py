"""Where a trace first back-propagates each shape of convolution: there cuDNN tries its algorithms and takes workspace.

With `torch.backends.cudnn.benchmark` the first call of every shape runs all algorithms that fit in memory, each with a
workspace of its own, which counts in `max_memory_allocated` and is no tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from locbench.costs.live_bytes import LiveBytes


class ConvolutionBytes(LiveBytes):  # type: ignore[no-untyped-call]
    """A trace that remembers how many bytes were live after the first backward pass of each shape of convolution."""

    def __init__(self) -> None:
        super().__init__()
        self._events: dict[str, int] = {}

    def ran(self, func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Note the moment of a convolution's backward."""
        if func is torch.ops.aten.convolution_backward.default:
            self._events.setdefault(shape_name(args[1], args[2], args[4][0]), len(self.trace.events))

    def first_backwards(self) -> dict[str, int]:
        """Return the live bytes at each of these moments, by the name of the shape."""
        live, totals = 0, [0]
        for _, change in self.trace.events:
            live += change
            totals.append(live)
        return {shape: totals[event] for shape, event in self._events.items()}


def shape_name(images: Tensor, weight: Tensor, stride: int) -> str:
    """Return ``16-32 3x3/2 at 32``: channels in and out, kernel and stride, side of the input in pixels."""
    outputs, inputs, *kernel = weight.shape
    return f"{inputs}-{outputs} {kernel[0]}x{kernel[1]}/{stride} at {images.shape[-1]}"
