"""Layers that networks and auxiliary nets share."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

VECTOR_WIDTH = 16
"""Single-precision numbers in the widest registers that oneDNN uses."""


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Return a convolution without a bias, BatchNorm and ReLU.

    B x inputs x H x W become B x outputs x H/stride x W/stride.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: odd, in pixels.
        stride: of the convolution.
    """
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def pooled_classifier(channels: int, classes: int) -> nn.Sequential:
    """Return global average pooling and one linear layer: B x channels x H x W to B x classes."""
    return nn.Sequential(GlobalAveragePool(), nn.Flatten(), nn.Linear(channels, classes))


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


class AveragePool(nn.AdaptiveAvgPool2d):
    """Means over side x side parts of a map, see `part_means`.

    Args:
        side: of the result in pixels.
    """

    def __init__(self, side: int) -> None:
        super().__init__(side)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """Map B x C x H x W to B x C x side x side."""
        return part_means(x, self.side)


def part_means(x: Tensor, side: int) -> Tensor:
    """Return the means over side x side parts of a map, B x C x H x W to B x C x side x side.

    Parts of whole pixels go through plain average pooling, whose gradient takes less time than that
    of adaptive pooling; a map of that side is returned as it is. Same numbers, same memory.
    """
    height, width = x.shape[2] // side, x.shape[3] // side
    if x.shape[2] % side or x.shape[3] % side:
        return F.adaptive_avg_pool2d(x, side)
    return x if height == width == 1 else F.avg_pool2d(x, (height, width))


def projection(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    """Return a 1x1 convolution without a bias.

    It is a `SubsampledConv2d` where it strides and has few input channels.

    Args:
        inputs: input channels.
        outputs: output channels.
        stride: of the convolution.
    """
    kind = SubsampledConv2d if stride > 1 and inputs < VECTOR_WIDTH else nn.Conv2d
    return kind(inputs, outputs, 1, stride, bias=False)


class SubsampledConv2d(nn.Conv2d):
    """A strided 1x1 convolution that computes its weights' gradient as of stride 1.

    It has no bias and no groups. oneDNN's own gradient writes past its workspace on CPUs
    (https://github.com/uxlfoundation/oneDNN/issues/6035), and the process crashes or trains on
    wrong numbers. Met with oneDNN 3.12 of PyTorch 2.14 where all of this holds: single precision,
    channels last, one group, fewer input channels than a register holds (16 with AVX-512, 8 with
    AVX2), a stride that divides the map's side, and a map that is worked through in several blocks,
    from about 28 x 28 output pixels on. The map's size is not known when a layer is built, and so
    every strided one of so few channels is of this class.

    Outputs, the input's gradient and the memory of a step are those of `nn.Conv2d`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map B x inputs x H x W to B x outputs x H/stride x W/stride."""
        kind = compute_type(input)
        return cast(
            Tensor, _Convolution.apply(input.to(kind), self.weight.to(kind), self.stride[0])
        )


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, stride=stride)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride = ctx.stride
        inner, outer = None, None
        if ctx.needs_input_grad[0]:
            inner = _backward(gradient, x, weight, stride, [True, False, False])[0]
        if ctx.needs_input_grad[1]:
            outer = _backward(
                gradient, x[:, :, ::stride, ::stride], weight, 1, [False, True, False]
            )[1]
        return inner, outer, None


def _backward(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, needed: list[bool]
) -> tuple[Tensor, ...]:
    gradients = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride, stride], [0, 0], [1, 1], False, [0, 0], 1, needed
    )
    return cast(tuple[Tensor, ...], gradients)


def compute_type(x: Tensor) -> torch.dtype:
    """Return the type that a convolution of a tensor is computed in: autocast's where it is on."""
    device = x.device.type
    if device == "meta":  # autocast does not know the device on which operations are counted
        return x.dtype
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
