from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from locbench.data.images import Split, load
from locbench.data.subsets import balanced_order
from locbench.errors import UsageError


@pytest.fixture(scope="module")
def digits() -> Split:
    return load("digits", Path("unused"))


def test_digits_are_the_real_ones(digits: Split) -> None:
    assert digits.train.pixels.shape == (1437, 16, 16, 3)
    assert digits.train.pixels.dtype == torch.uint8
    assert len(digits.test) == 360
    assert digits.test.labels.bincount().tolist() == [36] * 10
    assert (digits.train.labels.bincount() + 36).tolist() == np.bincount(
        load_digits().target
    ).tolist()


def test_digits_are_upscaled_with_three_equal_channels(digits: Split) -> None:
    pixels = digits.train.pixels
    assert torch.equal(pixels[..., 0], pixels[..., 2])
    # Bilinear doubling keeps the mean of an image but for its edges, which are dark here, and for
    # rounding.
    source = load_digits().images.mean() * 255 / 16
    both = torch.cat([digits.train.pixels, digits.test.pixels]).double().mean().item()
    assert both == pytest.approx(source, abs=0.5)


def test_digits_corner_of_a_known_image() -> None:
    # Doubling puts new pixels a quarter of the way between the old ones; corners keep their value.
    split = load("digits", Path("unused"))
    everything = torch.cat([split.train.pixels, split.test.pixels])[..., 0]
    first = load_digits().images[0] * 255 / 16
    row = first[0]
    wanted = [
        row[0],
        0.75 * row[0] + 0.25 * row[1],
        0.25 * row[0] + 0.75 * row[1],
        0.75 * row[1] + 0.25 * row[2],
    ]
    assert any(
        torch.equal(each[0, :4], torch.tensor(wanted).round().to(torch.uint8))
        for each in everything
    )


def test_no_digit_is_in_both_parts(digits: Split) -> None:
    train = {each.tobytes() for each in digits.train.pixels.numpy()}
    assert sum(each.tobytes() in train for each in digits.test.pixels.numpy()) == 0


def test_limits_are_balanced_fixed_and_nested(digits: Split) -> None:
    small, large = (
        load("digits", Path("unused"), limit=limit, test_limit=20) for limit in (55, 100)
    )
    assert small.train.labels.bincount().tolist() == [6] * 5 + [5] * 5
    assert large.test.labels.bincount().tolist() == [2] * 10
    assert torch.equal(small.train.pixels, large.train.pixels[:55])
    assert small.fingerprint == digits.fingerprint


def test_limit_above_the_size_means_all(digits: Split) -> None:
    everything = load("digits", Path("unused"), limit=10**9, test_limit=360)
    assert torch.equal(everything.train.pixels, digits.train.pixels)
    assert torch.equal(everything.test.labels, digits.test.labels)


@pytest.mark.parametrize(("limit", "test_limit"), [(0, None), (None, -3)])
def test_limit_below_one_is_refused(limit: int | None, test_limit: int | None) -> None:
    with pytest.raises(UsageError, match="below 1"):
        load("digits", Path("unused"), limit=limit, test_limit=test_limit)


def test_limits_do_not_touch_the_global_generators() -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    wanted = torch.rand(2).tolist(), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    load("digits", Path("unused"), limit=30)
    assert (torch.rand(2).tolist(), np.random.rand()) == wanted


def test_order_passes_over_a_class_that_runs_out() -> None:
    labels = np.array([0, 0, 0, 0, 1, 2, 2])
    order = balanced_order(labels, "key")
    assert labels[order].tolist() == [0, 1, 2, 0, 2, 0, 0]
    assert sorted(order.tolist()) == list(range(7))
    assert not np.array_equal(
        balanced_order(labels.repeat(9), "key"), balanced_order(labels.repeat(9), "other")
    )


def test_fingerprint_is_of_the_content(digits: Split) -> None:
    from locbench.data.images import _fingerprint
    from locbench.data.readers import Arrays

    part = Arrays(digits.test.pixels.numpy().copy(), digits.test.labels.numpy().copy())
    before = _fingerprint(part, part)
    assert len(digits.fingerprint) == 16
    assert int(digits.fingerprint, 16) >= 0
    part.pixels[3, 2, 1, 0] ^= 1
    changed = _fingerprint(part, part)
    part.labels[0] += 1
    assert len({before, changed, _fingerprint(part, part)}) == 3


def test_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown data set 'digit'"):
        load("digit", Path("unused"))
