"""AugLocal's, PredSim's and DGL's nets on VGG19, MobileNetV2, EfficientNet-B0 and RegNetX-400MF."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from specimens import CLASSES, attach_point, recipe
from torch import nn

from locbench.errors import UsageError
from locbench.learning.auxiliary.auglocal import (
    auxiliary_flops,
    matched_width,
    plain_flops,
    strides,
)
from locbench.learning.auxiliary.branch import AttachPoint, AuxiliaryNet
from locbench.learning.auxiliary.predsim import pooling
from locbench.learning.modules import build_branch
from locbench.networks.efficientnet import MBConv
from locbench.networks.flops import forward_flops
from locbench.networks.mobilenet import InvertedResidual
from locbench.networks.regnet import XBlock
from locbench.spec.components import AugLocal, Mlp
from locbench.spec.networks import NETWORKS
from locbench.spec.partition import partition_of

NAMES = ("vgg19", "mobilenetv2", "efficientnet-b0", "regnetx-400mf")


def net_at(network: str, layer: int, copied: int) -> AuxiliaryNet:
    """Return the net of constant depth that hangs on a layer."""
    with torch.device("meta"):
        return build_branch(AugLocal(depth=copied + 1, decay=0.0), attach_point(layer, network))


def vgg_layers(net: nn.Module) -> list[tuple[int, int, bool]]:
    """Return channels in and out of the copied convolutions, and whether pooling comes before."""
    layers = [each for each in net.modules() if isinstance(each, nn.Conv2d | nn.MaxPool2d)]
    return [
        (
            each.in_channels,
            each.out_channels,
            isinstance(layers[index - 1], nn.MaxPool2d) and index > 0,
        )
        for index, each in enumerate(layers)
        if isinstance(each, nn.Conv2d)
    ]


@pytest.mark.parametrize(
    ("layer", "copied", "expected"),
    [
        (0, 1, [(64, 512, True)]),  # one pooling for three doublings
        (0, 2, [(64, 512, True), (512, 512, False)]),  # 7.5 rounds to 8; nothing is carried over
        (0, 3, [(64, 256, True), (256, 512, True), (512, 512, False)]),  # 5, 10, 15
        (
            3,
            4,
            [(128, 256, True), (256, 512, True), (512, 512, False), (512, 512, False)],
        ),  # 6, 9, 12, 15
        (9, 3, [(512, 512, False)] * 3),  # between the two stages of 512 there is no pooling
        (13, 4, [(512, 512, False)] * 2),
    ],
)
def test_nets_of_vgg19(layer: int, copied: int, expected: list[tuple[int, int, bool]]) -> None:
    assert vgg_layers(net_at("vgg19", layer, copied)) == expected


def test_without_carry_every_change_is_one_halving() -> None:
    assert strides(64, [512, 512, 512], carry_stride=False) == [2, 1, 1]
    assert strides(64, [512, 512, 512]) == [2, 2, 2]
    assert strides(64, [128, 512], carry_stride=False) == [2, 2]


Copied = list[tuple[int, int, int, int]]
"""Input channels, output channels, kernel and stride of the strided convolution of each copied
layer.
"""


def copied_blocks(net: nn.Module) -> Copied:
    found = []
    for each in net.net.children():  # type: ignore[union-attr]
        convs = [layer for layer in each.modules() if isinstance(layer, nn.Conv2d)]
        if isinstance(each, InvertedResidual | MBConv | XBlock):
            convs = [layer for layer in each.body.children() if isinstance(layer, nn.Conv2d)]
            spatial = convs[-2]
        elif convs:
            (spatial,) = convs
        else:
            continue
        found.append(
            (
                convs[0].in_channels,
                convs[-1].out_channels,
                spatial.kernel_size[0],
                spatial.stride[0],
            )
        )
    return found


@pytest.mark.parametrize(
    ("network", "layer", "copied", "expected"),
    [
        ("mobilenetv2", 0, 1, [(32, 1280, 1, 2)]),  # the last layer alone
        ("mobilenetv2", 0, 2, [(32, 64, 3, 2), (64, 1280, 1, 2)]),  # 9, 18
        ("mobilenetv2", 1, 2, [(16, 64, 3, 2), (64, 1280, 1, 2)]),  # 9.5 rounds to 10
        ("mobilenetv2", 2, 3, [(24, 64, 3, 2), (64, 96, 3, 1), (96, 1280, 1, 2)]),  # 7, 13, 18
        ("mobilenetv2", 15, 2, [(160, 160, 3, 1), (160, 1280, 1, 2)]),  # 16.5 rounds to 16
        ("efficientnet-b0", 0, 2, [(32, 80, 3, 2), (80, 320, 3, 2)]),  # 8, 16
        ("efficientnet-b0", 1, 2, [(16, 80, 3, 2), (80, 320, 3, 2)]),  # 8.5 rounds to 8
        (
            "efficientnet-b0",
            9,
            2,
            [(112, 192, 5, 1), (192, 320, 3, 1)],
        ),  # 12.5 rounds to 12; neither doubles
        (
            "regnetx-400mf",
            0,
            2,
            [(64, 384, 3, 2), (384, 384, 3, 2)],
        ),  # 11, 22; a jump of six is carried
        ("regnetx-400mf", 1, 2, [(32, 384, 3, 2), (384, 384, 3, 2)]),  # 11.5 rounds to 12
        ("regnetx-400mf", 0, 3, [(64, 160, 3, 2), (160, 384, 3, 2), (384, 384, 3, 1)]),  # 7, 15, 22
        ("regnetx-400mf", 4, 2, [(160, 384, 3, 2), (384, 384, 3, 1)]),  # 13, 22
    ],
)
def test_nets_of_the_others(network: str, layer: int, copied: int, expected: Copied) -> None:
    assert copied_blocks(net_at(network, layer, copied)) == expected


def test_copies_keep_expansion_and_groups() -> None:
    block = next(
        each for each in net_at("efficientnet-b0", 0, 2).modules() if isinstance(each, MBConv)
    )
    first, depthwise, *gate, last = (
        each for each in block.modules() if isinstance(each, nn.Conv2d)
    )
    assert (first.out_channels, depthwise.groups, last.in_channels) == (6 * 32,) * 3
    assert [each.out_channels for each in gate] == [8, 6 * 32]  # a quarter of the incoming channels
    block = next(
        each for each in net_at("regnetx-400mf", 0, 2).modules() if isinstance(each, XBlock)
    )
    assert (
        next(
            each.groups
            for each in block.modules()
            if isinstance(each, nn.Conv2d) and each.groups > 1
        )
        == 384 // 16
    )


def test_the_head_of_nets_with_one_layer_has_batchnorm() -> None:
    for network, width in (("vgg19", 512), ("mobilenetv2", 1280)):
        assert [type(each) for each in net_at(network, 0, 1).modules()][-2:] == [
            nn.BatchNorm1d,
            nn.Linear,
        ]
        assert [type(each) for each in net_at(network, 0, 2).modules()][-2:] == [
            nn.Flatten,
            nn.Linear,
        ]
        assert (
            next(
                each.in_features
                for each in net_at(network, 0, 1).modules()
                if isinstance(each, nn.Linear)
            )
            == width
        )


@pytest.mark.parametrize("network", NAMES)
def test_top_layers_are_merged(network: str) -> None:
    """VGG19: 15 modules for k = 1 down to 11 for k = 5, as the official configuration has them."""
    units = NETWORKS[network].units
    for k in range(1, 6):
        ends = partition_of(recipe("auglocal", network, depth=k + 1)).ends
        assert ends == (*range(units - k - 1), units - 1)
    for method in ("dgl", "predsim"):
        assert partition_of(recipe(method, network)).modules == units


def test_parameters_of_a_net_by_hand() -> None:
    """VGG19, stem, d=3: layers 8 and 15, then 512 -> 10."""
    # Bias, and BatchNorm's two.
    expected = (9 * 64 * 512 + 3 * 512) + (9 * 512 * 512 + 3 * 512) + (512 * 10 + 10)
    assert sum(each.numel() for each in net_at("vgg19", 0, 2).parameters()) == expected
    expected = (32 * 1280 + 2 * 1280) + 2 * 1280 + (1280 * 10 + 10)
    assert sum(each.numel() for each in net_at("mobilenetv2", 0, 1).parameters()) == expected


def test_one_selection_for_each_of_three_stages_is_for_three_stages() -> None:
    options = AugLocal(selection=("uniform", "repetitive", "dgl"))
    with pytest.raises(UsageError, match=r"3 stages, the network has 5[\s\S]*one selection"):
        build_branch(options, attach_point(3, "vgg19"))


@pytest.mark.parametrize(
    "selection", ["sequential", "repetitive", "repetitive-downsampled", "conv3x3-plain", "dgl"]
)
@pytest.mark.parametrize("network", NAMES)
def test_other_selections(network: str, selection: Any) -> None:
    with torch.device("meta"):
        for layer in (0, 1, NETWORKS[network].units // 2):
            point = attach_point(layer, network)
            branch = build_branch(AugLocal(depth=4, selection=selection), point)
            x = torch.empty(2, point.spec.channels, point.spec.side, point.spec.side)
            assert branch(x).shape == (2, CLASSES)


def cut_of(network: str, ends: tuple[int, ...], layer: int) -> AttachPoint:
    specs = attach_point(0, network).specs
    return AttachPoint(layer, ends.index(layer), len(ends), ends, specs, CLASSES, 32)


@pytest.mark.parametrize("network", ["mobilenetv2", "vgg13"])
@pytest.mark.parametrize("kernel", [1, 3])
def test_matched_convolutions(network: str, kernel: int) -> None:
    """The solver's formula counts what the built nets cost, whatever ends them."""
    ends = partition_of(recipe("auglocal", network, depth=3)).ends
    width = matched_width(kernel, AugLocal(depth=3), cut_of(network, ends, 0))
    assert matched_width(kernel, AugLocal(depth=3), cut_of(network, ends, 2)) == width
    total = 0
    for end in ends[:-1]:
        point = cut_of(network, ends, end)
        options = AugLocal(depth=3, selection="conv1x1" if kernel == 1 else "conv3x3", width=width)
        shape = (point.spec.channels, point.spec.side, point.spec.side)
        flops = forward_flops(
            lambda options=options, point=point: build_branch(options, point), shape
        ).flops  # type: ignore[misc]
        assert flops == plain_flops(
            kernel, point.spec, int(width * point.spec.channels), 2, CLASSES
        )
        total += flops
    assert abs(total / auxiliary_flops(AugLocal(depth=3), cut_of(network, ends, 0)) - 1) < 0.05


def test_predsim_and_dgl_on_vgg19() -> None:
    """The formulas of the official code: pooling kernels and linear inputs by stage."""
    kernels = {64: (32, (16, 8)), 128: (16, (8, 8)), 256: (8, (8, 4)), 512: (4, (4, 4))}
    for channels, (side, kernel) in kernels.items():
        found, padding, out = pooling(channels, side, 512)
        assert (found, padding, channels * out[0] * out[1]) == (kernel, (0, 0), 512)
    assert pooling(512, 2, 512) == ((2, 2), (0, 0), (1, 1))
    for layer, first, features in (
        (0, 8, 256),
        (2, 4, 512),
        (4, 2, 1024),
        (8, 1, 512),
        (12, 1, 512),
    ):
        with torch.device("meta"):
            net = build_branch(Mlp(), attach_point(layer, "vgg19"))
        pools = [
            each.output_size for each in net.modules() if isinstance(each, nn.AdaptiveAvgPool2d)
        ]
        widths = {each.in_features for each in net.modules() if isinstance(each, nn.Linear)}
        assert pools == [first, min(first, 2)]
        assert widths == {features}
