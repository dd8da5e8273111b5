"""VGG19, MobileNetV2, EfficientNet-B0 and RegNetX-400MF, counted by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import torch
import torch.nn.functional as F
from specimens import CLASSES, batch, recipe
from step_contract import assert_contract, stepped
from torch import Tensor, nn

from locbench.costs.counts import parameter_counts
from locbench.learning.learner import build_learner
from locbench.networks import vgg
from locbench.networks.chain import build_chain
from locbench.networks.efficientnet import MBConv
from locbench.networks.flops import forward_flops
from locbench.networks.mobilenet import InvertedResidual
from locbench.networks.regnet import XBlock
from locbench.spec.networks import NETWORKS
from locbench.spec.table_files import load_table

Counts = tuple[int, int]
"""Parameters and multiply-accumulates of a layer: with the generators below, a second
implementation in numbers.
"""


def conv(
    inputs: int, outputs: int, kernel: int, side: int, groups: int = 1, bias: bool = False
) -> Counts:
    weights = inputs // groups * outputs * kernel * kernel
    return weights + outputs * bias, weights * side * side


def conv_bn(
    inputs: int, outputs: int, kernel: int, side: int, groups: int = 1, bias: bool = False
) -> Counts:
    parameters, macs = conv(inputs, outputs, kernel, side, groups, bias)
    return parameters + 2 * outputs, macs


def linear(inputs: int, outputs: int) -> Counts:
    return inputs * outputs + outputs, inputs * outputs


def vgg19() -> Iterator[Counts]:
    inputs = 3
    for number, width, side in ((2, 64, 32), (2, 128, 16), (4, 256, 8), (4, 512, 4), (4, 512, 2)):
        for _ in range(number):
            yield conv_bn(inputs, width, 3, side, bias=True)
            inputs = width
    yield linear(512, 10)


def mobilenetv2() -> Iterator[Counts]:
    yield conv_bn(3, 32, 3, 32)
    inputs, side = 32, 32
    for expansion, width, number, first in (
        (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
        (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for index in range(number):
            stride, wide = first if index == 0 else 1, expansion * inputs
            yield conv_bn(inputs, wide, 1, side)
            yield conv_bn(wide, wide, 3, side // stride, groups=wide)
            yield conv_bn(wide, width, 1, side // stride)
            if stride == 1 and inputs != width:
                yield conv_bn(inputs, width, 1, side)
            inputs, side = width, side // stride
    yield conv_bn(320, 1280, 1, 4)
    yield linear(1280, 10)


def efficientnet_b0() -> Iterator[Counts]:
    yield conv_bn(3, 32, 3, 32)
    inputs, side = 32, 32
    for expansion, width, number, kernel, first in (
        (1, 16, 1, 3, 1), (6, 24, 2, 3, 2), (6, 40, 2, 5, 2), (6, 80, 3, 3, 2), (6, 112, 3, 5, 1),
        (6, 192, 4, 5, 2), (6, 320, 1, 3, 1),
    ):  # fmt: skip
        for index in range(number):
            stride, wide = first if index == 0 else 1, expansion * inputs
            if expansion > 1:
                yield conv_bn(inputs, wide, 1, side)
            side //= stride
            yield conv_bn(wide, wide, kernel, side, groups=wide)
            yield conv(wide, inputs // 4, 1, 1, bias=True)
            yield conv(inputs // 4, wide, 1, 1, bias=True)
            yield conv_bn(wide, width, 1, side)
            inputs = width
    yield linear(320, 10)


def regnetx_400mf() -> Iterator[Counts]:
    yield conv_bn(3, 64, 3, 32)
    inputs, side = 64, 32
    for width, number, first in ((32, 1, 1), (64, 2, 1), (160, 7, 2), (384, 12, 2)):
        for index in range(number):
            stride = first if index == 0 else 1
            yield conv_bn(inputs, width, 1, side)
            yield conv_bn(width, width, 3, side // stride, groups=width // 16)
            yield conv_bn(width, width, 1, side // stride)
            if stride > 1 or inputs != width:
                yield conv_bn(inputs, width, 1, side // stride)
            inputs, side = width, side // stride
    yield linear(384, 10)


# The totals of the public CIFAR-10 collection as commonly quoted; its EfficientNet-B0 has 1,088
# parameters more, a widening convolution with BatchNorm (32 * 32 + 2 * 32) that it never runs.
TOTALS = {
    "vgg19": (vgg19, 20_040_522),
    "mobilenetv2": (mobilenetv2, 2_296_922),
    "efficientnet-b0": (efficientnet_b0, 3_599_686 - 1_088),
    "regnetx-400mf": (regnetx_400mf, 4_779_338),
}


@pytest.mark.parametrize("name", TOTALS)
def test_parameters_and_multiply_accumulates(name: str) -> None:
    parts, total = TOTALS[name]
    counted = list(parts())
    assert sum(parameters for parameters, _ in counted) == total
    assert parameter_counts(recipe("bp", name)) == {"primary": total, "auxiliary": 0}
    assert forward_flops(lambda: build_chain(name, 10, 32), (3, 32, 32)).macs == sum(
        macs for _, macs in counted
    )


def runs(text: str) -> list[int]:
    """Read ``64x2 128x2`` as two 64s and two 128s."""
    return [
        int(value)
        for each in text.split()
        for value, count in [each.split("x")]
        for _ in range(int(count))
    ]


LAYERS = {
    "vgg19": ("64x2 128x2 256x4 512x8", "32x2 16x2 8x4 4x4 2x4"),
    "mobilenetv2": ("32x1 16x1 24x2 32x3 64x4 96x3 160x3 320x1 1280x1", "32x4 16x3 8x7 4x5"),
    "efficientnet-b0": ("32x1 16x1 24x2 40x2 80x3 112x3 192x4 320x1", "32x2 16x2 8x2 4x6 2x5"),
    "regnetx-400mf": ("64x1 32x1 64x2 160x7 384x12", "32x4 16x7 8x12"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_local_layers(name: str) -> None:
    channels, sides = LAYERS[name]
    with torch.device("meta"):
        chain = build_chain(name, 10, 32)
    assert [each.channels for each in chain.specs] == runs(channels)
    assert [each.side for each in chain.specs] == runs(sides)
    assert NETWORKS[name].units == len(chain.units)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("side", [8, 15])
def test_images_of_other_sizes_pass(name: str, side: int) -> None:
    with torch.device("meta"):
        chain = build_chain(name, CLASSES, side)
        x = torch.empty(2, 3, side, side)
    for unit, spec in zip(chain.units, chain.specs, strict=True):
        x = unit(x)
        assert x.shape[1:] == (spec.channels, spec.side, spec.side)
    assert chain.head(x).shape == (2, CLASSES)


def test_pooling_belongs_to_the_layer_after_it() -> None:
    with torch.device("meta"):
        for name, after in (("vgg19", {2, 4, 8, 12}), ("vgg13", {2, 4, 6, 8})):
            chain = build_chain(name, CLASSES, 32)
            pooled = {
                index
                for index, each in enumerate(chain.units)
                if isinstance(next(each.children()), nn.MaxPool2d)
            }
            assert pooled == after
            assert isinstance(next(chain.head.children()), nn.MaxPool2d)


def normalised(x: Tensor, net: nn.Module) -> Tensor:
    assert isinstance(net, nn.BatchNorm2d)
    return F.batch_norm(x, None, None, net.weight, net.bias, training=True)


def by_hand(block: nn.Module, x: Tensor, stride: int) -> Tensor:
    layers = list(block.body.children())  # type: ignore[union-attr]
    convs = [each for each in layers if isinstance(each, nn.Conv2d)]
    norms = [each for each in layers if isinstance(each, nn.BatchNorm2d)]
    act = F.silu if isinstance(block, MBConv) else F.relu
    out = x
    if len(convs) == 3:
        out = act(normalised(F.conv2d(out, convs[0].weight), norms[0]))
    deep, last = convs[-2], convs[-1]
    groups = deep.out_channels // (16 if isinstance(block, XBlock) else 1)
    out = F.conv2d(
        out, deep.weight, stride=stride, padding=deep.weight.shape[-1] // 2, groups=groups
    )
    out = act(normalised(out, norms[-2]))
    if isinstance(block, MBConv):
        first, second = (each for each in layers[-3].gate.children() if isinstance(each, nn.Conv2d))  # type: ignore[union-attr]
        gate = F.conv2d(
            F.silu(F.conv2d(out.mean((2, 3), keepdim=True), first.weight, first.bias)),
            second.weight,
            second.bias,
        )
        out = out * gate.sigmoid()
    out = normalised(F.conv2d(out, last.weight), norms[-1])
    if out.shape == x.shape:
        out = out + x
    elif isinstance(block, XBlock) or (isinstance(block, InvertedResidual) and stride == 1):
        projection, norm = block.shortcut.children()  # type: ignore[union-attr]
        out = out + normalised(F.conv2d(x, projection.weight, stride=stride), norm)  # type: ignore[arg-type]
    return out.relu() if isinstance(block, XBlock) else out


@pytest.mark.parametrize(
    ("inputs", "outputs", "stride"), [(32, 32, 1), (32, 48, 1), (32, 48, 2), (32, 32, 2)]
)
@pytest.mark.parametrize(
    "kind", ["mobile-1", "mobile-6", "efficient-1-3", "efficient-6-5", "regnet"]
)
def test_blocks_compute_what_they_say(kind: str, inputs: int, outputs: int, stride: int) -> None:
    torch.manual_seed(0)
    family, *numbers = kind.split("-")
    builders: dict[str, Any] = {"mobile": InvertedResidual, "efficient": MBConv, "regnet": XBlock}
    block = builders[family](inputs, outputs, stride, *map(int, numbers)).double()
    x = torch.randn(4, inputs, 8, 8, dtype=torch.float64)
    expected = by_hand(block, x, stride)
    assert expected.shape == (4, outputs, 8 // stride, 8 // stride)
    torch.testing.assert_close(block(x.clone()), expected, rtol=1e-10, atol=1e-10)


def pairs() -> list[tuple[str, str, dict[str, Any]]]:
    """Return every network and method that the tables name, AugLocal at one depth."""
    found = [("vgg19", "predsim", {}), ("vgg19", "dgl", {})]
    for network in LAYERS:
        found += [(network, "bp", {}), (network, "auglocal", {"depth": 3})]
    return found


def test_these_are_the_pairs_of_the_tables() -> None:
    named = {
        (cell.recipe.network, cell.recipe.method)
        for table in ("auglocal-vgg19", "auglocal-convnets")
        for cell in load_table(table).cells
        if cell.recipe is not None
    }
    assert named == {(network, method) for network, method, _ in pairs()}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make VGG narrow, so that steps are quick."""
    monkeypatch.setattr(vgg, "WIDTHS", (8, 16, 32, 64, 64))
    monkeypatch.setattr(vgg, "HIDDEN", 16)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(("network", "method", "options"), pairs())
