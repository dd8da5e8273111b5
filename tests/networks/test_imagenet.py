"""VGG13, ResNets and ResNeXt for ImageNet, compared with torchvision's."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
import torch
import torchvision.models as models
from specimens import CLASSES, attach_point, recipe
from step_contract import assert_contract
from torch import Tensor, nn

from locbench.errors import FailureError
from locbench.learning.auxiliary.branch import AttachPoint, AuxiliaryNet
from locbench.learning.learner import Learner, build_learner
from locbench.learning.modules import build_branch
from locbench.networks import resnet_imagenet, vgg
from locbench.networks.chain import Chain, build_chain
from locbench.networks.flops import forward_flops
from locbench.networks.layers import GlobalAveragePool
from locbench.networks.pretrained import load_state
from locbench.spec.components import AugLocal, Mlp
from locbench.spec.networks import NETWORKS, units_per_module
from locbench.spec.partition import partition_of
from locbench.spec.table_files import load_table
from locbench.spec.tables import Cell

PUBLISHED = {
    "vgg13": models.VGG13_BN_Weights.IMAGENET1K_V1,
    "resnet34": models.ResNet34_Weights.IMAGENET1K_V1,
    "resnet101": models.ResNet101_Weights.IMAGENET1K_V1,
    "resnet152": models.ResNet152_Weights.IMAGENET1K_V1,
    "resnext101-32x8d": models.ResNeXt101_32X8D_Weights.IMAGENET1K_V1,
}
"""What torchvision says of its networks; nothing is fetched."""

UNITS = {
    "vgg13": 10,
    "resnet34": 1 + 16,
    "resnet101": 1 + 33,
    "resnet152": 1 + 50,
    "resnext101-32x8d": 1 + 33,
}
BLOCKS = {"resnet34": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}


def meta_chain(name: str, classes: int = 1000, side: int = 224) -> Chain:
    with torch.device("meta"):
        return build_chain(name, classes, side)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_multiply_accumulates_are_torchvisions(name: str) -> None:
    meta = PUBLISHED[name].meta
    assert sum(each.numel() for each in meta_chain(name).parameters()) == meta["num_params"]
    macs = forward_flops(lambda: build_chain(name, 1000, 224), (3, 224, 224)).macs
    assert f"{macs / 1e9:.3f}" == f"{meta['_ops']:.3f}"


@pytest.mark.parametrize("name", PUBLISHED)
def test_local_layers(name: str) -> None:
    specs = meta_chain(name).specs
    assert len(specs) == NETWORKS[name].units == UNITS[name]
    assert "ImageNet" in NETWORKS[name].label
    if name == "vgg13":
        expected = [
            (width, side)
            for width, side in zip((64, 128, 256, 512, 512), (224, 112, 56, 28, 14), strict=True)
        ]
        assert [(each.channels, each.side) for each in specs] == [
            each for each in expected for _ in range(2)
        ]
        return
    expansion = 1 if name == "resnet34" else 4
    blocks = BLOCKS[name.replace("resnext101-32x8d", "resnet101")]
    stages = [(1, 64, 56), (2, 128, 28), (3, 256, 14), (4, 512, 7)]
    layers = [
        (stage, width * expansion, width, side)
        for count, (stage, width, side) in zip(blocks, stages, strict=True)
        for _ in range(count)
    ]
    assert [(each.stage, each.channels, each.base_width, each.side) for each in specs] == [
        (0, 64, 64, 56),
        *layers,
    ]


def twin(name: str, classes: int = 1000) -> tuple[nn.Module, Chain]:
    """Return torchvision's network with random weights and statistics, and a chain without any."""
    with torch.device("meta"):
        theirs = models.get_model(NETWORKS[name].torchvision, num_classes=classes)
        ours = build_chain(name, classes, 64)
    theirs, ours = theirs.to_empty(device="cpu"), ours.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, each in theirs.state_dict().items():
            if key.endswith("num_batches_tracked"):
                each.zero_()
            elif key.endswith("running_var") or each.dim() == 1:
                each.uniform_(0.5, 1.5, generator=generator)
            else:
                each.uniform_(-1, 1, generator=generator).mul_((2 / each[0].numel()) ** 0.5)
    return theirs, ours


