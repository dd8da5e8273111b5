"""Parameter totals against the specification's and those that PGL prints."""

from __future__ import annotations

import pytest
import torch
from specimens import attach_point
from torch import nn

from locbench.costs.counts import parameter_counts
from locbench.learning.modules import build_branch
from locbench.spec.components import AugLocal, Branch, Decoder, Head, Mlp
from locbench.spec.table_files import load_table
from locbench.spec.validation import make_recipe

LAYER = {16: 3, 32: 7, 64: 12}
"""A local layer of ResNet-32 for each width."""


def counts(
    method: str, network: str = "resnet32", modules: int | None = None, **options: object
) -> tuple[int, int]:
    settings = {
        "network": network,
        "dataset": "cifar10",
        "epochs": 160,
        "batch_size": 1024,
        "lr": 0.8,
    }
    found = parameter_counts(
        make_recipe({**settings, "method": method, "modules": modules, "options": options})
    )
    return found["primary"], found["auxiliary"]


def size(options: Branch, channels: int, **where: int) -> int:
    with torch.device("meta"):
        return parameters(build_branch(options, attach_point(LAYER[channels], **where)))


def parameters(net: nn.Module) -> int:
    return sum(each.numel() for each in net.parameters())


@pytest.mark.parametrize(("network", "expected"), [("resnet32", 466_906), ("resnet110", 1_730_714)])
def test_bare_networks(network: str, expected: int) -> None:
    assert counts("bp", network) == (expected, 0)


PGL = {
    "1C2F": (855_280, 647_008, 551_864, 495_076),
    "2C2F": (1_243_888, 822_816, 635_128, 532_068),
    "adapt": (984_240, 707_872, 577_656, 511_588),
    "1C1F": (743_536, 595_616, 528_760, 486_116),
}
PGL110 = {
    "1C2F": (2_119_088, 1_928_800, 1_815_672, 1_758_884),
    "adapt": (2_257_328, 1_996_896, 1_841_464, 1_775_396),
}
BLOCKS = (16, 8, 4, 2)


@pytest.mark.parametrize("net", PGL)
@pytest.mark.parametrize(("index", "blocks"), list(enumerate(BLOCKS)))
def test_pgl_totals(net: str, index: int, blocks: int) -> None:
    assert sum(counts("head", modules=blocks, net=net)) == PGL[net][index]
    assert sum(counts("pgl+head", modules=blocks, net=net)) == PGL[net][index]


@pytest.mark.parametrize("net", PGL110)
@pytest.mark.parametrize(("index", "blocks"), list(enumerate(BLOCKS)))
def test_pgl_totals_of_resnet110(net: str, index: int, blocks: int) -> None:
    assert sum(counts("head", "resnet110", blocks, net=net)) == PGL110[net][index]


@pytest.mark.parametrize(
    ("network", "loss", "totals"),
    [
        ("resnet32", "softmax", (916_021, 675_469, 565_049, 498_895)),
        ("resnet32", "contrast", (1_144_351, 782_023, 610_715, 514_117)),
        ("resnet110", "softmax", (2_179_829, 1_958_989, 1_828_857, 1_762_703)),
    ],
)
def test_infopro_totals(network: str, loss: str, totals: tuple[int, ...]) -> None:
    assert tuple(sum(counts("infopro", network, blocks, loss=loss)) for blocks in BLOCKS) == totals


def test_literal_stem_of_aux_adapt() -> None:
    assert sum(counts("head", modules=16, net="adapt", literal_stem=True)) == 993_520


def test_pgl_prints_these_totals_in_millions() -> None:
    table = load_table("pgl-costs")
    cells = [cell for cell in table.cells if "params" in cell.published and cell.row != "Backprop"]
    assert len(cells) == 20
    for cell in cells:
        assert cell.recipe is not None
        total = sum(parameter_counts(cell.recipe).values())
        assert f"{total / 1e6:.2f}" == cell.published["params"].text, (cell.row, cell.column, total)


HEADS = {
    "0C1F": (170, 330, 650),
    "0C2F": (3_466, 5_514, 9_610),
    "1C1F": (5_002, 19_210, 37_642),
    "1C2F": (10_186, 28_170, 46_602),
    "1C3F": (26_698, 44_682, 63_114),
    "2C2F": (19_466, 65_162, 83_594),
}


