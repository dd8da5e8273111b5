"""The reference's data path and evaluation give what locbench's give."""

from __future__ import annotations

import pytest
import torch
from bench_cases import cases
from specimens import CLASSES, recipe_of

from locbench.bench.data_path import Batched, evaluate, loader
from locbench.data.batches import eval_batches
from locbench.data.images import Images
from locbench.datasets.catalogue import info
from locbench.learning.learner import build_learner
from locbench.training.evaluation import accuracy

CPU = torch.device("cpu")
SIDE = 16


def test_evaluation_is_timed_in_the_batches_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    sizes: list[int] = []

    def size(*given: object) -> int:
        asked.append(given)
        return 24

    monkeypatch.setattr("locbench.bench.data_path.eval_batch_size", size)
    monkeypatch.setattr(
        "locbench.bench.data_path.accuracy",
        lambda chain, batches, device: sizes.extend(len(each.labels) for each in batches),
    )
    assert Batched(cases()[0].recipe, 8 * 50, CPU).evaluation("resnet8") > 0
    assert (asked, sizes) == ([(16, CPU)], [24, 24, 2])


def some_images(count: int = 40) -> Images:
    draws = torch.Generator().manual_seed(1)
    pixels = torch.randint(1, 256, (count, SIDE, SIDE, 3), generator=draws, dtype=torch.uint8)
    return Images(pixels, torch.arange(count) % CLASSES)


def test_evaluation_is_the_same() -> None:
    recipe, images = recipe_of("bp", {}), some_images()
    learner = build_learner(recipe, CLASSES, SIDE)
    batches = loader(images, info("digits"), 16, augmented=False)
    ours = accuracy(learner.chain, eval_batches(images, info("digits"), 16), CPU)
    assert evaluate(learner.chain, batches, CPU) == pytest.approx(ours.top1)
    assert learner.chain.training


def test_the_loader_crops_mirrors_and_normalises_as_the_batches_do() -> None:
    """Every image of the loader is one of the crops that the batched augmentation can draw, and all
    of them occur.
    """
    images, described = (
        Images(some_images(1).pixels.expand(4000, -1, -1, -1), torch.zeros(4000).long()),
        info("digits"),
    )
    pad, mean, std = described.pad, described.mean[0], described.std[0]
    padded = torch.nn.functional.pad(images.pixels[0].permute(2, 0, 1), (pad,) * 4)
    crops = {}
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            crop = padded[:, top : top + SIDE, left : left + SIDE].float() / 255
            crops[top, left] = (crop - mean) / std
    wanted = torch.stack(list(crops.values()))
    found = torch.cat([pixels for pixels, _ in loader(images, described, 500, augmented=True)])
    places = torch.cdist(found.double().flatten(1), wanted.double().flatten(1)).min(1)
    assert places.values.max() < 1e-4
    counts, expected = places.indices.bincount(minlength=25).double(), 4000 / 25
    assert (
        (counts - expected) ** 2 / expected
    ).sum() < 60  # chi-squared, 24 degrees of freedom: p < 0.0001
