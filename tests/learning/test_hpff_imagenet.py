"""HPFF on ImageNet: steps of both levels, and Tables 2, 3 and 4b as printed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from specimens import assert_same, attach_point, batch, gradients, recipe_of
from step_contract import assert_contract
from torch import Tensor

from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.trace import trace_step
from locbench.errors import UsageError
from locbench.learning.auxiliary.branch import AuxiliaryNet, Targets
from locbench.learning.auxiliary.infopro import (
    build_decoder,
)
from locbench.learning.learner import Learner, build_learner
from locbench.learning.modules import Auxiliary
from locbench.networks import resnet_imagenet, vgg
from locbench.spec.components import Cascade, Composition, Decoder, Head, Patches
from locbench.spec.expression import compose
from locbench.spec.methods import MethodContext
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table
from locbench.spec.tables import Table

NETWORKS = ("resnet101", "resnet152", "resnext101-32x8d")
STARRED = {"reconstruction_weight": [5, 5], "task_weight": [0.75, 0.75]}


HEAD_1024, DECODER_1024 = 5_135_336, 228_995
"""Parameters, counted by hand in the tests of InfoPro's nets."""


def test_patches_without_a_pixel_are_refused() -> None:
    """ResNet-101 leaves one pixel of sixteen after its third stage."""
    with pytest.raises(UsageError, match="1 x 1 cannot be cut into 2 x 2 patches"):
        build_learner(imagenet_recipe("hpff+infopro"), 10, 16)
    with pytest.raises(UsageError, match="1 x 1 cannot be cut into 2 x 2 patches"):
        build_learner(imagenet_recipe("hpff+dgl", "vgg13", 10), 10, 16)
    whole = attach_point(8, "resnet101", side=16)
    assert build_decoder(Decoder(variant="doubling"), whole)(torch.randn(2, 1024, 1, 1)).shape == (
        2,
        3,
        16,
        16,
    )


def composed(
    method: str, network: str, dataset: str = "imagenet", modules: int = 4, **options: Any
) -> Composition:
    return compose(
        method, options, MethodContext(network=network, dataset=dataset, modules=modules)
    )


@pytest.mark.parametrize("network", NETWORKS)
def test_nets_and_weights_of_imagenets_networks(network: str) -> None:
    task = 1.0 if network == "resnet152" else 0.75
    head, decoder = composed("infopro", network).branches
    assert head == Head(net="imagenet", weight=(task, task))
    assert decoder == Decoder(variant="doubling", weight=(5.0, 5.0))
    assert composed("infopro", network, modules=2).branches == (head, decoder)
    head, decoder = composed("infopro", network, net="2C2F", decoder="resize").branches
    assert (head, decoder) == (Head(net="2C2F", weight=(task, task)), Decoder(weight=(5.0, 5.0)))
    assert composed("reconstruction+auglocal", network).branches[-1] == Decoder(
        variant="doubling", weight=(5.0, 5.0)
    )


@pytest.mark.parametrize("network", ["resnet32", "vgg19", "resnet34"])
def test_nets_of_other_networks_are_what_they_were(network: str) -> None:
    head, decoder = composed("infopro", network, "cifar10", 16).branches
    assert head == Head(weight=(0.05, 0.5))
    assert decoder == Decoder(weight=(5.0, 0.2))
    chosen = composed(
        "infopro", network, "cifar10", 16, net="imagenet", decoder="doubling"
    ).branches
    assert chosen == (
        Head(net="imagenet", weight=(0.05, 0.5)),
        Decoder(variant="doubling", weight=(5.0, 0.2)),
    )


