"""HPFF as released: how many modules, which ramp, which nets, and how often a step runs what."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import pytest
import torch
from specimens import assert_same, batch, gradients, learner, recipe_of
from torch import nn

from locbench.learning.learner import Learner, build_learner
from locbench.networks.chain import build_chain
from locbench.spec.networks import NETWORKS
from locbench.spec.partition import partition_of
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table

RELEASED = {"official_edges": True, "pff_scope": "cascade_decoder", "engine": "recompute"}
WEIGHTS = {"net": "2C2F", "reconstruction_weight": [5, 0], "task_weight": [0.5, 0]}

# Blocks that end a module in the released code's lists, the network's end left out; block 0 is the
# first of stage 1.
CUTS = {
    ("resnet32", 8): [0, 2, 4, 6, 8, 10, 12],
    ("resnet32", 16): list(range(14)),
    ("resnet110", 55): list(range(53)),
}
TOTALS = {("resnet32", 8): 1_632_452, ("resnet32", 16): 2_677_176, ("resnet110", 55): 9_685_996}
"""Parameters of the released networks, counted by running that code."""


def released(network: str, modules: int | None) -> Recipe:
    return recipe_of(
        "hpff+infopro", RELEASED | WEIGHTS, network=network, modules=modules, dataset="cifar10"
    )


def on_meta(recipe: Recipe) -> Learner:
    with torch.device("meta"):
        return build_learner(recipe, 10, 32)


def decoder(channels: int) -> int:
    """Count one of a cut's four decoders: two convolutions with bias, BatchNorm between."""
    return (9 * channels * 12 + 12) + 2 * 12 + (9 * 12 * 3 + 3)


def head(channels: int) -> int:
    """Parameters of 2C2F for ten classes: two convolutions with BatchNorm, two linear layers."""
    wide = {16: 32, 32: 64, 64: 64}[channels]
    return (
        (9 * channels * wide + 2 * wide)
        + (9 * wide * wide + 2 * wide)
        + (wide * 128 + 128)
        + (128 * 10 + 10)
    )


