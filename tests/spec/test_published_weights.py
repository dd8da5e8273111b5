"""InfoPro's published loss weights, transcribed from the specification a second time, and what
fills the gaps.
"""

from __future__ import annotations

import pytest
from specimens import recipe_of

from locbench.spec.components import Decoder, Head
from locbench.spec.published_weights import infopro_weights

# As the specification writes them: "l1 first, l2 first -> l1 last, l2 last".
PRINTED = """
resnet32  cifar10 | 5, 1   | 6, 0 -> 1, 2     | 5, 0 -> 0, 2     | 5, 0.05 -> 0.2, 0.5
resnet110 cifar10 | 5, 0.5 | 1, 0 -> 0, 1     | 5, 0 -> 0, 1     | 5, 0 -> 0.5, 1
resnet110 stl10   | 10, 1  | 20, 0.2 -> 5, 2  | 20, 0.2 -> 5, 1  | 20, 0.5 -> 10, 0.1
resnet110 svhn    | 1, 0.1 | 5, 0 -> 0.5, 1   | 5, 0 -> 0.5, 2   | 5, 0.2 -> 0.5, 1
"""


def cells() -> list[tuple[str, str, int, tuple[float, ...], tuple[float, ...]]]:
    found = []
    for line in PRINTED.strip().splitlines():
        where, *texts = line.split("|")
        for modules, text in zip((2, 4, 8, 16), texts, strict=True):
            ends = [tuple(float(each) for each in part.split(",")) for part in text.split("->")]
            found.append((*where.split(), modules, ends[0], ends[-1]))
    return found


@pytest.mark.parametrize(("network", "dataset", "modules", "first", "last"), cells())
def test_published_weights(
    network: str, dataset: str, modules: int, first: tuple[float, ...], last: tuple[float, ...]
) -> None:
    reconstruction, task = infopro_weights(network, dataset, modules)
    assert reconstruction == (first[0], last[0])
    assert task == (first[1], last[1])


def test_gaps() -> None:
    assert infopro_weights("resnet32", "svhn", 8) == infopro_weights("resnet110", "svhn", 8)
    assert infopro_weights("resnet32", "stl10", 16) == infopro_weights("resnet110", "stl10", 16)
    for modules in (32, 55):
        assert infopro_weights("resnet110", "stl10", modules) == infopro_weights(
            "resnet110", "stl10", 16
        )
    assert infopro_weights("resnet110", "cifar10-jpeg", 55) == infopro_weights(
        "resnet110", "cifar10", 16
    )


def test_weights_are_part_of_the_recipe() -> None:
    """So that a reduced run on another data set keeps the table's weights."""
    settings = {"network": "resnet110", "dataset": "stl10"}
    head, decoder = recipe_of("infopro", {}, **settings).composition.branches
    assert head == Head(weight=(0.5, 0.1))
    assert decoder == Decoder(weight=(20, 10))
    given = {"reconstruction_weight": (5, 0), "task_weight": [0.5, 0]}
    head, decoder = recipe_of("infopro", given, **settings).composition.branches
    assert (head.weight, decoder.weight) == ((0.5, 0), (5, 0))
