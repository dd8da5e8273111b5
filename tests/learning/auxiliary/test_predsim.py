"""Criteria of auxiliary nets against second, plain implementations.

PredSim's pooling against its table.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from specimens import attach_point
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from locbench.learning.auxiliary.branch import Targets
from locbench.learning.auxiliary.predsim import SimilarityBranch, pooling
from locbench.learning.losses import (
    map_deviation,
    reconstruction,
    similarity_matching,
    similarity_matrix,
    supervised_contrast,
)
from locbench.learning.modules import build_branch
from locbench.spec.components import PooledLinear


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def matrix_with_numpy(x: np.ndarray) -> np.ndarray:
    rows = []
    for row in x:
        centred = row - row.sum() / len(row)
        rows.append(centred / (1e-8 + np.sqrt((centred**2).sum())))
    found = np.empty((len(x), len(x)))
    for i, left in enumerate(rows):
        for j, right in enumerate(rows):
            found[i, j] = min(1.0, max(-1.0, float((left * right).sum())))
    return found


def test_similarity_matrix() -> None:
    x = drawn(5, 7)
    np.testing.assert_allclose(
        similarity_matrix(x).numpy(), matrix_with_numpy(x.numpy()), rtol=1e-12
    )


def test_similarity_of_labels_by_hand() -> None:
    """Centred one-hot rows of C classes: 1 with themselves, -1 / (C - 1) with another class."""
    found = similarity_matrix(torch.eye(10, dtype=torch.float64)[[3, 3, 7]])
    expected = torch.tensor(
        [[1, 1, -1 / 9], [1, 1, -1 / 9], [-1 / 9, -1 / 9, 1]], dtype=torch.float64
    )
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=0)


def test_rows_without_variation_give_zero_and_no_nan() -> None:
    x = torch.ones(3, 4, dtype=torch.float64, requires_grad=True)
    loss = similarity_matching(x, torch.tensor([0, 1, 2]), 10)
    loss.backward()
    assert similarity_matrix(x).abs().max() == 0
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_similarity_branch() -> None:
    branch = SimilarityBranch(4, 10).double()
    h, labels = drawn(6, 4, 5, 5), torch.tensor([0, 1, 0, 2, 1, 0])
    found = branch.criterion(branch(h), Targets(labels, h))
    maps = branch.conv(h).detach().numpy()
    deviations = maps.reshape(6, 4, 25).std(axis=2, ddof=1)
    difference = matrix_with_numpy(deviations) - matrix_with_numpy(np.eye(10)[labels.numpy()])
    assert found.item() == pytest.approx((difference**2).sum() / 36, rel=1e-7)


def test_map_of_one_position_stands_for_itself() -> None:
    x = drawn(3, 4, 1, 1)
    assert torch.equal(map_deviation(x), x[:, :, 0, 0])


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_deviation_of_maps_in_either_layout(layout: torch.memory_format) -> None:
    x = drawn(3, 4, 5, 5).contiguous(memory_format=layout).requires_grad_()
    expected = x.detach().numpy().reshape(3, 4, 25).std(axis=2, ddof=1)
    found = map_deviation(x)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12)
    found.sum().backward()  # d s / d x = (x - mean) / ((n - 1) s)
    centred = x.detach() - x.detach().mean((2, 3), keepdim=True)
    slope = centred / (24 * torch.from_numpy(expected)[:, :, None, None])
    torch.testing.assert_close(x.grad, slope, rtol=1e-9, atol=1e-12)


def test_deviation_on_a_cuda_device_reduces_maps_that_lie_one_after_the_other() -> None:
    class Reductions(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if "std" in func.__name__:
                seen.append(args[0].stride())
            return func(*args, **kwargs or {})

    seen: list[tuple[int, ...]] = []
    with FakeTensorMode(), Reductions():
        x = torch.empty(3, 4, 5, 5, device="cuda").to(memory_format=torch.channels_last)
        assert map_deviation(x).shape == (3, 4)
    assert seen == [(100, 25, 1)]


POOLING = {
    # channels, side, limit: kernel, padding, output
    (16, 32, 512): ((8, 4), (0, 0), (4, 8)),
    (32, 16, 512): ((4, 4), (0, 0), (4, 4)),
    (64, 8, 512): ((4, 2), (0, 0), (2, 4)),
    (16, 96, 512): ((32, 16), (0, 0), (3, 6)),
    (32, 48, 512): ((16, 16), (0, 0), (3, 3)),
    (64, 24, 512): ((16, 8), (8, 0), (2, 3)),
    # AugLocal's VGG19
    (64, 32, 512): ((16, 8), (0, 0), (2, 4)),
    (128, 16, 512): ((8, 8), (0, 0), (2, 2)),
    (256, 8, 512): ((8, 4), (0, 0), (1, 2)),
    (512, 4, 512): ((4, 4), (0, 0), (1, 1)),
    (512, 2, 512): ((2, 2), (0, 0), (1, 1)),
    # HPFF
    (16, 32, 1024): ((4, 4), (0, 0), (8, 8)),
    (32, 16, 1024): ((4, 2), (0, 0), (4, 8)),
    (64, 8, 1024): ((2, 2), (0, 0), (4, 4)),
    (16, 96, 1024): ((16, 16), (0, 0), (6, 6)),
    (32, 48, 1024): ((16, 8), (0, 0), (3, 6)),
    (64, 24, 1024): ((8, 8), (0, 0), (3, 3)),
}


@pytest.mark.parametrize(("channels", "side", "limit"), POOLING)
def test_pooling_table(channels: int, side: int, limit: int) -> None:
    assert pooling(channels, side, limit) == POOLING[channels, side, limit]


@pytest.mark.parametrize("layer", [0, 7, 12])
@pytest.mark.parametrize("side", [32, 96])
@pytest.mark.parametrize("patches", [1, 2])
def test_pooled_classifier_takes_its_maps(layer: int, side: int, patches: int) -> None:
    point = attach_point(layer, side=side, patches=patches)
    net = build_branch(PooledLinear(zero_init=True), point)
    assert net(torch.rand(2, point.spec.channels, point.side, point.side)).shape == (2, 10)
    linear = [each for each in net.modules() if isinstance(each, torch.nn.Linear)]
    assert [each.in_features for each in linear] == [
        512 if side == 32 else {0: 288, 7: 288, 12: 384}[layer]
    ]
    assert linear[0].weight.abs().max() == 0


def test_supervised_contrast_against_a_loop() -> None:
    x, labels, temperature = drawn(7, 5), [0, 1, 0, 2, 1, 0, 3], 0.07
    z = [row / math.sqrt(sum(v * v for v in row)) for row in x.numpy()]
    total = 0.0
    for i in range(7):
        scores = {j: float(z[i] @ z[j]) / temperature for j in range(7) if j != i}
        denominator = math.log(sum(math.exp(each) for each in scores.values()))
        positives = [scores[j] - denominator for j in scores if labels[j] == labels[i]]
        if positives:
            total -= sum(positives) / len(positives)
    assert supervised_contrast(x, torch.tensor(labels), temperature).item() == pytest.approx(
        total / 7, rel=1e-12
    )


def test_supervised_contrast_without_positives_is_zero() -> None:
    x = drawn(3, 5).requires_grad_()
    loss = supervised_contrast(x, torch.tensor([0, 1, 2]), 0.07)
    loss.backward()
    assert loss.item() == 0
    assert x.grad is not None
    assert x.grad.abs().max() == 0


def test_reconstruction_is_mean_binary_cross_entropy_and_clamps() -> None:
    image = torch.tensor([0.25, 0.5, 0.9], dtype=torch.float64)
    pixels = torch.tensor([0.0, 1.0, 0.3], dtype=torch.float64)
    by_hand = -(math.log(0.75) + math.log(0.5) + 0.3 * math.log(0.9) + 0.7 * math.log(0.1)) / 3
    assert reconstruction(image, pixels).item() == pytest.approx(by_hand, rel=1e-12)
    beyond = pixels + torch.tensor([-1e-7, 1e-7, 0.0], dtype=torch.float64)
    assert reconstruction(image, beyond).item() == pytest.approx(by_hand, rel=1e-12)


def test_criteria_keep_full_precision_under_autocast() -> None:
    x, labels = drawn(6, 8).float(), torch.tensor([0, 1, 0, 2, 1, 0])
    image, pixels = drawn(2, 3, 4, 4).sigmoid().float(), torch.rand(2, 3, 4, 4)
    exact = (
        similarity_matching(x, labels, 10),
        supervised_contrast(x, labels, 0.07),
        reconstruction(image, pixels),
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = (
            similarity_matching(x, labels, 10),
            supervised_contrast(x, labels, 0.07),
            reconstruction(image, pixels),
        )
        rounded = reconstruction(image.bfloat16(), pixels)
    assert [each.item() for each in found] == [each.item() for each in exact]
    assert rounded.dtype == torch.float32


def test_gradients_of_reconstruction_are_pytorchs_to_the_last_bit() -> None:
    """Also where the image is all dark or all light, whose logarithms are bounded."""
    image = torch.rand(50, 3, 24, 24)  # worked through in several pieces
    image[0, 0, 0, :4] = torch.tensor([0.0, 1.0, 0.0, 1.0])
    pixels = torch.rand(50, 3, 24, 24)
    pixels[0, 0, 0, :4] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    ours, theirs = image.clone().requires_grad_(), image.clone().requires_grad_()
    found, expected = reconstruction(ours, pixels), F.binary_cross_entropy(theirs, pixels)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    (3 * found).backward()
    (3 * expected).backward()
    assert ours.grad is not None
    assert torch.equal(ours.grad, theirs.grad)
    found, expected = (
        loss(image.double(), pixels.double()) for loss in (reconstruction, F.binary_cross_entropy)
    )
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=0)
