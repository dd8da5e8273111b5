"""What batches of the Swin pipeline depend on and hold."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from photographs import photographs
from PIL import Image
from torch import Tensor

from locbench.data import decoding
from locbench.data.batches import Batch
from locbench.data.images import Images
from locbench.data.swin_batches import (
    augmented_image,
    middle_image,
    swin_eval_batches,
    swin_train_batches,
)
from locbench.training.distributed import ProcessGroup

MEAN, STD = (
    torch.tensor(each).view(1, 3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
)


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut batches into pieces of two images."""
    monkeypatch.setattr(decoding, "PIECE", 8)


def _images(count: int) -> Images:
    return Images(photographs(count, 32), torch.arange(count))


def _joined(batches: list[Batch]) -> tuple[Tensor, Tensor]:
    return torch.cat([each.images for each in batches]), torch.cat(
        [each.labels for each in batches]
    )


def _states() -> tuple[object, str, list[int]]:
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


def test_batches_are_the_same_in_any_size_and_leave_no_trace_in_generators() -> None:
    images = _images(50)
    before = _states()
    found, labels = _joined(
        list(swin_train_batches(images, 50, side=24, seed=1, epoch=2, workers=0))
    )
    for size in (7, 20):
        batches = list(swin_train_batches(images, size, side=24, seed=1, epoch=2, workers=0))
        assert [len(each.labels) for each in batches] == [size] * (50 // size) + [50 % size]
        assert all(
            torch.equal(*pair) for pair in zip(_joined(batches), (found, labels), strict=True)
        )
    assert sorted(labels.tolist()) == list(range(50))
    assert _states() == before
    for seed, epoch in ((1, 3), (2, 2)):
        others, order = _joined(
            list(swin_train_batches(images, 50, side=24, seed=seed, epoch=epoch, workers=0))
        )
        assert not torch.equal(order, labels)
        assert not torch.equal(others, found)


def test_batches_do_not_depend_on_the_number_of_workers() -> None:
    images = _images(20)
    alone, several = (
        list(swin_train_batches(images, 8, side=24, seed=1, epoch=2, workers=workers))
        for workers in (0, 2)
    )
    tests = [_joined(list(swin_eval_batches(images, 8, side=24, workers=n))) for n in (0, 2)]
    decoding.stop_workers()
    for one, other in zip(alone, several, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
    assert torch.equal(tests[0][0], tests[1][0])


def test_processes_make_their_shares_alone() -> None:
    images = _images(11)
    whole = list(swin_train_batches(images, 5, side=16, seed=1, epoch=2, workers=0))
    shares = [
        list(
            swin_train_batches(
                images,
                5,
                side=16,
                seed=1,
                epoch=2,
                workers=0,
                shard=ProcessGroup(rank, 3).shard,
            )
        )
        for rank in range(3)
    ]
    # Of five images 1, 2 and 2; of the last one none, none and 1.
    assert [[len(batch.labels) for batch in own] for own in shares] == [
        [1, 1, 0],
        [2, 2, 0],
        [2, 2, 1],
    ]
    for index, batch in enumerate(whole):
        assert torch.equal(torch.cat([own[index].images for own in shares]), batch.images)


def test_images_lie_as_they_are_copied_to_a_gpu() -> None:
    image = Image.fromarray(photographs(1, 32)[0].numpy())
    assert augmented_image(image, 0, side=24, seed=0, epoch=0).flags.c_contiguous
    assert middle_image(image, 0, side=24).flags.c_contiguous


def test_more_processes_than_test_batches() -> None:
    assert list(swin_eval_batches(_images(4), 8, side=16, chosen=slice(1, None, 2))) == []


def test_double_precision_holds_the_same_images() -> None:
    images = _images(20)
    single, double = (
        next(
            swin_train_batches(
                images, 20, side=24, seed=1, epoch=2, pixels=True, dtype=dtype, workers=0
            )
        )
        for dtype in (torch.float32, torch.float64)
    )
    assert double.images.dtype == double.pixels.dtype == torch.float64
    assert torch.equal(single.images.double(), double.images)
    torch.testing.assert_close(single.pixels.double(), double.pixels, rtol=0, atol=1e-6)


def test_pixels_are_the_images_before_normalisation_within_0_and_1() -> None:
    images = _images(40)
    batch = next(swin_train_batches(images, 40, side=24, seed=1, epoch=2, pixels=True, workers=0))
    assert all(
        each.is_contiguous(memory_format=torch.channels_last)
        for each in (batch.images, batch.pixels)
    )
    torch.testing.assert_close(
        batch.pixels, (batch.images * STD + MEAN).clamp(0, 1), rtol=0, atol=1e-6
    )
    assert batch.pixels.min() == 0
    assert batch.pixels.max() == 1
    assert next(swin_train_batches(images, 40, side=24, seed=1, epoch=2)).pixels is None