def test_one_training_step(network: str, method: str, options: dict[str, Any]) -> None:
    assert_contract(recipe(method, network, **options), 16)


@pytest.mark.parametrize("name", [name for name in NETWORKS if NETWORKS[name].transformer is None])
def test_local_layers_draw_no_random_numbers(name: str) -> None:
    """Lean memory runs all modules but the last twice.

    Dropout may stand before the last classifier alone.
    """
    with torch.device("meta"):
        chain = build_chain(name, CLASSES, 32)
    drops = [
        path
        for path, each in chain.named_modules()
        if isinstance(each, nn.modules.dropout._DropoutNd)
    ]
    heads = {"head"} if name.removesuffix("-narrow") in ("vgg13", "efficientnet-b0") else set()
    assert {path.partition(".")[0] for path in drops} == heads


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", ["efficientnet-b0", "vgg13", "vgg19", "regnetx-400mf"])
def test_lean_memory_gives_the_same_gradients(name: str) -> None:
    found = []
    for memory in ("plain", "lean"):
        chosen = msgspec.structs.replace(recipe("auglocal", name, 4, depth=3), memory=memory)
        net = build_learner(chosen, CLASSES, 16).double()
        found.append((stepped(net, batch(4, 16)), dict(net.named_buffers())))
    for left, right in zip(*found, strict=True):
        assert left.keys() == right.keys()
        for key, each in left.items():
            torch.testing.assert_close(
                right[key], each, rtol=1e-9, atol=1e-11, msg=lambda text, key=key: key + text
            )


def test_tables_as_printed() -> None:
    """Typed from the paper, apart from the files."""
    first, second = load_table("auglocal-vgg19"), load_table("auglocal-convnets")
    assert (first.values, second.values) == (12, 15)
    printed = {
        (cell.row, cell.column): cell.published["test_acc"].text
        for cell in (*first.cells, *second.cells)
    }
    assert printed["CIFAR-10", "PredSim"] == "86.49 ± 0.30"
    assert printed["SVHN", "DGL"] == "96.63 ± 0.08"
    assert printed["CIFAR-10", "AugLocal d=4"] == "93.69 ± 0.05"
    assert printed["EfficientNetB0", "AugLocal d=3"] == "92.84 ± 0.15"
    assert printed["RegNetX_400MF", "BP"] == "95.70 ± 0.12"
    assert printed["MobileNetV2", "AugLocal d=5"] == "94.52 ± 0.08"
    for cell in (*first.cells, *second.cells):
        assert cell.recipe is not None
        assert (cell.recipe.epochs, cell.recipe.batch_size, cell.recipe.lr) == (400, 1024, 0.8)
        assert (cell.recipe.warmup_epochs, cell.recipe.modules) == (10, None)