def test_levels_of_infopro() -> None:
    """The independent level has the classifier alone, the cascade level both.

    Patches are the paper's.
    """
    made = composed("hpff+infopro", "resnet152", **STARRED)
    assert made.branches == (
        Head(net="imagenet", level="independent"),
        Head(net="imagenet", level="cascade", weight=(0.75, 0.75)),
        Decoder(variant="doubling", level="cascade", weight=(5.0, 5.0)),
    )
    assert made.patches == Patches(n=2)
    assert made.routing == Cascade()
    code = composed("hpff+infopro", "resnet152", levels="CL", pff_scope="cascade_decoder")
    assert [each.quadrants for each in code.branches if isinstance(each, Decoder)] == [True]


@pytest.mark.parametrize("network", NETWORKS)
def test_learners_at_full_size(network: str) -> None:
    plain, starred = (imagenet_recipe(method, network) for method in ("infopro", "hpff+infopro"))
    with torch.device("meta"):
        first, second = (build_learner(each, 1000, 224) for each in (plain, starred))
    assert first.parameter_counts()["auxiliary"] == 3 * (HEAD_1024 + DECODER_1024)
    # Three independent classifiers; windows end at the second and third module, and at the
    # network's end.
    assert second.parameter_counts()["auxiliary"] == 3 * HEAD_1024 + 2 * (HEAD_1024 + DECODER_1024)
    assert [weights(first, "independents", index) for index in range(3)] == [
        plain_weights(network)
    ] * 3
    assert [weights(second, "independents", index) for index in range(3)] == [[1.0]] * 3
    assert [weights(second, "cascades", index) for index in (1, 2)] == [plain_weights(network)] * 2


def plain_weights(network: str) -> list[float]:
    return [1.0 if network == "resnet152" else 0.75, 5.0]


def weights(net: Learner, level: str, index: int) -> list[float]:
    auxiliary = getattr(net, level)[str(index)]
    assert isinstance(auxiliary, Auxiliary)
    return auxiliary.weights


def imagenet_recipe(
    method: str, network: str = "resnet101", modules: int | None = 4, **settings: Any
) -> Recipe:
    options = settings.pop("options", {})
    return recipe_of(method, options, network=network, modules=modules, **settings)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eighth of the channels."""
    monkeypatch.setattr(resnet_imagenet, "WIDTHS", (8, 16, 32, 64))
    monkeypatch.setattr(resnet_imagenet, "STEM", 8)
    monkeypatch.setattr(vgg, "WIDTHS", (8, 16, 32, 64, 64))
    monkeypatch.setattr(vgg, "HIDDEN", 16)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("network", ["resnet101", "resnext101-32x8d"])
def test_one_step_of_infopro(network: str) -> None:
    assert_contract(imagenet_recipe("infopro", network), 64)


def stepped(net: Learner, data: tuple[Tensor, Targets]) -> dict[str, Tensor]:
    net.zero_grad()
    torch.manual_seed(3)
    output = net.step(*data)
    assert output.losses.isfinite().all()
    return gradients(net)


STEPS: list[tuple[str, str, int, dict[str, Any]]] = [
    ("hpff+infopro", "resnet101", 4, {}),
    ("hpff+infopro", "resnet101", 4, {"pff": 0, "levels": "CL"}),
    ("hpff+dgl", "vgg13", 10, {"variant": "official"}),
]


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(("method", "network", "modules", "options"), STEPS)
def test_one_step_of_hpff(method: str, network: str, modules: int, options: dict[str, Any]) -> None:
    """Every parameter learns, and a gradient goes back as far as a window of two modules."""
    net = build_learner(imagenet_recipe(method, network, modules, options=options), 20, 64)
    data = batch(4, 64, torch.float32)
    before = stepped(net, data)
    assert all(each.grad is not None and each.grad.isfinite().all() for each in net.parameters())
    for changed in (modules - 1, modules - 2):
        with torch.no_grad():
            for each in net.local_parameters(changed):
                each.mul_(1.1).add_(0.05)
        after = stepped(net, data)
        same = [unchanged(net, index, before, after) for index in range(changed)]
        assert same == [True] * (changed - 1) + [False]


def unchanged(
    net: Learner, index: int, before: dict[str, Tensor], after: dict[str, Tensor]
) -> bool:
    own = tuple(f"chain.units.{unit}." for unit in net.partition.ranges[index])
    return all(
        torch.equal(each, after[name]) for name, each in before.items() if name.startswith(own)
    )


@pytest.mark.usefixtures("narrow")
def test_lean_memory_gives_the_same_gradients() -> None:
    found = []
    for memory in ("plain", "lean"):
        net = build_learner(imagenet_recipe("infopro", memory=memory), 20, 64).double()
        found.append(stepped(net, batch(4, 64)))
    assert_same(*found)


def test_dgl_on_vgg13() -> None:
    """MLP-SR of DGL's own code on nine of ten layers: three convolutions, three hidden layers."""
    chosen = imagenet_recipe("dgl", "vgg13", 10, options={"variant": "official"})
    starred = imagenet_recipe("hpff+dgl", "vgg13", 10, options={"variant": "official"})
    nets = []
    for c in (64, 64, 128, 128, 256, 256, 512, 512, 512):
        width = 4 * c
        nets.append(
            3 * (c * c + 2 * c) + 3 * (width * width + width + 2 * width) + width * 1000 + 1000
        )
    with torch.device("meta"):
        assert build_learner(chosen, 1000, 224).parameter_counts()["auxiliary"] == sum(nets)
        learner = build_learner(starred, 1000, 224)
    assert learner.parameter_counts()["auxiliary"] == 2 * sum(nets) - nets[0]
    assert list(learner.cascades) == [str(index) for index in range(1, 9)]


