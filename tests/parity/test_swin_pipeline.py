"""The Swin pipeline against what timm makes of the Swin repository's configuration."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from photographs import photographs
from PIL import Image, ImageOps
from scipy import stats
from timm.data import auto_augment, create_transform
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from locbench.data.batches import Batch, image_seed
from locbench.data.images import Images
from locbench.data.swin_batches import augmented_image, swin_eval_batches, swin_train_batches

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RANDAUGMENT = "rand-m9-mstd0.5-inc1"
# config.py and data/build.py of microsoft/Swin-Transformer
SWIN = {
    "color_jitter": 0.4,
    "re_prob": 0.25,
    "re_mode": "pixel",
    "re_count": 1,
    "interpolation": "bicubic",
}


def _images(count: int, height: int = 32, width: int | None = None) -> Images:
    return Images(photographs(count, height, width), torch.arange(count))


def _joined(batches: list[Batch]) -> tuple[Tensor, Tensor]:
    return torch.cat([each.images for each in batches]), torch.cat(
        [each.labels for each in batches]
    )


def _posterized(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """Posterize as Pillow did before version 12: to no bits leaves black."""
    return ImageOps.posterize(image, bits) if bits else Image.new("RGB", image.size)


@pytest.fixture
def timms(monkeypatch: pytest.MonkeyPatch) -> Callable[[Tensor], Tensor]:
    """Return the training pipeline of the Swin repository, for (H, W, 3) uint8."""
    monkeypatch.setitem(auto_augment.NAME_TO_OP, "PosterizeIncreasing", _posterized)
    transform = create_transform(32, is_training=True, auto_augment=RANDAUGMENT, **SWIN)
    return lambda pixels: transform(Image.fromarray(pixels.numpy()))


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)


def test_each_image_is_timms_of_its_own_seed(timms: Callable[[Tensor], Tensor]) -> None:
    images = _images(150)
    found, labels = _joined(
        list(swin_train_batches(images, 64, side=32, seed=3, epoch=7, workers=0))
    )
    for image, index in zip(found, labels.tolist(), strict=True):
        _seed(image_seed(3, 7, index))
        assert torch.equal(image, timms(images.pixels[index]))


def test_images_are_distributed_as_timms(timms: Callable[[Tensor], Tensor]) -> None:
    count = 2500
    images = _images(count)
    _seed(0)
    wanted = torch.stack([timms(each) for each in images.pixels])
    found, _ = _joined(list(swin_train_batches(images, 500, side=32, seed=0, epoch=0, workers=0)))
    # Of each image and channel: the mean, the mean square and the mean difference of neighbours.
    for statistic in (lambda x: x, torch.square, lambda x: (x[..., 1:] - x[..., :-1]).abs()):
        one, other = (statistic(each).mean((2, 3)) for each in (found, wanted))
        errors = ((one.var(0) + other.var(0)) / count).sqrt()
        assert ((one.mean(0) - other.mean(0)).abs() < 4 * errors).all()


def test_timm_leaves_jitter_out_beside_randaugment() -> None:
    with_it = create_transform(64, is_training=True, **SWIN)
    without = create_transform(64, is_training=True, auto_augment=RANDAUGMENT, **SWIN)
    kinds = [{type(each) for each in made.transforms} for made in (with_it, without)]
    assert [transforms.ColorJitter in each for each in kinds] == [True, False]


def test_jitter_comes_after_randaugment_as_torchvisions(timms: Callable[[Tensor], Tensor]) -> None:
    """Without noise of erasing: a jittered image is the other one with brightness, contrast and
    saturation changed by up to 0.4, in some order.
    """
    image = Image.fromarray(photographs(1, 32)[0].numpy())
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    changed = 0
    for index in range(40):
        plain, jittered = (
            (torch.from_numpy(made) * std + mean) * 255
            for made in (
                augmented_image(image, index, side=32, seed=0, epoch=0, color_jitter=jitter)
                for jitter in (0.0, 0.4)
            )
        )
        if any((made - made.round()).abs().max() > 1e-3 for made in (plain, jittered)):
            continue  # erased
        _seed(image_seed(0, 0, index))
        torch.rand(1)  # the flip
        jitter = transforms.ColorJitter(0.4, 0.4, 0.4)
        wanted = jitter(Image.fromarray(plain.round().byte().numpy()))
        np.testing.assert_array_equal(jittered.round().byte().numpy(), np.asarray(wanted))
        changed += 1
    assert changed > 20


def test_posterizing_to_no_bits_leaves_black(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow refuses it since version 12, where timm asks for it of one image in 660."""
    black: list[int] = []

    def posterized(image: Image.Image, bits: int, **_: object) -> Image.Image:
        black.extend([index] if bits == 0 else [])
        return _posterized(image, bits)

    monkeypatch.setitem(auto_augment.NAME_TO_OP, "PosterizeIncreasing", posterized)
    transform = create_transform(8, is_training=True, auto_augment=RANDAUGMENT, **SWIN)
    image = Image.fromarray(photographs(1, 8)[0].numpy())
    for index in range(2000):
        _seed(image_seed(0, 0, index))
        transform(image)
    # Of two operations out of 15 each, done every second time, at two standard deviations or more.
    assert abs(len(black) - 2000 * 2 / 15 / 2 * stats.norm.sf(2)) < 4 * 3**0.5
    assert black
    for index in tuple(black):  # it grows
        _seed(image_seed(0, 0, index))
        wanted = transform(image).permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(
            augmented_image(image, index, side=8, seed=0, epoch=0), wanted
        )


@pytest.mark.parametrize(
    ("height", "width", "side", "scaled"),
    [(32, 32, 224, 256), (96, 96, 384, 438), (40, 64, 56, 64), (300, 300, 64, 73)],
)
def test_eval_images_are_torchvisions(height: int, width: int, side: int, scaled: int) -> None:
    images = _images(5, height, width)
    bicubic = InterpolationMode.BICUBIC
    steps = [transforms.Resize(scaled, bicubic), transforms.CenterCrop(side), transforms.ToTensor()]
    transform = transforms.Compose([*steps, transforms.Normalize(MEAN, STD)])
    batches = list(swin_eval_batches(images, 3, side=side, workers=0))
    found, labels = _joined(batches)
    wanted = torch.stack([transform(tv.to_pil_image(each.numpy())) for each in images.pixels])
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6)
    assert labels.tolist() == [0, 1, 2, 3, 4]
    assert all(each.pixels is None for each in batches)
    assert all(each.images.is_contiguous(memory_format=torch.channels_last) for each in batches)


def test_erased_pixels_are_normal_and_independent() -> None:
    """On black images, which RandAugment leaves of few levels, so that noise shows itself."""
    images = Images(torch.zeros(300, 32, 32, 3, dtype=torch.uint8), torch.arange(300))
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, STD))
    noise, erased = [], 0
    for batch in swin_train_batches(images, 100, side=32, seed=1, epoch=1, workers=0):
        levels = (batch.images * std + mean) * 255
        off_level = ((levels - levels.round()).abs() > 1e-3).any(1)
        erased += int(off_level.flatten(1).any(1).sum())
        noise.append(batch.images.permute(0, 2, 3, 1)[off_level])
    values = torch.cat(noise).double()
    assert abs(erased / 300 - 0.25) < 4 * (0.25 * 0.75 / 300) ** 0.5
    assert stats.kstest(values.flatten(), "norm").pvalue > 1e-3
    correlations = torch.corrcoef(torch.stack([*values[1:].T, *values[:-1].T])) - torch.eye(6)
    assert correlations.abs().max() < 4 / len(values) ** 0.5
