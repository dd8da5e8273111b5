"""The batched Swin pipeline against timm's and torchvision's: one by one and in distribution."""

import random

import numpy as np
import pytest
import torch
from scipy import stats
from swin_reference import BICUBIC, RANDAUGMENT, per_image, photographs, picture, posterized
from timm.data import auto_augment, create_transform
from torch import Tensor
from torchvision import transforms

from locbench.data.batches import Batch
from locbench.data.images import Images
from locbench.data.swin import pipeline
from locbench.data.swin.draws import Draws, draw_epoch
from locbench.data.swin.pipeline import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    swin_test_batches,
    swin_train_batches,
)

MEAN, STD = (torch.tensor(each).view(1, 3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
SWIN = {
    "re_prob": 0.25,
    "re_mode": "pixel",
    "re_count": 1,
    "interpolation": "bicubic",
    "color_jitter": 0.4,
}


def _images(count: int, height: int = 32, width: int | None = None) -> Images:
    return Images(photographs(count, height, width), torch.arange(count))


def _joined(batches: list[Batch]) -> tuple[Tensor, Tensor]:
    return torch.cat([each.images for each in batches]), torch.cat(
        [each.labels for each in batches]
    )


def _draws(count: int, side: int, *, seed: int, epoch: int, color_jitter: float = 0.0) -> Draws:
    return draw_epoch(count, (32, 32), side, seed=seed, epoch=epoch, color_jitter=color_jitter)[0]


def _unerased(erasures: Tensor, side: int) -> Tensor:
    """Return (N, side, side) bool: the pixels outside the rectangles."""
    kept = torch.ones(len(erasures), side, side, dtype=torch.bool)
    for image, (top, left, height, width) in zip(kept, erasures.tolist(), strict=True):
        image[top : top + height, left : left + width] = False
    return kept


@pytest.mark.parametrize("color_jitter", [0.0, 0.4])
def test_images_are_those_of_the_per_image_pipeline(color_jitter: float) -> None:
    images, side = _images(150), 40
    draws = _draws(150, side, seed=3, epoch=7, color_jitter=color_jitter)
    batches = list(
        swin_train_batches(images, 64, side=side, seed=3, epoch=7, color_jitter=color_jitter)
    )
    found, labels = _joined(batches)
    wanted = per_image(images.pixels, draws, side).permute(0, 3, 1, 2)
    kept = _unerased(draws.erasures, side)[:, None].expand(-1, 3, -1, -1)
    levels = (found * STD + MEAN) * 255
    differences = (levels - wanted).abs()[kept]
    assert torch.equal(labels, draws.order)
    # A geometric operation may be a level off; one after it may stretch that level.
    assert (differences > 0.01).float().mean() < 0.002
    assert differences.quantile(0.999) < 1.01
    # Gaussian pixels are at none of the 256 levels.
    assert ((levels - levels.round()).abs()[~kept] > 1e-3).float().mean() > 0.99


def test_timm_leaves_jitter_out_beside_randaugment() -> None:
    with_it = create_transform(64, is_training=True, **SWIN)
    without = create_transform(64, is_training=True, auto_augment=RANDAUGMENT, **SWIN)
    kinds = [{type(each) for each in made.transforms} for made in (with_it, without)]
    assert [transforms.ColorJitter in each for each in kinds] == [True, False]


def test_images_are_distributed_as_timms(monkeypatch: pytest.MonkeyPatch) -> None:
    count, side = 2500, 32
    monkeypatch.setitem(auto_augment.NAME_TO_OP, "PosterizeIncreasing", posterized)
    images = _images(count)
    random.seed(0), np.random.seed(0), torch.manual_seed(0)  # timm draws from all three
    timms = create_transform(side, is_training=True, auto_augment=RANDAUGMENT, **SWIN)
    wanted = torch.stack([timms(picture(each)) for each in images.pixels])
    found, _ = _joined(list(swin_train_batches(images, 500, side=side, seed=0, epoch=0)))
    # Of each image and channel: the mean, the mean square and the mean difference of neighbours.
    for statistic in (lambda x: x, torch.square, lambda x: (x[..., 1:] - x[..., :-1]).abs()):
        one, other = (statistic(each).mean((2, 3)) for each in (found, wanted))
        errors = ((one.var(0) + other.var(0)) / count).sqrt()
        assert ((one.mean(0) - other.mean(0)).abs() < 4 * errors).all()


def test_erased_pixels_are_normal_and_independent() -> None:
    side, draws = 32, _draws(300, 32, seed=1, epoch=1)
    found, _ = _joined(list(swin_train_batches(_images(300), 100, side=side, seed=1, epoch=1)))
    noise = found.permute(0, 2, 3, 1)[~_unerased(draws.erasures, side)].double()
    assert stats.kstest(noise.flatten(), "norm").pvalue > 1e-3
    correlations = torch.corrcoef(torch.stack([*noise[1:].T, *noise[:-1].T])) - torch.eye(6)
    assert correlations.abs().max() < 4 / len(noise) ** 0.5


def test_batches_are_the_same_again_and_in_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    images = _images(50)
    before = torch.get_rng_state()
    found, labels = _joined(list(swin_train_batches(images, 50, side=24, seed=1, epoch=2)))
    for size in (7, 20):
        monkeypatch.setattr(pipeline, "_AT_ONCE", size // 3)
        batches = list(swin_train_batches(images, size, side=24, seed=1, epoch=2))
        assert [len(each.labels) for each in batches] == [size] * (50 // size) + [50 % size]
        assert all(
            torch.equal(*pair) for pair in zip(_joined(batches), (found, labels), strict=True)
        )
    assert sorted(labels.tolist()) == list(range(50))
    assert torch.equal(torch.get_rng_state(), before)
    for seed, epoch in ((1, 3), (2, 2)):
        others, order = _joined(
            list(swin_train_batches(images, 50, side=24, seed=seed, epoch=epoch))
        )
        assert not torch.equal(order, labels)
        assert not torch.equal(others, found)


def test_double_precision_is_the_same_but_for_rounding() -> None:
    images = _images(20)
    single, double = (
        next(swin_train_batches(images, 20, side=24, seed=1, epoch=2, pixels=True, dtype=dtype))
        for dtype in (torch.float32, torch.float64)
    )
    assert double.images.dtype == double.pixels.dtype == torch.float64
    torch.testing.assert_close(single.images.double(), double.images, rtol=0, atol=2e-6)
    torch.testing.assert_close(single.pixels.double(), double.pixels, rtol=0, atol=1e-6)


def test_pixels_are_the_images_before_normalisation_within_0_and_1() -> None:
    images = _images(40)
    batch = next(swin_train_batches(images, 40, side=24, seed=1, epoch=2, pixels=True))
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


def test_other_statistics_normalise() -> None:
    images, mean, std = _images(12), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    draws = _draws(12, 24, seed=1, epoch=2)
    kept = _unerased(draws.erasures, 24)[:, None].expand(-1, 3, -1, -1)
    batch = next(swin_train_batches(images, 12, side=24, seed=1, epoch=2))
    other = next(swin_train_batches(images, 12, side=24, seed=1, epoch=2, mean=mean, std=std))
    wanted = (batch.images * STD + MEAN - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(
        std
    ).view(1, 3, 1, 1)
    torch.testing.assert_close(other.images[kept], wanted[kept], rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("height", "width", "side", "scaled"),
    [(32, 32, 224, 256), (96, 96, 384, 438), (40, 64, 56, 64), (300, 300, 64, 73)],
)
def test_test_images_are_torchvisions(height: int, width: int, side: int, scaled: int) -> None:
    images = _images(5, height, width)
    steps = [transforms.Resize(scaled, BICUBIC), transforms.CenterCrop(side), transforms.ToTensor()]
    transform = transforms.Compose([*steps, transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)])
    batches = list(swin_test_batches(images, 3, side=side))
    found, labels = _joined(batches)
    wanted = torch.stack([transform(picture(each)) for each in images.pixels])
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6)
    assert labels.tolist() == [0, 1, 2, 3, 4]
    assert all(each.pixels is None for each in batches)
    assert all(each.images.is_contiguous(memory_format=torch.channels_last) for each in batches)