@pytest.mark.parametrize("name", PUBLISHED)
def test_chain_computes_what_torchvision_computes(name: str) -> None:
    theirs, ours = twin(name)
    load_state(ours, name, theirs.state_dict())
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for net in (theirs, ours):
            net.eval()
        expected = theirs(images)
        assert expected.isfinite().all()
        assert expected.std() > 0
        assert torch.equal(ours(images), expected)
        if name == "resnet34":  # and in training, with its statistics
            assert torch.equal(ours.train()(images), theirs.train()(images))
            assert torch.equal(ours.units[-1].bn2.running_mean, theirs.layer4[-1].bn2.running_mean)  # type: ignore[union-attr, index]


def test_weights_of_another_number_of_classes_leave_the_classifier() -> None:
    theirs, _ = twin("resnet34")
    ours = build_chain("resnet34", CLASSES, 64)
    before = ours.head[-1].weight.clone()  # type: ignore[index]
    load_state(ours, "resnet34", theirs.state_dict())
    assert torch.equal(ours.head[-1].weight, before)  # type: ignore[index]
    assert torch.equal(ours.units[1].conv1.weight, theirs.layer1[0].conv1.weight)  # type: ignore[union-attr, index]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda weights: weights.pop("layer2.1.bn1.weight"), "'units.5.bn1.weight' is missing"),
        (
            lambda weights: weights.update({"layer9.0.conv1.weight": torch.zeros(1)}),
            "'layer9.0.conv1.weight' is unknown",
        ),
        (
            lambda weights: weights.update({"conv1.weight": torch.zeros(64, 3, 3, 3)}),
            r"\(64, 3, 3, 3\) instead of",
        ),
    ],
)
def test_weights_of_another_network_are_refused(change: Any, match: str) -> None:
    with torch.device("meta"):
        weights: dict[str, Tensor] = dict(models.resnet34().state_dict())
    change(weights)
    with pytest.raises(FailureError, match=match) as refused:
        load_state(meta_chain("resnet34"), "resnet34", weights)
    assert "torchvision's weights of resnet34" in str(refused.value.remedy)


def test_initial_weights() -> None:
    """As torchvision draws them: He over the outputs, and N(0, 0.01) for VGG's linear layers."""
    torch.manual_seed(0)
    conv = build_chain("resnet34", CLASSES, 64).units[-1].conv2.weight.detach()  # type: ignore[union-attr, operator]
    assert float(conv.std()) == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)
    net = build_chain("vgg13", CLASSES, 32)
    wide = [each for each in net.modules() if isinstance(each, nn.Linear)][1]
    assert float(wide.weight.detach().std()) == pytest.approx(0.01, rel=0.01)
    assert all(
        each.bias is not None and not each.bias.any()
        for each in net.modules()
        if isinstance(each, nn.Linear | nn.Conv2d)
    )
    last = [each for each in net.modules() if isinstance(each, nn.Conv2d)][-1]
    assert float(last.weight.detach().std()) == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)


# (stage, block) after which the official code cuts, stages from 1 and blocks from 0; the end is not
# in the lists.
CUTS = {
    ("resnet101", 2): [(2, 0)],
    ("resnet152", 2): [(2, 5)],
    ("resnext101-32x8d", 2): [(2, 2)],
    **{
        (name, 4): [(3, 0), (3, 9), (3, 17)]
        for name in ("resnet101", "resnet152", "resnext101-32x8d")
    },
    **{
        (name, 8): [(2, 0), (3, 1), (3, 5), (3, 9), (3, 13), (3, 17), (3, 21)]
        for name in ("resnet101", "resnet152", "resnext101-32x8d")
    },
}