@pytest.mark.parametrize("net", HEADS)
def test_heads_by_width(net: str) -> None:
    assert tuple(size(Head(net=net), width) for width in LAYER) == HEADS[net]  # type: ignore[arg-type]


def test_contrastive_head_and_decoder_by_width() -> None:
    assert tuple(size(Head(loss="contrast"), width) for width in LAYER) == (25_408, 43_392, 61_824)
    assert tuple(size(Decoder(), width) for width in LAYER) == (2_091, 3_819, 7_275)
    assert tuple(size(Decoder(quadrants=True), width) for width in LAYER) == (
        4 * 2_091,
        4 * 3_819,
        4 * 7_275,
    )


@pytest.mark.parametrize("side", [32, 96])
@pytest.mark.parametrize("patches", [1, 2])
def test_dgl_nets_by_width(side: int, patches: int) -> None:
    sizes = {
        "official": (14_378, 54_858, 214_154),
        "auglocal": (9_962, 37_834, 147_338),
        # Without the three 1x1 convolutions and their BatchNorms: 3 (c^2 + 2c) fewer.
        "mlp": tuple(
            n - 3 * (c * c + 2 * c) for n, c in zip((14_378, 54_858, 214_154), LAYER, strict=True)
        ),
        # Two 3x3 convolutions, three BatchNorms, 4c -> 10.
        "cnn": tuple(2 * 9 * c * c + 3 * 2 * c + 40 * c + 10 for c in LAYER),
    }
    for variant, expected in sizes.items():
        options = Mlp(variant=variant)  # type: ignore[arg-type]
        assert (
            tuple(size(options, width, side=side, patches=patches) for width in LAYER) == expected
        ), variant


@pytest.mark.parametrize(
    ("depth", "small", "large"),
    [
        (2, 806_412, 4_897_068),
        (3, 1_341_058, 7_672_290),
        (4, 1_511_608, 8_971_416),
        (5, 1_705_390, 10_775_182),
        (6, 1_684_388, 12_010_180),
    ],
)
def test_auglocal_totals(depth: int, small: int, large: int) -> None:
    assert counts("auglocal", "resnet32", depth=depth)[1] == small
    assert sum(counts("auglocal", "resnet110", depth=depth)) == large


def test_dgl_predsim_infopro_in_auglocals_form() -> None:
    assert counts("dgl")[1] == 838_294
    assert counts("predsim")[1] == 76_950 + 207_360
    assert counts("infopro")[1] == 388_374 + 60_741
    assert sum(counts("dgl", "resnet110")) == 5_105_750
    assert sum(counts("predsim", "resnet110")) == 2_844_086
    assert sum(counts("infopro", "resnet110")) == 3_455_688


def test_hpff_has_one_net_per_window_more() -> None:
    """R32 K=16: DGL nets on 15 cuts, and again on the 14 cuts that end a window below the top."""
    il = 6 * 9_962 + 5 * 37_834 + 4 * 147_338
    assert counts("hpff+dgl")[1] == il + il - 9_962
    assert counts("hpff+dgl", levels="CL")[1] == il - 9_962
    assert counts("hpff+dgl", levels="IL")[1] == il
    assert counts("hpff+dgl", pff=0)[1] == 2 * il - 9_962
    heads = 6 * 19_466 + 5 * 65_162 + 4 * 83_594
    decoders = 5 * 2_091 + 5 * 3_819 + 4 * 7_275
    assert counts("hpff+infopro", net="2C2F")[1] == 2 * heads - 19_466 + decoders


def test_depth_one_head_has_batchnorm() -> None:
    """By hand: a block from 16 to 64 channels, BatchNorm1d, and a layer from 64 to 10.

    The block has 9*16*64 + 9*64*64 + 16*64 + 3*2*64 parameters, the others have 128 and 650.
    """
    block = 9 * 16 * 64 + 9 * 64 * 64 + 16 * 64 + 3 * 128
    assert size(AugLocal(depth=2), 16) == block + 128 + 650
    assert size(AugLocal(depth=2, head_bn=False), 16) == block + 650
