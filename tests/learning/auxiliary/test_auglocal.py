"""AugLocal's selection, depths, multipliers, FLOPs and the notation of its tables."""

from __future__ import annotations

import pytest
import torch
from specimens import CLASSES, attach_point, recipe, recipe_of

from locbench.costs.notation import architecture, architecture_of
from locbench.errors import UsageError
from locbench.learning.auxiliary.auglocal import (
    auxiliary_flops,
    copied_layers,
    matched_width,
    strides,
    uniform,
)
from locbench.learning.auxiliary.branch import AttachPoint, Classifier
from locbench.learning.learner import build_learner
from locbench.learning.modules import build_branch
from locbench.networks.chain import build_chain
from locbench.networks.flops import forward_flops
from locbench.networks.resnet_cifar import BasicBlock
from locbench.spec.components import AugLocal, Head
from locbench.spec.partition import partition_of
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table


def runs(text: str) -> list[int]:
    """Read ``5x12 4x25`` as twelve fives and twenty-five fours."""
    return [
        int(value)
        for each in text.split()
        for value, count in [each.split("x")]
        for _ in range(int(count))
    ]


@pytest.mark.parametrize(
    ("k", "modules", "decay", "expected"),
    [
        (3, 13, 0.5, "3x6 2x6"),
        (4, 12, 0.5, "4x4 3x6 2x1"),
        (5, 11, 0.5, "5x3 4x4 3x3"),
        (8, 8, 0.5, "8x1 7x2 6x2 5x1 4x1"),
        (3, 52, 0.5, "3x25 2x26"),
        (4, 51, 0.5, "4x17 3x32 2x1"),
        (5, 50, 0.5, "5x12 4x25 3x12"),
        (8, 47, 0.5, "8x7 7x13 6x13 5x12 4x1"),
        (5, 50, 1.0, "5x6 4x13 3x11 2x13 1x6"),
        (5, 50, 0.0, "5x49"),
        (1, 54, 0.5, "1x53"),
        (2, 53, 0.5, "2x52"),
    ],
)
def test_pyramidal_depth(k: int, modules: int, decay: float, expected: str) -> None:
    assert [copied_layers(k + 1, decay, i, modules) for i in range(modules - 1)] == runs(expected)


R32 = [16] * 6 + [32] * 5 + [64] * 5
R110 = [16] * 19 + [32] * 18 + [64] * 18


@pytest.mark.parametrize(
    ("widths", "layer", "copied", "expected"),
    [
        (R32, 0, 1, [(15, 64, 2)]),
        (R32, 0, 2, [(8, 32, 2), (15, 64, 2)]),
        (R32, 0, 3, [(5, 16, 1), (10, 32, 2), (15, 64, 2)]),
        (R32, 0, 5, [(3, 16, 1), (6, 32, 2), (9, 32, 1), (12, 64, 2), (15, 64, 1)]),
        (R32, 1, 5, [(4, 16, 1), (7, 32, 2), (9, 32, 1), (12, 64, 2), (15, 64, 1)]),
        (R32, 4, 4, [(7, 32, 2), (10, 32, 1), (12, 64, 2), (15, 64, 1)]),
        (R32, 9, 3, [(11, 64, 2), (13, 64, 1), (15, 64, 1)]),
        (R110, 0, 5, [(11, 16, 1), (22, 32, 2), (32, 32, 1), (43, 64, 2), (54, 64, 1)]),
        (R110, 4, 5, [(14, 16, 1), (24, 32, 2), (34, 32, 1), (44, 64, 2), (54, 64, 1)]),
        (R32, 13, 5, [(14, 64, 1), (15, 64, 1)]),  # fewer layers left than asked for: all of them
    ],
)
def test_selected_layers(
    widths: list[int], layer: int, copied: int, expected: list[tuple[int, int, int]]
) -> None:
    selected = uniform(layer, len(widths), copied)
    chosen = [widths[each] for each in selected]
    assert list(zip(selected, chosen, strides(widths[layer], chosen), strict=True)) == expected


def test_jump_of_four_is_carried_to_the_next_copy() -> None:
    assert strides(16, [64]) == [2]
    assert strides(16, [64, 64, 64]) == [2, 2, 1]
    assert strides(32, [64, 64]) == [2, 1]
    assert strides(64, [32, 64]) == [1, 2]  # channels that shrink, as in MobileNet, ask for nothing


def blocks_of(net: torch.nn.Module) -> list[tuple[int, int, int]]:
    found = [each for each in net.modules() if isinstance(each, BasicBlock)]
    return [
        (each.conv1.in_channels, each.conv1.out_channels, each.conv1.stride[0]) for each in found
    ]


