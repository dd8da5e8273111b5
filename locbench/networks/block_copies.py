"""Fresh copies of timm's convolutional residual blocks, for auxiliary nets."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache, partial
from typing import Any, NamedTuple, cast

from timm.models import convnext, resnet
from torch import nn

from locbench.networks.chain import Clone


class BlockCopy(NamedTuple):
    """How a block is copied.

    Attributes:
        clone: builds a block of the same kind.
        width: the channels that decide strides; see `LayerSpec.width`.
    """

    clone: Clone
    width: int


def copy_of(block: nn.Module) -> BlockCopy | None:
    """Return how a block is copied; None for what is no plain residual block of these kinds.

    Args:
        block: of a ResNet or a ResNeXt, basic or bottleneck, or of a ConvNeXt.
    """
    found = _KINDS.get(type(block))
    if found is None:
        return None
    (inputs, outputs, stride), clone, width = found(block)
    try:
        same = _form(clone(inputs, outputs, stride)) == _form(block)
    except (TypeError, ValueError, AssertionError, RuntimeError):
        return None
    return BlockCopy(clone, width) if same else None


def _form(block: nn.Module) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """Return layers and the shapes of weights: equal ones compute alike from equal weights."""
    return repr(block), tuple((name, each.shape) for name, each in block.state_dict().items())


def _kinds(*layers: object) -> tuple[Hashable, ...]:
    return tuple(cast(Hashable, type(layer)) for layer in layers)


_Form = tuple[tuple[int, int, int], Clone, int]
"""Input channels, output channels and stride of a block; what clones it; its width."""


def _residual_form(block: Any) -> _Form:
    kind: Any = type(block)
    last = getattr(block, "conv3", block.conv2)
    planes, groups = last.out_channels // kind.expansion, block.conv2.groups
    width = 64
    if hasattr(block, "conv3"):  # widths of bottlenecks are given as of 64 planes
        width = block.conv2.out_channels * 64 // (planes * groups)
    clone = _residual_cloner(kind, groups, width, *_kinds(block.act1, block.bn1))
    return (block.conv1.in_channels, last.out_channels, block.stride), clone, planes


@cache
def _residual_cloner(
    kind: Hashable, groups: int, width: int, act: Hashable, norm: Hashable
) -> Clone:
    return partial(_residual, kind=kind, groups=groups, width=width, act=act, norm=norm)


def _residual(
    inputs: int,
    outputs: int,
    stride: int,
    *,
    kind: Any,
    groups: int,
    width: int,
    act: Any,
    norm: Any,
) -> nn.Module:
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = resnet.downsample_conv(inputs, outputs, 1, stride, norm_layer=norm)
    options = {"cardinality": groups, "base_width": width, "act_layer": act, "norm_layer": norm}
    block: nn.Module = kind(inputs, outputs // kind.expansion, stride, shortcut, **options)
    return block


def _convnext_form(block: Any) -> _Form:
    conv, hidden = block.conv_dw, block.mlp.fc1
    ratio = next(iter(hidden.parameters())).shape[0] / conv.out_channels
    clone = _convnext_cloner(
        conv.kernel_size[0],
        ratio,
        block.use_conv_mlp,
        conv.bias is not None,
        hasattr(block.mlp, "grn"),
        block.gamma is not None,
        *_kinds(block.mlp.act, block.norm),
    )
    return (conv.in_channels, conv.out_channels, conv.stride[0]), clone, conv.out_channels


@cache
def _convnext_cloner(
    kernel: int,
    ratio: float,
    conv_mlp: bool,
    bias: bool,
    grn: bool,
    scale: bool,
    act: Hashable,
    norm: Hashable,
) -> Clone:
    return partial(
        _convnext,
        kernel_size=kernel,
        mlp_ratio=ratio,
        conv_mlp=conv_mlp,
        conv_bias=bias,
        use_grn=grn,
        ls_init_value=1e-6 if scale else None,
        act_layer=act,
        norm_layer=norm,
    )


def _convnext(inputs: int, outputs: int, stride: int, **options: Any) -> nn.Module:
    block: nn.Module = convnext.ConvNeXtBlock(inputs, outputs, stride=stride, **options)
    return block


_KINDS: dict[type[nn.Module], Callable[[Any], _Form]] = {
    resnet.BasicBlock: _residual_form,
    resnet.Bottleneck: _residual_form,
    convnext.ConvNeXtBlock: _convnext_form,
}
