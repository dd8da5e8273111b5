"""Layers that keep less for the backward pass, and recompute it.

BatchNorm-ReLU, and BatchNorm-ReLU-convolution, keep only BatchNorm's input. Autograd keeps what the
convolution before BatchNorm gave and what ReLU gave. Here the latter is computed again in the
backward pass, bit for bit, from the former: one feature map less per layer for one more pass of
elementwise work, and no convolution more. (The idea is that of in-place activated BatchNorm, Rota
Bulo et al. 2018, with the other map kept.)

Both run on any device, and under autocast in its type; they can be differentiated once.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from locbench.networks.layers import compute_type
from locbench.networks.resnet_cifar import BasicBlock

Norm = nn.BatchNorm2d


def fusable(norm: nn.Module, relu: nn.Module) -> bool:
    """Return whether two layers are a BatchNorm on batch statistics and a ReLU."""
    return (
        type(norm) is Norm
        and norm.training
        and norm.affine
        and norm.momentum is not None
        and type(relu) is nn.ReLU
    )


def plain_convolution(layer: nn.Module) -> bool:
    """Return whether a layer is a convolution with zero padding given in pixels."""
    return (
        type(layer) is nn.Conv2d
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def norm_relu(x: Tensor, norm: Norm) -> Tensor:
    """Return ReLU(BatchNorm(x)), B x C x H x W, and update the running statistics.

    Args:
        x: what BatchNorm sees.
        norm: in training mode, `fusable`.
    """
    return cast(Tensor, _NormRelu.apply(x, norm.weight, norm.bias, norm))


def norm_relu_conv(x: Tensor, norm: Norm, conv: nn.Conv2d) -> Tensor:
    """Return conv(ReLU(BatchNorm(x))) and update the running statistics.

    Args:
        x: what BatchNorm sees, B x C x H x W.
        norm: in training mode, `fusable`.
        conv: a `plain_convolution`.
    """
    parameters = (norm.weight, norm.bias, conv.weight, conv.bias)
    return cast(Tensor, _NormReluConv.apply(x, *parameters, norm, conv))


class _NormRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, norm: Norm) -> Tensor:
        y, mean, deviation = _normalised(x, scale, shift, norm.eps, norm)
        ctx.save_for_backward(x, scale, shift, mean, deviation)
        ctx.eps = norm.eps
        return y.relu_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, mean, deviation = ctx.saved_tensors
        y = _normalised(x, scale, shift, ctx.eps)[0].relu_()
        gradient = torch.ops.aten.threshold_backward(gradient, y, 0)
        del y
        return (*_norm_backward(gradient, x, scale, mean, deviation, ctx.eps), None)


class _NormReluConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        norm: Norm,
        conv: nn.Conv2d,
    ) -> Tensor:
        y, mean, deviation = _normalised(x, scale, shift, norm.eps, norm)
        ctx.save_for_backward(x, scale, shift, weight, mean, deviation)
        ctx.eps, ctx.type = norm.eps, compute_type(x)
        ctx.bias_sizes = None if bias is None else list(bias.shape)
        ctx.how = (conv.stride, conv.padding, conv.dilation, conv.groups)
        bias = None if bias is None else bias.to(ctx.type)
        return F.conv2d(y.relu_().to(ctx.type), weight.to(ctx.type), bias, *ctx.how)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, weight, mean, deviation = ctx.saved_tensors
        y = _normalised(x, scale, shift, ctx.eps)[0].relu_()
        stride, padding, dilation, groups = ctx.how
        inner, outer, bias = torch.ops.aten.convolution_backward(
            gradient,
            y.to(ctx.type),
            weight.to(ctx.type),
            ctx.bias_sizes,
            stride,
            padding,
            dilation,
            False,
            [0, 0],
            groups,
            [True, True, ctx.bias_sizes is not None],
        )
        inner = inner.to(x.dtype)
        # Nobody else holds it.
        torch.ops.aten.threshold_backward.grad_input(inner, y, 0, grad_input=inner)
        del y
        bias = None if bias is None else bias.to(weight.dtype)
        return (
            *_norm_backward(inner, x, scale, mean, deviation, ctx.eps),
            outer.to(weight.dtype),
            bias,
            None,
            None,
        )


def _normalised(
    x: Tensor, scale: Tensor, shift: Tensor, eps: float, norm: Norm | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise by the batch.

    With ``norm``, update its running statistics. Also return mean and 1 / deviation.
    """
    if norm is None or norm.running_mean is None:
        return torch.native_batch_norm(x, scale, shift, None, None, True, 0.0, eps)
    assert norm.momentum is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    return torch.native_batch_norm(
        x, scale, shift, norm.running_mean, norm.running_var, True, norm.momentum, eps
    )


def _norm_backward(
    gradient: Tensor, x: Tensor, scale: Tensor, mean: Tensor, deviation: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients with respect to the input, the scale and the shift."""
    needed = [True, True, True]
    gradients = torch.ops.aten.native_batch_norm_backward(
        gradient, x, scale, None, None, mean, deviation, True, eps, needed
    )
    return cast(tuple[Tensor, Tensor, Tensor], gradients)


class RecomputingBlock(BasicBlock):
    """A basic block that keeps its convolutions' outputs and its own, and not what is between."""

    def forward(self, x: Tensor) -> Tensor:
        """Map B x inputs x H x W to B x outputs x H/stride x W/stride."""
        if not (torch.is_grad_enabled() and fusable(self.bn1, self.relu)):
            return super().forward(x)
        out = self.bn2(norm_relu_conv(self.conv1(x), self.bn1, self.conv2))
        out += self.shortcut(x)
        return self.relu(out)  # type: ignore[no-any-return]


class RecomputingSequential(nn.Sequential):
    """Layers in order, with BatchNorm and ReLU, and a convolution that follows them, as one."""

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers."""
        layers, index = list(self), 0
        while index < len(layers):
            norm, after = layers[index], layers[index + 1 : index + 3]
            if not (torch.is_grad_enabled() and after and fusable(norm, after[0])):
                x = norm(x)
                index += 1
                continue
            assert isinstance(norm, Norm)
            conv = after[-1]
            if isinstance(conv, nn.Conv2d) and plain_convolution(conv):
                x = norm_relu_conv(x, norm, conv)
                index += 3
            else:
                x = norm_relu(x, norm)
                index += 2
        return x


RECOMPUTING: dict[type[nn.Module], type[nn.Module]] = {
    BasicBlock: RecomputingBlock,
    nn.Sequential: RecomputingSequential,
}
"""Which class takes whose place. The new one adds no parameters, buffers or arguments."""


def save_memory(net: nn.Module) -> None:
    """Turn the layers of a net into their recomputing kind, in place, where there is one."""
    for layer in net.modules():
        if type(layer) in RECOMPUTING:
            layer.__class__ = RECOMPUTING[type(layer)]
