"""The incomplete last batch, left out where the recipe says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from specimens import recipe_of
from torch import Tensor

from locbench.data.batches import Batch, steps_per_epoch, train_batches
from locbench.data.imagenet_batches import imagenet_train_batches
from locbench.data.images import Images, load
from locbench.data.swin_batches import swin_train_batches
from locbench.datasets.known import DATASETS
from locbench.report.grouping import reduction_key
from locbench.spec.presets import reductions, with_preset
from locbench.spec.recipe import Recipe, images_per_epoch
from locbench.spec.table_files import load_table
from locbench.training.run import Run

Feed = Callable[..., Iterator[Batch]]
FEEDS: dict[str, Feed] = {
    "standard": lambda images, size, **more: train_batches(
        images, DATASETS["digits"], size, **more
    ),
    "swin": partial(swin_train_batches, side=16),
    "imagenet": lambda images, size, **more: imagenet_train_batches(
        images, DATASETS["digits"], size, side=16, **more
    ),
}


def images(count: int) -> Images:
    pixels = (
        torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 16, 16, 3).contiguous()
    )
    return Images(pixels, torch.arange(count))


@pytest.mark.parametrize(
    ("count", "size", "used", "steps"),
    [
        (50_000, 140, 49_980, 357),
        (50_000, 40, 50_000, 1250),
        (10, 3, 9, 3),
        (3, 3, 3, 1),
        (2, 3, 2, 1),
        (1, 1, 1, 1),
    ],
)
def test_images_and_steps_of_an_epoch(count: int, size: int, used: int, steps: int) -> None:
    assert images_per_epoch(count, size, drop_last=True) == used
    assert steps_per_epoch(count, size, drop_last=True) == steps
    assert images_per_epoch(count, size) == count


@pytest.mark.parametrize("name", FEEDS)
def test_feeds_drop_the_incomplete_batch_and_change_no_other(name: str) -> None:
    every = list(FEEDS[name](images(11), 4, seed=2, epoch=3))
    whole = list(FEEDS[name](images(11), 4, seed=2, epoch=3, drop_last=True))
    assert [len(each.labels) for each in every] == [4, 4, 3]
    assert [len(each.labels) for each in whole] == [4, 4]
    for kept, other in zip(whole, every, strict=False):
        assert torch.equal(kept.images, other.images)
        assert torch.equal(kept.labels, other.labels)


@pytest.mark.parametrize("name", FEEDS)
def test_the_only_batch_is_kept(name: str) -> None:
    assert [
        len(each.labels) for each in FEEDS[name](images(3), 4, seed=0, epoch=0, drop_last=True)
    ] == [3]


def test_run_counts_the_images_that_it_trains_on() -> None:
    split = load("digits", Path("unused"), limit=11, test_limit=10)
    chosen = recipe_of("bp", {}, batch_size=4, epochs=1, train_limit=11, drop_last=True)
    run = Run(chosen, split)
    sizes: list[int] = []
    step = run.engine.step

    def counted(batch: Batch, *rest: Any, global_batch: int, **more: Any) -> Any:
        output = step(batch, *rest, global_batch=global_batch, **more)
        sizes.append(global_batch)
        output.logits.copy_(_right(batch.labels))
        return output

    run.engine.step = counted  # type: ignore[method-assign]
    history = run.train().history
    assert sizes == [4, 4]
    assert history[0]["train_acc"] == 100.0


def _right(labels: Tensor) -> Tensor:
    return torch.eye(10)[labels]


def sized(dropped: bool, **settings: Any) -> Recipe:
    return recipe_of("bp", {}, **({"dataset": "cifar10", "drop_last": dropped} | settings))


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({"batch_size": 140}, False),
        ({"batch_size": 40}, True),
        ({"batch_size": 64, "train_limit": 800}, False),
        ({"batch_size": 25, "train_limit": 800}, True),
        ({"batch_size": 128, "train_limit": 100}, True),
        ({"batch_size": 1000, "train_limit": 99_999}, True),
    ],
)
def test_key_counts_the_field_where_it_makes_another_run(
    settings: dict[str, int], same: bool
) -> None:
    kept, dropped = sized(False, **settings), sized(True, **settings)
    assert (kept.key == dropped.key) == same
    assert (reduction_key(kept, dropped) == ()) == same
    assert reductions(kept, dropped) == ([] if same else ["incomplete batches kept"])
    assert reductions(dropped, kept) == ([] if same else ["incomplete batches dropped"])


def test_swin_recipes_drop_it_in_full_and_reduced_runs() -> None:
    published = next(cell.recipe for cell in load_table("swin-tiny-scratch").cells if cell.recipe)
    assert published.drop_last
    assert with_preset(published, "smoke").drop_last
    before = msgspec.structs.replace(published, drop_last=False)
    assert before.key != published.key


def test_detectors_drop_it_too() -> None:
    pytest.importorskip("pycocotools")
    from locbench.detection.batches import train_batches
    from locbench.detection.loading import load_detection

    dataset = load_detection("shapes", Path(), limit=12).train
    sizes = {
        drop: [
            len(each)
            for each in train_batches(dataset, 5, seed=1, epoch=1, flip=True, drop_last=drop)
        ]
        for drop in (False, True)
    }
    assert sizes == {False: [5, 5, 2], True: [5, 5]}