@pytest.mark.parametrize(("name", "modules"), CUTS)
def test_published_splits(name: str, modules: int) -> None:
    blocks = BLOCKS[name.replace("resnext101-32x8d", "resnet101")]
    before = dict(enumerate(accumulate(blocks, initial=0), 1))
    # The stem is layer 0.
    ends = [before[stage] + block + 1 for stage, block in CUTS[name, modules]]
    split = units_per_module(name, modules)
    assert list(accumulate(split)) == [*(end + 1 for end in ends), UNITS[name]]
    specs = meta_chain(name).specs
    if modules == 2:
        assert [(specs[end].channels, specs[end].side) for end in ends] == [(512, 28)]
    if modules == 4:
        assert [(specs[end].channels, specs[end].side) for end in ends] == [(1024, 14)] * 3
        assert [split[0] - 1, *split[1:]] == (
            [12, 9, 8, 21] if name == "resnet152" else [8, 9, 8, 8]
        )


def test_vgg13_is_cut_after_every_convolution() -> None:
    assert units_per_module("vgg13", 10) == units_per_module("vgg13", None) == (1,) * 10
    assert units_per_module("vgg13", 4) == (3, 3, 3, 1)


def large_cut(layer: int, network: str) -> AttachPoint:
    specs = meta_chain(network).specs
    ends = tuple(range(len(specs)))
    return AttachPoint(layer, layer, len(specs), ends, specs, 1000, 224)


def net_at(network: str, layer: int, copied: int) -> AuxiliaryNet:
    with torch.device("meta"):
        return build_branch(
            AugLocal(depth=copied + 1, decay=0.0, head_bn=False), large_cut(layer, network)
        )


def blocks_of(net: nn.Module) -> list[tuple[int, int, int]]:
    """Return input channels, output channels and stride of the copied blocks."""
    found = []
    for each in net.modules():
        if isinstance(each, resnet_imagenet.BasicBlock):
            found.append((each.conv1.in_channels, each.conv2.out_channels, each.conv1.stride[0]))
        if isinstance(each, resnet_imagenet.Bottleneck):
            found.append((each.conv1.in_channels, each.conv3.out_channels, each.conv2.stride[0]))
    return found


@pytest.mark.parametrize(
    ("network", "layer", "copied", "expected"),
    [
        (
            "resnet34",
            0,
            4,
            [(64, 128, 2), (128, 256, 2), (256, 256, 1), (256, 512, 2)],
        ),  # 4, 8, 12, 16
        ("resnet34", 0, 1, [(64, 512, 2)]),
        (
            "resnet34",
            9,
            4,
            [(256, 256, 1), (256, 256, 1), (256, 512, 2), (512, 512, 1)],
        ),  # 10.75, 12.5, 14.25, 16
        ("resnet34", 14, 4, [(512, 512, 1)] * 2),
        # 8, 16, 25, 33: the base width goes from 64 to 256, so two copies stride, though 16 times
        # the channels come out
        ("resnet101", 0, 4, [(64, 1024, 2), (1024, 1024, 2), (1024, 1024, 1), (1024, 2048, 2)]),
        (
            "resnet101",
            4,
            4,
            [(512, 1024, 2), (1024, 1024, 1), (1024, 1024, 1), (1024, 2048, 2)],
        ),  # 11, 18, 26, 33
        (
            "resnet101",
            3,
            2,
            [(256, 1024, 2), (1024, 2048, 2)],
        ),  # 18, 33; a halving of the first is left to the second
        ("resnet101", 32, 4, [(2048, 2048, 1)]),
    ],
)
def test_copied_blocks(
    network: str, layer: int, copied: int, expected: list[tuple[int, int, int]]
) -> None:
    net = net_at(network, layer, copied)
    assert blocks_of(net) == expected
    assert [type(each) for each in net.net.children()][-3:] == [
        GlobalAveragePool,
        nn.Flatten,
        nn.Linear,
    ]  # type: ignore[union-attr]