def test_hpff_needs_less_memory_than_backpropagation() -> None:
    """At the paper's batch, on tensors that hold nothing."""
    setting = TraceOptions(batch_size=128, side=224, classes=1000)
    whole, starred = (
        trace_step(imagenet_recipe(method), setting).peak for method in ("bp", "hpff+infopro")
    )
    assert starred < whole


# Typed from the paper: BP, the method, the method with HPFF; top-1 and top-5; then the printed
# drops.
TABLE_2 = {
    "VGG13 K=10": ("DGL", "28.41 9.63", "35.60 14.20", "32.49 11.22", "3.11 2.98"),
    "ResNet-101 K=4": ("InfoPro", "22.03 5.93", "22.81 6.54", "21.14 5.49", "1.67 1.05"),
    "ResNet-152 K=4": ("InfoPro", "21.60 5.92", "22.93 6.71", "20.99 5.29", "1.94 1.42"),
    "ResNeXt-101 32x8d K=4": ("InfoPro", "20.64 5.40", "21.69 6.11", "19.94 5.09", "1.75 1.02"),
}
TABLE_3 = {
    "ResNet-101": ("19.71", "15.87", "19.5"),
    "ResNet-152": ("26.29", "20.79", "20.9"),
    "ResNeXt-101 32x8d": ("19.22", "15.41", "19.8"),
}
TABLE_4B = {
    "IL": ("22.81 6.54", ""),
    "CL": ("22.12 5.99", "0.69 0.55"),
    "IL+CL": ("21.35 5.68", "1.46 0.86"),
    "IL+CL+PFF": ("21.14 5.49", "1.67 1.05"),
}


def printed(table: Table, row: str) -> str:
    cells = [each for each in table.cells if each.row == row]
    return " ".join(published.text for each in cells for published in each.published.values())


def drops(table: Table, row: str) -> str:
    texts = [text for derived in table.derived for text in derived.printed.get(row, [])]
    return " ".join(text for text in texts if text)


def test_table_2_as_printed() -> None:
    table = load_table("hpff-imagenet")
    assert table.values == 24
    assert len(table.rows) == 12
    for network, (method, *errors, fall) in TABLE_2.items():
        rows = [f"{network} / {name}" for name in ("BP", method, f"{method}*")]
        assert [printed(table, row) for row in rows] == errors
        assert drops(table, rows[2]) == fall
        assert [derived.against[rows[2]] for derived in table.derived] == [rows[1]] * 2
        before, after = (each.split() for each in errors[1:])
        assert [
            f"{float(a) - float(b):.2f}" for a, b in zip(before, after, strict=True)
        ] == fall.split()


