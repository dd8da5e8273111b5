"""What the batched Swin pipeline draws, against what timm's and torchvision's per-image pipelines
draw.
"""

import random

import numpy as np
import pytest
import torch
from scipy import stats
from swin_reference import photographs, picture
from timm.data import auto_augment
from timm.data.random_erasing import RandomErasing
from timm.data.transforms import RandomResizedCropAndInterpolation
from torch import Generator, Tensor

from locbench.data.random_crops import draw_crops
from locbench.data.swin.draws import draw_epoch, draw_erasures
from locbench.data.swin.randaugment import NONE, OPERATIONS, draw_jitter, draw_randaugment


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 96), (40, 64)])
def test_crops_are_distributed_as_timms(height: int, width: int) -> None:
    count, image = 4000, picture(photographs(1, height, width)[0])
    random.seed(0)
    timms = [
        RandomResizedCropAndInterpolation.get_params(image, (0.08, 1.0), (3 / 4, 4 / 3))
        for _ in range(count)
    ]
    _same_distributions(
        draw_crops(count, (height, width), Generator().manual_seed(1)), torch.tensor(timms)
    )


def test_rectangles_reach_their_bounds_and_not_further() -> None:
    found = draw_erasures(100_000, 1000, Generator().manual_seed(0))
    for boxes, area, ratio in (
        (draw_crops(25_000, (1000, 1000), Generator().manual_seed(0)), (0.08, 1.0), (3 / 4, 4 / 3)),
        (found[found[:, 2] > 0], (0.02, 1 / 3), (0.3, 1 / 0.3)),
    ):
        height, width = boxes[:, 2:].double().T
        for drawn, (lowest, highest) in ((height * width / 1e6, area), (width / height, ratio)):
            # Whole pixels: up to half a pixel of 140 on either side.
            assert lowest * 0.992 < drawn.min() < lowest * 1.008
            assert highest * 0.95 < drawn.max() < highest * 1.008
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, :2] + boxes[:, 2:] <= 1000).all()


def test_half_of_the_images_are_flipped() -> None:
    draws, _ = draw_epoch(40_000, (32, 32), 32, seed=0, epoch=0, color_jitter=0.0)
    assert abs(draws.flips.float().mean() - 0.5) < 4 * (0.25 / 40_000) ** 0.5


@pytest.mark.parametrize(
    ("height", "width", "crop"), [(4, 400, [0, 197, 4, 5]), (400, 4, [197, 0, 5, 4])]
)
def test_a_crop_that_never_fits_is_the_middle(height: int, width: int, crop: list[int]) -> None:
    # The smallest area, 128 pixels, needs at least 9.8 pixels of either side.
    assert draw_crops(3, (height, width), Generator().manual_seed(0)).tolist() == [crop] * 3


def test_erasures_are_distributed_as_timms() -> None:
    count, side = 6000, 48
    random.seed(0)
    erased = (
        RandomErasing(0.25, mode="pixel", max_count=1, device="cpu")(
            torch.zeros(count, 3, side, side)
        )[:, 0]
        != 0
    )
    found = draw_erasures(count, side, Generator().manual_seed(1))
    share = (found[:, 2] > 0).float().mean()
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / count) ** 0.5
    assert abs(erased.any(1).any(1).float().mean() - share) < 4 * (2 * 0.25 * 0.75 / count) ** 0.5
    _same_distributions(
        found[found[:, 2] > 0], torch.tensor([_box(each) for each in erased if each.any()])
    )


def _box(mask: Tensor) -> tuple[int, int, int, int]:
    rows, columns = (mask.any(axis).nonzero().flatten() for axis in (1, 0))
    return int(rows[0]), int(columns[0]), len(rows), len(columns)


def _same_distributions(found: Tensor, wanted: Tensor) -> None:
    """Hold each column, and the area, within 4 standard errors in the mean and to Kolmogorov and
    Smirnov's test.
    """
    for one, other in zip(_with_area(found), _with_area(wanted), strict=True):
        error = (one.var() / len(one) + other.var() / len(other)) ** 0.5
        assert abs(one.mean() - other.mean()) < 4 * error
        assert stats.ks_2samp(one, other).pvalue > 1e-3


def _with_area(boxes: Tensor) -> np.ndarray:
    return torch.cat([boxes, boxes[:, 2:].prod(1, keepdim=True)], 1).T.double().numpy()


def test_operations_are_drawn_alike_and_every_second_time() -> None:
    count = 20_000
    steps = draw_randaugment(count, Generator().manual_seed(2))
    for layer in steps.operations.T:
        counts = torch.bincount(layer - NONE, minlength=16).tolist()
        assert stats.chisquare(counts, [count / 2] + [count / 30] * 15).pvalue > 1e-3
    both = (steps.operations != NONE).all(1).float().mean()
    assert abs(both - 0.25) < 4 * (0.25 * 0.75 / count) ** 0.5


@pytest.mark.parametrize(
    "name", ["Rotate", "ColorIncreasing", "PosterizeIncreasing", "SolarizeAdd"]
)
def test_arguments_are_distributed_as_timms(name: str) -> None:
    hparams = {"img_mean": (0, 0, 0), "magnitude_std": 0.5}
    operation = auto_augment.AugmentOp(name, prob=1.0, magnitude=9, hparams=hparams)
    operation.aug_fn = lambda _, argument, **__: argument
    random.seed(4)
    timms = np.array([operation(None) for _ in range(5000)], dtype=float)
    steps = draw_randaugment(40_000, Generator().manual_seed(5))
    index = [each.name for each in OPERATIONS].index(name)
    found = steps.arguments[steps.operations == index].numpy()
    assert (
        abs(found.mean() - timms.mean())
        < 4 * (found.var() / len(found) + timms.var() / 5000) ** 0.5
    )
    assert stats.ks_2samp(found, timms).pvalue > 1e-3
    if (
        name == "Rotate"
    ):  # N(9, 0.5) cut off at 10 = 2 standard deviations, times 3 degrees: mean 3 (9 - 0.5 * 0.00849)
        assert abs(np.abs(found).mean() - 26.98727) < 4 * np.abs(found).std() / len(found) ** 0.5


def test_jitter_has_every_order_and_even_factors() -> None:
    steps = draw_jitter(6000, 0.4, Generator().manual_seed(6))
    orders, counts = steps.operations.unique(dim=0, return_counts=True)
    names = {OPERATIONS[index].name for index in orders.flatten().tolist()}
    assert names == {"BrightnessIncreasing", "ContrastIncreasing", "ColorIncreasing"}
    assert len(orders) == 6
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    for factors in steps.arguments.T.numpy():
        assert stats.kstest(factors, "uniform", (0.6, 0.8)).pvalue > 1e-3
    assert draw_jitter(1000, 1.5, Generator().manual_seed(6)).arguments.min() >= 0
