"""Where the authors' own code differs from a paper or from what is run here."""

from __future__ import annotations

import pytest
from specimens import recipe_of

from locbench.spec.partition import partition_of
from locbench.spec.table_files import load_table

TOLD = {
    "WARMUP_PREFIX": [
        "swin-base",
        "swin-large",
        "swin-losses",
        "swin-tiny-pretrained",
        "swin-tiny-scratch",
    ],
    "drop_last": [
        "swin-base",
        "swin-large",
        "swin-losses",
        "swin-tiny-pretrained",
        "swin-tiny-scratch",
    ],
    "The new classifier": ["swin-tiny-pretrained"],
    "lists 19 modules for MobileNetV2 and 17 for EfficientNet-B0": ["auglocal-convnets"],
    "N(0, 0.01)": ["hpff-imagenet"],
    "independent ones are cross-entropy alone": [
        *("hpff-ablation", "hpff-benchmarks", "hpff-imagenet", "hpff-memory", "hpff-pff"),
    ],
    "BatchNorm's running statistics see every batch once": [
        *("hpff-ablation", "hpff-benchmarks", "hpff-imagenet", "hpff-memory", "hpff-pff"),
    ],
}


@pytest.mark.parametrize("words", TOLD)
def test_notes_tell_where_sources_differ(words: str) -> None:
    for name in TOLD[words]:
        assert sum(words in note for note in load_table(name).notes) == 1, name


@pytest.mark.parametrize(("network", "modules"), [("mobilenetv2", 19), ("efficientnet-b0", 17)])
@pytest.mark.parametrize("depth", [2, 5])
def test_unmerged_lists_of_auglocals_code_are_an_option(
    network: str, modules: int, depth: int
) -> None:
    """Layers with a net in the code: 0 ... 17 of MobileNetV2, 0 ... 15 of EfficientNet."""
    unmerged = recipe_of("auglocal", {"depth": depth, "merge_top": False}, network=network)
    assert partition_of(unmerged).ends == tuple(range(modules))
    merged = recipe_of("auglocal", {"depth": depth}, network=network)
    assert partition_of(merged).modules == modules - (depth - 1)