def test_copied_bottlenecks_keep_their_groups() -> None:
    net = net_at("resnext101-32x8d", 0, 1)
    (block,) = (each for each in net.modules() if isinstance(each, resnet_imagenet.Bottleneck))
    assert (block.conv2.in_channels, block.conv2.groups) == (512 * 8 // 64 * 32, 32)


def test_nets_of_vgg13() -> None:
    """Layers 2, 4, 7 and 9, pooled before the first three, then 512 averages and three layers."""
    net = net_at("vgg13", 0, 4)
    kinds = (nn.MaxPool2d, nn.Conv2d, nn.AdaptiveAvgPool1d, nn.BatchNorm1d, nn.Linear)
    names = [type(each).__name__ for each in net.modules() if isinstance(each, kinds)]
    assert names[:7] == ["MaxPool2d", "Conv2d"] * 3 + ["Conv2d"]
    assert names[7:] == ["AdaptiveAvgPool1d", *["Linear", "BatchNorm1d"] * 2, "Linear"]
    convs = 9 * (64 * 128 + 128 * 256 + 256 * 512 + 512 * 512) + 3 * (128 + 256 + 512 + 512)
    linears = 2 * (512 * 512 + 512 + 2 * 512) + 512 * 1000 + 1000
    assert sum(each.numel() for each in net.parameters()) == convs + linears
    assert net(torch.empty(2, 64, 224, 224, device="meta")).shape == (2, 1000)


def test_dgl_on_vgg13() -> None:
    for layer, first, channels in ((0, 56, 64), (3, 28, 128), (5, 14, 256), (7, 7, 512)):
        with torch.device("meta"):
            net = build_branch(Mlp(), large_cut(layer, "vgg13"))
        assert [
            each.output_size for each in net.modules() if isinstance(each, nn.AdaptiveAvgPool2d)
        ] == [first, 2]
        linears = [each for each in net.modules() if isinstance(each, nn.Linear)]
        assert [each.in_features for each in linears] == [4 * channels] * 3
        assert linears[-1].out_features == 1000


@pytest.mark.parametrize("name", ["vgg13", "resnet34", "resnet101"])
def test_every_layer_below_the_last_has_a_net(name: str) -> None:
    options = {"depth": 5, "decay": 0, "merge_top": False, "head_bn": False}
    chosen = recipe("auglocal", name, **options)
    assert partition_of(chosen).ends == tuple(range(UNITS[name]))
    with torch.device("meta"):
        learner = Learner(build_chain(name, 1000, 224), partition_of(chosen), chosen.composition)
        assert list(learner.independents) == [str(index) for index in range(UNITS[name] - 1)]
        x = torch.empty(2, 3, 224, 224)
        for index, auxiliary in learner.independents.items():
            x = learner.run_module(int(index), x)
            assert auxiliary.branches[0](x).shape == (2, 1000)  # type: ignore[index, operator, union-attr]
        assert learner.run_module(UNITS[name] - 1, x).shape == (2, 1000)


AUGLOCAL = {"depth": 5, "decay": 0, "merge_top": False, "head_bn": False}
PAIRS: list[tuple[str, str, int | None, dict[str, Any]]] = [
    ("vgg13", "bp", None, {}),
    ("vgg13", "dgl", None, {}),
    ("vgg13", "auglocal", None, AUGLOCAL),
    ("resnet34", "bp", None, {}),
    ("resnet34", "auglocal", None, AUGLOCAL),
    ("resnet101", "bp", None, {}),
    ("resnet101", "auglocal", 8, AUGLOCAL),
    ("resnet152", "bp", None, {}),
    ("resnext101-32x8d", "bp", None, {}),
    ("resnext101-32x8d", "dgl", 4, {}),
]


@pytest.mark.parametrize(("network", "method", "modules", "options"), PAIRS)
def test_one_training_step(
    network: str,
    method: str,
    modules: int | None,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With an eighth of the channels."""
    monkeypatch.setattr(vgg, "WIDTHS", (8, 16, 32, 64, 64))
    monkeypatch.setattr(vgg, "HIDDEN", 16)
    monkeypatch.setattr(resnet_imagenet, "WIDTHS", (8, 16, 32, 64))
    monkeypatch.setattr(resnet_imagenet, "STEM", 8)
    assert_contract(recipe(method, network, modules, **options), 32)


def test_these_are_the_pairs_of_the_table() -> None:
    named = {
        (each.network, each.method)
        for each in (cell.recipe for cell in table_cells())
        if each is not None
    }
    assert named <= {(network, method) for network, method, _, _ in PAIRS}
    for cell in table_cells():
        assert cell.recipe is not None
        if cell.recipe.method == "auglocal":
            assert (
                cell.recipe.composition
                == recipe("auglocal", cell.recipe.network, **AUGLOCAL).composition
            )


def table_cells() -> list[Cell]:
    memory = [
        cell for cell in load_table("auglocal-memory").cells if cell.row.startswith("ImageNet")
    ]
    assert len(memory) == 4
    return [*load_table("auglocal-imagenet").cells, *memory]


def test_table_as_printed() -> None:
    """Typed from the paper, apart from the file; the schedules are those of appendix A.2."""
    table = load_table("auglocal-imagenet")
    assert table.values == 14
    printed = {cell.row: [] for cell in table.cells}  # type: dict[str, list[str]]
    for cell in table.cells:
        printed[cell.row] += [each.text for each in cell.published.values()]
    assert printed["VGG13 / DGL"] == ["67.32", "87.81"]
    assert printed["VGG13 / AugLocal"] == ["70.92", "90.13"]
    assert printed["ResNet-34 / BP"] == ["74.28", "91.76"]
    assert printed["ResNet-101 / AugLocal"] == ["76.70", "93.29"]
    schedules = {
        "vgg13": (90, 256, 0.1),
        "resnet34": (200, 1024, 0.4),
        "resnet101": (200, 512, 0.2),
    }
    for cell in table_cells():
        assert cell.recipe is not None
        assert (cell.recipe.epochs, cell.recipe.batch_size, cell.recipe.lr) == schedules[
            cell.recipe.network
        ]
        assert (cell.recipe.dataset, cell.recipe.warmup_epochs, cell.recipe.modules) == (
            "imagenet",
            0,
            None,
        )


def test_a_thousand_classes_on_the_meta_device() -> None:
    with torch.device("meta"):
        learner = build_learner(recipe("dgl", "vgg13"), 1000, 224)
    heads = [
        each[-1] for each in learner.modules() if isinstance(each, nn.Sequential) and len(each)
    ]
    assert sum(isinstance(each, nn.Linear) and each.out_features == 1000 for each in heads) == 10


def test_images_of_other_sizes_pass() -> None:
    for name in PUBLISHED:
        for side in (16, 33):
            chain, x = meta_chain(name, CLASSES, side), torch.empty(2, 3, side, side, device="meta")
            for unit, spec in zip(chain.units, chain.specs, strict=True):
                x = unit(x)
                assert x.shape[1:] == (spec.channels, spec.side, spec.side)
            assert chain.head(x).shape == (2, CLASSES)


def test_equal_layers_compare_equal_between_builds() -> None:
    """Solved multipliers are remembered by the layers' specs."""
    for name in ("resnext101-32x8d", "vgg13", "mobilenetv2", "efficientnet-b0", "regnetx-400mf"):
        assert attach_point(0, name).specs == attach_point(0, name).specs
        assert hash(attach_point(0, name).specs) == hash(attach_point(0, name).specs)