def test_table_3_as_printed() -> None:
    table = load_table("hpff-memory")
    for network, (whole, starred, reduction) in TABLE_3.items():
        rows = [f"ImageNet / {network} / {name}" for name in ("BP", "InfoPro* K=4")]
        assert [printed(table, row) for row in rows] == [whole, starred]
        assert drops(table, rows[1]) == reduction
        assert abs(100 * (1 - float(starred) / float(whole)) - float(reduction)) < 0.06


def test_table_4b_as_printed() -> None:
    table = load_table("hpff-ablation")
    for levels, (errors, fall) in TABLE_4B.items():
        row = f"ImageNet / ResNet-101 K=4 / InfoPro / {levels}"
        assert (printed(table, row), drops(table, row)) == (errors, fall)


def recipes(table_id: str) -> dict[str, Recipe]:
    found = {each.row: each.recipe for each in load_table(table_id).cells if each.recipe}
    return {row: each for row, each in found.items() if each.dataset == "imagenet"}


@pytest.mark.parametrize(
    ("table_id", "rows"), [("hpff-imagenet", 12), ("hpff-memory", 6), ("hpff-ablation", 4)]
)
def test_schedules(table_id: str, rows: int) -> None:
    """Section 4.2: epochs, rates and batches by network.

    SGD as the released code has it, and no warm-up.
    """
    expected = {"vgg13": (64, 0.025), "resnet101": (128, 0.05), "resnet152": (128, 0.05)}
    found = recipes(table_id)
    assert len(found) == rows
    for row, each in found.items():
        assert (each.batch_size, each.lr) == expected.get(each.network, (64, 0.025)), row
        assert (each.epochs, each.warmup_epochs, each.rate, each.augmentation) == (
            90,
            0,
            "cosine-epoch0",
            "imagenet",
        )
        assert (each.optimizer, each.momentum, each.nesterov, each.weight_decay) == (
            "sgd",
            0.9,
            True,
            1e-4,
        )
        assert each.modules == (
            None if each.method == "bp" else 10 if each.network == "vgg13" else 4
        )


def test_tables_share_their_runs() -> None:
    errors, memory, ablation = (
        recipes(f"hpff-{name}") for name in ("imagenet", "memory", "ablation")
    )
    assert len({each.key for each in errors.values()}) == 12
    for network in TABLE_3:
        for here, there in (("BP", "BP"), ("InfoPro* K=4", "InfoPro*")):
            assert (
                memory[f"ImageNet / {network} / {here}"].key
                == errors[f"{network} K=4 / {there}"].key
            )
    row = "ImageNet / ResNet-101 K=4 / InfoPro"
    assert ablation[f"{row} / IL"].key == errors["ResNet-101 K=4 / InfoPro"].key
    assert ablation[f"{row} / IL+CL+PFF"].key == errors["ResNet-101 K=4 / InfoPro*"].key
    assert len({each.key for each in (*errors.values(), *ablation.values())}) == 14


def test_starred_rows_have_the_released_codes_weights() -> None:
    for row, each in recipes("hpff-imagenet").items():
        ramps = [
            (branch.weight, type(branch))
            for branch in each.composition.branches
            if branch.level == "cascade"
        ]
        assert not row.endswith("InfoPro*") or ramps == [
            ((0.75, 0.75), Head),
            ((5.0, 5.0), Decoder),
        ]


def test_cut_of_small_images_is_not_touched() -> None:
    assert isinstance(build_decoder(Decoder(), attach_point(3)), AuxiliaryNet)
    assert next(build_decoder(Decoder(), attach_point(3)).parameters()).shape == (12, 16, 3, 3)