def test_built_nets_are_the_selected_ones() -> None:
    learner = build_learner(recipe("auglocal", "resnet32", depth=6), CLASSES, 32)
    first = blocks_of(learner.independents["0"])
    assert first == [(16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
    assert blocks_of(learner.independents["9"]) == [(32, 64, 2), (64, 64, 1), (64, 64, 1)]


@pytest.mark.parametrize(
    ("selection", "layer", "expected"),
    [
        ("sequential", 4, [(16, 16, 1), (16, 32, 2), (32, 32, 1)]),
        ("repetitive", 0, [(16, 16, 1)] * 3),
        ("repetitive", 7, [(32, 32, 1)] * 3),
        ("repetitive-downsampled", 2, [(16, 16, 2), (16, 16, 2), (16, 16, 1)]),
        ("repetitive-downsampled", 7, [(32, 32, 2), (32, 32, 1), (32, 32, 1)]),
    ],
)
def test_other_selections(selection: str, layer: int, expected: list[tuple[int, int, int]]) -> None:
    options = AugLocal(depth=4, decay=0.0, selection=selection)  # type: ignore[arg-type]
    assert blocks_of(build_branch(options, attach_point(layer))) == expected


# The specification's list, but for 1x1 at d=2: its 23.9375 leaves BatchNorm out of the uniform
# nets' FLOPs (0.8 %); with the same counting on both sides, test_multiplier_of_shallow_1x1_nets, it
# is 24.125.
MULTIPLIERS = {
    1: dict(enumerate((24.125, 5.0625, 4.8125, 4.625, 4.5, 4.4375, 4.4375, 4.375), 2)),
    3: {2: 2.9375} | dict.fromkeys(range(3, 10), 1.4375),
}


def test_multiplier_of_shallow_1x1_nets() -> None:
    """ResNet-110, d=2, by hand: one 64R per attach point against one 1x1 convolution per point."""
    # inputs, side, number of cuts, stride, and whether the block has a shortcut of its own
    stages = [(16, 32, 19, 2, True), (32, 16, 18, 2, True), (64, 8, 16, 1, False)]
    target = 0
    for inputs, side, number, stride, shortcut in stages:
        positions = (side // stride) ** 2
        macs = 9 * inputs * 64 + 9 * 64 * 64 + (inputs * 64 if shortcut else 0)
        norms = 2 * 64 * (3 if shortcut else 2)
        # + pooling, BatchNorm1d, linear.
        target += number * ((macs + norms + 64) * positions + 2 * 64 + 640)

    def plain(multiplier: float) -> int:
        widths = [int(multiplier * inputs) for inputs, *_ in stages]
        return sum(
            number * ((inputs + 2 + 1) * width * side * side + 10 * width)
            for width, (inputs, side, number, *_) in zip(widths, stages, strict=True)
        )

    ends = partition_of(recipe("auglocal", "resnet110", depth=2)).ends
    assert auxiliary_flops(AugLocal(depth=2), cut_of(ends)) == target
    assert min((abs(plain(step / 16) - target), step / 16) for step in range(16, 640))[1] == 24.125


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("depth", range(2, 10))
def test_multipliers(kernel: int, depth: int) -> None:
    ends = partition_of(recipe("auglocal", "resnet110", depth=depth)).ends
    assert matched_width(kernel, AugLocal(depth=depth), cut_of(ends)) == MULTIPLIERS[kernel][depth]


def cut_of(ends: tuple[int, ...]) -> AttachPoint:
    whole = attach_point(0, "resnet110")
    return AttachPoint(
        layer=ends[0],
        module=0,
        modules=len(ends),
        ends=ends,
        specs=whole.specs,
        classes=CLASSES,
        image_side=32,
    )


@pytest.mark.parametrize("kernel", [1, 3])
def test_matched_nets_cost_what_uniform_ones_cost(kernel: int) -> None:
    """Counted on the built nets, not by the solver's formula.

    K below the number of layers works, too.
    """
    uniform_recipe = recipe("auglocal", "resnet32", 8, depth=3)
    plain = recipe("auglocal", "resnet32", 8, depth=3, selection=f"conv{kernel}x{kernel}")
    target, reached = heads_flops(uniform_recipe, 32), heads_flops(plain, 32)
    assert abs(reached / target - 1) < 0.05
    learner = build_learner(uniform_recipe, CLASSES, 32)
    ends = learner.partition.ends
    point = AttachPoint(0, 0, len(ends), ends, learner.chain.specs, CLASSES, 32)
    assert auxiliary_flops(AugLocal(depth=3), point) == target


def heads_flops(of: Recipe, side: int) -> int:
    with torch.device("meta"):
        learner = build_learner(of, CLASSES, side)
    total = 0
    for index, end in enumerate(learner.partition.ends[:-1]):
        spec = learner.chain.specs[end]
        for branch in learner.independents[str(index)].branches:  # type: ignore[union-attr]
            if isinstance(branch, Classifier):
                total += forward_flops(
                    lambda net=branch: net, (spec.channels, spec.side, spec.side)
                ).flops
    return total


def network_flops(network: str, side: int) -> int:
    return forward_flops(lambda: build_chain(network, CLASSES, side), (3, side, side)).flops


def test_flops_of_a_block_by_hand() -> None:
    """16 -> 32 with stride 2 on 8x8: three convolutions and three BatchNorms on 4x4."""
    counted = forward_flops(lambda: BasicBlock(16, 32, 2), (16, 8, 8))
    assert counted.macs == 16 * 32 * (9 * 16 + 9 * 32 + 16)
    assert counted.flops == counted.macs + 3 * 2 * 32 * 16


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("bp", {}, 69_759_616),
        ("auglocal", {"depth": 2}, 175_520_896),
        ("auglocal", {"depth": 3}, 175_407_872),
        ("auglocal", {"depth": 4}, 194_408_576),
        ("auglocal", {"depth": 5}, 222_944_768),
        ("auglocal", {"depth": 6}, 243_018_624),
        ("predsim", {}, 69_836_416),
        ("dgl", {}, 71_486_592),
        ("infopro", {}, 92_548_480),
    ],
)
def test_flops_of_resnet32(method: str, options: dict[str, int], expected: int) -> None:
    assert (
        network_flops("resnet32", 32) + heads_flops(recipe(method, "resnet32", **options), 32)
        == expected
    )


@pytest.mark.parametrize(
    ("method", "options", "giga"),
    [
        ("dgl", {}, "0.26"),
        ("infopro", {}, "0.34"),
        ("auglocal", {"depth": 2}, "0.63"),
        ("auglocal", {"depth": 4}, "0.80"),
        ("auglocal", {"depth": 5}, "0.98"),
        ("auglocal", {"depth": 6}, "1.13"),
    ],
)
def test_flops_of_resnet110_as_printed(method: str, options: dict[str, int], giga: str) -> None:
    total = network_flops("resnet110", 32) + heads_flops(recipe(method, "resnet110", **options), 32)
    assert f"{total / 1e9:.2f}" == giga


def test_architectures_as_printed() -> None:
    cells = load_table("auglocal-auxnets").cells
    assert sum(len(cell.published) for cell in cells) == 9
    for cell in cells:
        assert cell.recipe is not None
        if cell.published:
            assert architecture_of(cell.recipe, cell.row) == cell.published["architecture"].text, (
                cell
            )
    for cell in load_table("auglocal-ablation").cells:
        if cell.recipe is not None and "architecture" in cell.published:
            assert (
                architecture_of(cell.recipe, cell.column) == cell.published["architecture"].text
            ), cell


def test_architectures_that_are_not_legible() -> None:
    dgl = recipe_of("dgl", {}, network="resnet110", dataset="cifar10")
    assert architecture_of(dgl, "Stage 1") == "AP-16C1-16C1-16C1-AP-64FC-64FC-10FC"
    assert architecture_of(dgl, "Stage 2") == "AP-32C1-32C1-32C1-AP-128FC-128FC-10FC"
    assert architecture_of(dgl, "Stage 3") == "AP-64C1-64C1-64C1-AP-256FC-256FC-10FC"
    selection = ("repetitive-downsampled", "repetitive", "conv3x3-plain")
    mixed = recipe("auglocal", "resnet110", depth=6, decay=0.0, selection=selection)
    assert architecture_of(mixed, "Stage 1") == "16R(s2)-16R(s2)-16R-16R-16R-AP-10FC"
    assert architecture_of(mixed, "Stage 2") == "32R-32R-32R-32R-32R-AP-10FC"
    assert architecture_of(mixed, "Stage 3") == "64C3-64C3-64C3-64C3-64C3-AP-10FC"
    assert architecture_of(recipe("bp"), "Stage 1") == "none"
    assert architecture_of(recipe("hpff+infopro", "resnet14"), "Stage 3") == "64C3-AP-128FC-10FC"
    assert (
        architecture(build_branch(Head(net="2C3F"), attach_point(7)))
        == "64C3-64C3-AP-128FC-128FC-10FC"
    )


def test_architecture_needs_a_stage() -> None:
    with pytest.raises(UsageError, match="names no stage"):
        architecture_of(recipe("dgl"), "Replace with repe. in Stage 2")
