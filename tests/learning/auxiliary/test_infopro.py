"""InfoPro's head and decoder of ImageNet, whole, on patches and on quadrants."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from specimens import assert_same, batch, gradients
from torch import Tensor, nn

from locbench.errors import UsageError
from locbench.learning.auxiliary.branch import AttachPoint, AuxiliaryNet, Targets
from locbench.learning.auxiliary.hpff import PatchFusion
from locbench.learning.auxiliary.infopro import (
    DoublingDecoder,
    QuadrantDecoders,
    build_decoder,
    build_head,
    doublings,
)
from locbench.networks.chain import build_chain
from locbench.spec.components import Decoder, Head, Patches

# By hand, layer by layer: weights of a convolution, its bias or the two vectors of BatchNorm, the
# linear layer.
HEAD_1024 = (
    (1024 * 256 + 2 * 256)
    + (9 * 256 * 256 + 2 * 256)
    + (9 * 256 * 512 + 2 * 512)
    + (512 * 2048 + 2 * 2048)
    + (2048 * 1000 + 1000)
)


HEAD_512 = (
    HEAD_1024 - (1024 * 256 + 2 * 256) - 9 * 256 * 256 + (512 * 128 + 2 * 128) + 9 * 128 * 256
)


DECODER_1024 = (
    (1024 * 128 + 3 * 128)
    + (9 * 128 * 64 + 3 * 64)
    + (9 * 64 * 32 + 3 * 32)
    + (9 * 32 * 16 + 3 * 16)
    + (9 * 16 * 3 + 3)
)


DECODER_512 = (
    (512 * 128 + 3 * 128) + (9 * 128 * 32 + 3 * 32) + (9 * 32 * 12 + 3 * 12) + (9 * 12 * 3 + 3)
)


def size(net: nn.Module) -> int:
    return sum(each.numel() for each in net.parameters())


def large_cut(layer: int, patches: int = 1, network: str = "resnet101") -> AttachPoint:
    with torch.device("meta"):
        specs = build_chain(network, 1000, 224).specs
    return AttachPoint(
        layer, layer, len(specs), tuple(range(len(specs))), specs, 1000, 224, patches
    )


# ResNet-101: layer 0 is the stem, 1-3, 4-7, 8-30 and 31-33 are the blocks of the stages.
K2, K4 = large_cut(4), large_cut(8)


def test_head_of_1024_channels() -> None:
    with torch.device("meta"):
        net = build_head(Head(net="imagenet"), K4)
    assert size(net) == HEAD_1024 == 5_135_336
    convs = [each for each in net.modules() if isinstance(each, nn.Conv2d)]
    shapes = [
        (each.in_channels, each.out_channels, each.kernel_size[0], each.stride[0]) for each in convs
    ]
    assert shapes == [(1024, 256, 1, 1), (256, 256, 3, 2), (256, 512, 3, 2), (512, 2048, 1, 1)]
    assert all(each.bias is None for each in convs)
    assert net(torch.empty(2, 1024, 14, 14, device="meta")).shape == (2, 1000)
    assert net(torch.empty(2, 1024, 7, 7, device="meta")).shape == (2, 1000)


def test_head_of_512_channels_is_infopros() -> None:
    with torch.device("meta"):
        assert size(build_head(Head(net="imagenet"), K2)) == HEAD_512 == 4_643_560


@pytest.mark.parametrize(
    ("point", "parameters", "sides"),
    [
        (K4, DECODER_1024, [14, 28, 56, 112, 224]),
        (large_cut(8, patches=2), DECODER_1024, [7, 14, 28, 56, 112]),
        (K2, DECODER_512, [28, 56, 112, 224]),
    ],
)
def test_decoder(point: AttachPoint, parameters: int, sides: list[int]) -> None:
    with torch.device("meta"):
        net = build_decoder(Decoder(variant="doubling"), point)
        features = torch.empty(2, point.spec.channels, point.side, point.side)
    assert size(net) == parameters
    seen: list[int] = []
    for each in net.modules():
        if isinstance(each, nn.Conv2d):
            each.register_forward_hook(lambda _, __, y: seen.append(y.shape[-1]))
    assert net(features).shape == (2, 3, sides[-1], sides[-1])
    assert seen == sides


def test_decoder_totals() -> None:
    assert (DECODER_1024, DECODER_512) == (228_995, 106_699)


@pytest.mark.parametrize(
    ("start", "side", "expected"),
    [
        (14, 224, [28, 56, 112, 224]),
        (2, 32, [4, 8, 16, 32]),
        (4, 33, [5, 9, 17, 33]),
        (224, 224, [224]),
    ],
)
def test_doublings(start: int, side: int, expected: list[int]) -> None:
    assert doublings(start, side) == expected


def test_decoder_computes_what_the_specification_says() -> None:
    """Written out again with functions, in training and in float64."""
    net = DoublingDecoder(24, 64, 4).double()
    features = torch.randn(3, 24, 4, 4, dtype=torch.float64)
    convs = [each for each in net.modules() if isinstance(each, nn.Conv2d)]
    assert [each.out_channels for each in convs] == [128, 64, 32, 16, 3]
    x = F.conv2d(features, convs[0].weight, convs[0].bias)
    for conv, side in zip(convs[1:], (8, 16, 32, 64), strict=True):
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
        x = torch.relu((x - mean) / (var + 1e-5).sqrt())
        x = F.interpolate(x, size=(side, side), mode="bilinear", align_corners=True)
        x = F.conv2d(x, conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(net(features), torch.sigmoid(x))


def quarters(x: Tensor) -> list[Tensor]:
    half = x.shape[-1] // 2
    return [x[..., i : i + half, j : j + half] for i in (0, half) for j in (0, half)]


def passed(branch: AuxiliaryNet, features: Tensor, targets: Targets) -> dict[str, Tensor]:
    """Return the gradients that a branch's own backward pass leaves, its input's included."""
    branch.zero_grad()
    leaf = features.clone().requires_grad_()
    branch.backward(leaf, targets, 0.7)
    assert leaf.grad is not None
    return {**gradients(branch), "input": leaf.grad}


def test_patches_and_quadrants_of_the_decoder() -> None:
    """One decoder and the mean of four losses; four decoders and their sum."""
    _, targets = batch(size=3, side=32)
    assert targets.pixels is not None
    features = torch.randn(3, 8, 4, 4, dtype=torch.float64)
    shared, four = (
        DoublingDecoder(8, 16, 2).double(),
        QuadrantDecoders(8, 32, lambda c, s: DoublingDecoder(c, s, 2)),
    )
    for branch, share in ((PatchFusion(shared, Patches()), 0.25), (four.double(), 1.0)):
        found = passed(branch, features, targets)
        branch.zero_grad()
        leaf = features.clone().requires_grad_()
        nets = [shared] * 4 if share < 1 else list(four.decoders)
        parts = zip(nets, quarters(leaf), quarters(targets.pixels), strict=True)
        loss = sum(F.binary_cross_entropy(net(part), pixels) for net, part, pixels in parts)
        (0.7 * share * loss).backward()  # type: ignore[no-untyped-call, union-attr]
        assert_same(found, {**gradients(branch), "input": leaf.grad})


def test_quadrants_of_imagenet() -> None:
    with torch.device("meta"):
        net = build_decoder(Decoder(variant="doubling", quadrants=True), K4)
    assert isinstance(net, QuadrantDecoders)
    assert size(net) == 4 * DECODER_1024
    assert net.decoders[0](torch.empty(1, 1024, 7, 7, device="meta")).shape == (1, 3, 112, 112)


def test_aux_adapt_is_refused_at_the_fourth_stage() -> None:
    with pytest.raises(UsageError, match="no head for a cut in stage 4"):
        build_head(Head(net="adapt"), large_cut(31))