def untrained(network: str, modules: int) -> int:
    """Parameters that the released code makes and never trains.

    At every cut the decoders of the independent level; at the first one, which ends no window and
    has no independent loss, the rest too; and all nets at the end of the network, with a linear
    layer that nothing calls.
    """
    per_stage = 5 if network == "resnet32" else 18
    channels = [(16, 32, 64)[block // per_stage] for block in CUTS[network, modules]]
    first = 4 * decoder(channels[0]) + 2 * head(channels[0])
    return (
        sum(4 * decoder(each) for each in channels)
        + first
        + 2 * (4 * decoder(64) + head(64))
        + (64 * 10 + 10)
    )


@pytest.mark.parametrize(("network", "modules"), TOTALS)
def test_partition_and_nets_are_those_of_the_released_code(network: str, modules: int) -> None:
    chosen = released(network, modules)
    assert [end - 1 for end in partition_of(chosen).ends[:-1]] == CUTS[network, modules]
    counts = on_meta(chosen).parameter_counts()
    assert sum(counts.values()) == TOTALS[network, modules] - untrained(network, modules)


def test_notes_name_the_numbers_of_modules() -> None:
    sizes = [
        str(partition_of(released(*each)).modules) for each in (("resnet32", 16), ("resnet110", 55))
    ]
    assert sizes == ["15", "54"]
    for name in ("hpff-ablation", "hpff-benchmarks", "hpff-memory", "hpff-pff"):
        (note,) = (
            each for each in load_table(name).notes if "the stem as a module of its own" in each
        )
        assert all(size in note for size in (*sizes, "K-2", "official_edges"))


@pytest.mark.parametrize(
    ("network", "modules", "last"), [("resnet32", 16, 13 / 14), ("resnet110", 55, 52 / 53)]
)
def test_ramp_is_divided_by_k_less_two(network: str, modules: int, last: float) -> None:
    """The window that ends at module j weighs its decoder with 5 (1 - (j - 1) / 14) at K = 16."""
    found = [each.weights[1] for each in on_meta(released(network, modules)).cascades.values()]
    assert found[0] == pytest.approx(5 * (1 - 1 / (modules - 2)))
    assert found[-1] == pytest.approx(5 * (1 - last))
    steps = {round(before - after, 12) for before, after in pairwise(found)}
    assert steps == {round(5 / (modules - 2), 12)}


def test_ramp_reaches_its_end_where_no_module_is_joined() -> None:
    found = [each.weights[1] for each in on_meta(released("resnet32", 8)).cascades.values()]
    assert found == pytest.approx([5 * (1 - each / 6) for each in range(1, 7)])


@pytest.mark.parametrize(
    ("network", "modules", "joined"),
    [
        ("resnet8", None, True),
        ("resnet8", 4, True),
        ("resnet8", 3, False),
        ("vgg13", 10, False),
        ("vgg19", 16, False),
    ],
)
def test_which_partitions_join_the_stem(network: str, modules: int | None, joined: bool) -> None:
    plain = recipe_of("hpff+dgl", {}, network=network, modules=modules)
    edges = recipe_of("hpff+dgl", {"official_edges": True}, network=network, modules=modules)
    assert not plain.composition.join_stem
    assert edges.composition.join_stem == joined
    assert partition_of(plain).modules - partition_of(edges).modules == joined


def test_catalogue_knows_which_networks_have_a_stem() -> None:
    for name in (
        "resnet32",
        "resnet34-narrow",
        "vgg13-narrow",
        "vgg19-narrow",
        "mobilenetv2-narrow",
    ):
        with torch.device("meta"):
            assert (build_chain(name, 10, 32).specs[0].stage == 0) == NETWORKS[name].stem


def passes(net: Learner) -> list[set[int]]:
    """Return how often each local layer's BatchNorm has seen a batch."""
    net.step(*batch(side=16))
    return [
        {int(each) for name, each in unit.named_buffers() if name.endswith("num_batches_tracked")}
        for unit in net.chain.units
    ]


@pytest.mark.parametrize(
    ("modules", "options", "expected"),
    [
        # Modules: stem with block 0, four blocks, the last: two, three and two passes; the stem
        # one.
        (None, {"official_edges": True}, [1, 2, 3, 3, 3, 3, 2]),
        # The stem a module of its own.
        (None, {}, [1, 3, 3, 3, 3, 3, 2]),
        # Modules of two, two and three local layers.
        (3, {}, [1, 2, 3, 3, 2, 2, 2]),
        # The cascade level alone runs no independent path.
        (3, {"levels": "CL"}, [1, 1, 2, 2, 1, 1, 1]),
        (None, {"levels": "CL"}, [1, 2, 2, 2, 2, 2, 1]),
        (3, {"levels": "IL", "official_edges": True}, [1, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_how_often_a_step_runs_each_layer(
    modules: int | None, options: dict[str, Any], expected: list[int]
) -> None:
    more: dict[str, Any] = {"network": "resnet14", "modules": modules, "side": 16}
    assert passes(learner("hpff+dgl", engine="recompute", **more, **options)) == [
        {each} for each in expected
    ]
    assert passes(learner("hpff+dgl", **more, **options)) == [{1}] * 7


def test_network_without_a_stem_runs_its_first_module_twice() -> None:
    net = build_learner(
        recipe_of(
            "hpff+dgl",
            {"engine": "recompute"},
            network="vgg19-narrow",
            modules=4,
            dataset="cifar10",
        ),
        10,
        32,
    )
    net.step(*batch(side=32, dtype=torch.float32))
    counts = [
        {int(each) for name, each in unit.named_buffers() if name.endswith("num_batches_tracked")}
        for unit in net.chain.units
    ]
    assert list(accumulate(len(each) for each in net.partition.ranges)) == [4, 8, 12, 16]
    assert counts == [{2}] * 4 + [{3}] * 8 + [{2}] * 4


def test_engines_agree_with_the_stem_joined() -> None:
    options = {"official_edges": True, "network": "resnet14", "side": 16}
    nets: list[nn.Module] = []
    for engine in ("reuse", "recompute"):
        net = learner("hpff+infopro", engine=engine, **options)
        net.step(*batch(side=16))
        nets.append(net)
    assert_same(gradients(nets[0]), gradients(nets[1]))
    stem = gradients(nets[0])["chain.units.0.0.weight"]
    assert stem.abs().sum() > 0
