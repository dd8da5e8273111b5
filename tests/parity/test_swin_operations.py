"""Each batched operation of the Swin pipeline against Pillow's, by way of timm and torchvision."""

import pytest
import torch
from swin_reference import BICUBIC, levels, operated, photographs, picture, timm_argument
from torch import Tensor
from torchvision.transforms import functional as tv

from locbench.data.random_crops import draw_crops
from locbench.data.swin.randaugment import NONE, OPERATIONS, Operation, Steps, augmented
from locbench.data.swin.resample import bicubic_taps, resampled

GEOMETRIC = {"Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"}
every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)


def _drawn(count: int) -> tuple[Tensor, Tensor]:
    """Return magnitudes over the whole range, 10 included, and signs."""
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(count)[:count]
    return torch.linspace(0, 10, count, dtype=torch.float64), signs


def _by_timm(operation: Operation, images: Tensor, arguments: Tensor) -> Tensor:
    pairs = zip(images, arguments.tolist(), strict=True)
    return torch.stack(
        [levels(operated(operation.name, picture(each), argument)) for each, argument in pairs]
    )


def _differences(found: Tensor, wanted: Tensor) -> Tensor:
    assert found.dtype == torch.uint8
    assert found.shape == wanted.shape
    return (found.int() - wanted.int()).abs()


def test_operations_are_timms_increasing_set() -> None:
    from timm.data.auto_augment import rand_augment_transform

    timms = rand_augment_transform("rand-m9-mstd0.5-inc1", {"img_mean": (0, 0, 0)})
    assert [each.name for each in OPERATIONS] == [each.name for each in timms.ops]


@every_operation
def test_arguments_are_timms(operation: Operation) -> None:
    magnitudes, signs = _drawn(101)
    found = operation.argument(magnitudes, signs).tolist()
    for magnitude, sign, argument in zip(magnitudes.tolist(), signs.tolist(), found, strict=True):
        wanted = timm_argument(operation.name, magnitude, sign < 0)
        assert wanted is None or argument == pytest.approx(wanted, rel=1e-12)


@every_operation
@pytest.mark.parametrize("shape", [(64, 64), (33, 20), (3, 5)])
def test_operation_is_pillows(operation: Operation, shape: tuple[int, int]) -> None:
    images = photographs(24, *shape)
    arguments = operation.argument(*_drawn(24))
    differences = _differences(
        operation.apply(images, arguments), _by_timm(operation, images, arguments)
    )
    if (
        operation.name in GEOMETRIC
    ):  # float32 here, double there, and cut off: now and then another side of a whole
        assert differences.max() <= 1
        assert (differences > 0).float().mean() < 0.005
    else:
        assert differences.max() == 0


@every_operation
def test_operation_on_even_images_is_pillows(operation: Operation) -> None:
    images = (
        torch.tensor([0, 1, 77, 128, 254, 255], dtype=torch.uint8)
        .view(-1, 1, 1, 1)
        .repeat(4, 12, 10, 3)
    )
    images[12:, 5, 5, 1] = 90  # one pixel, so that the histogram has two levels
    arguments = operation.argument(*_drawn(24))
    found, wanted = operation.apply(images, arguments), _by_timm(operation, images, arguments)
    assert torch.equal(found[:12], wanted[:12])
    assert _differences(found[12:], wanted[12:]).max() <= (operation.name in GEOMETRIC)


def test_equalizing_few_pixels_is_pillows() -> None:
    equalize = next(each for each in OPERATIONS if each.name == "Equalize")
    # 20 * 15 = 300 pixels: the step between levels is 0 or 1, and levels beyond 255 are cut off.
    images = torch.cat(
        [photographs(10, 20, 15), torch.randint(256, (10, 20, 15, 3), dtype=torch.uint8)]
    )
    nothing = torch.zeros(20, dtype=torch.float64)
    assert torch.equal(equalize.apply(images, nothing), _by_timm(equalize, images, nothing))


def test_posterizing_to_no_bits_leaves_black() -> None:
    posterize = next(each for each in OPERATIONS if each.name == "PosterizeIncreasing")
    ten, one = torch.tensor([10.0], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    assert posterize.apply(photographs(1, 8), posterize.argument(ten, one)).max() == 0


def test_steps_are_done_in_order_and_left_out_where_none() -> None:
    images, names = photographs(5, 16), [each.name for each in OPERATIONS]
    invert, solarize = names.index("Invert"), names.index("SolarizeIncreasing")
    operations = torch.tensor(
        [[NONE, NONE], [invert, solarize], [solarize, invert], [NONE, invert], [invert, invert]]
    )
    found = augmented(images, Steps(operations, torch.full((5, 2), 26.0, dtype=torch.float64)))
    inverted = 255 - images
    solarized = torch.where(images < 26, images, 255 - images)
    assert torch.equal(found[0], images[0])
    assert torch.equal(found[1], torch.where(inverted < 26, inverted, 255 - inverted)[1])
    assert torch.equal(found[2], (255 - solarized)[2])
    assert torch.equal(found[3], inverted[3])
    assert torch.equal(found[4], images[4])


def _cropped(images: Tensor, crops: Tensor, flips: Tensor, side: int) -> Tensor:
    top, left, height, width = crops.unbind(1)
    columns = bicubic_taps(left, width, side, int(width.max())).mirrored(flips)
    return resampled(images, bicubic_taps(top, height, side, int(height.max())), columns)


@pytest.mark.parametrize(("stored", "side"), [(32, 224), (96, 224), (96, 384), (16, 40)])
def test_crops_are_torchvisions(stored: int, side: int) -> None:
    images = photographs(12, stored)
    crops = draw_crops(12, (stored, stored), torch.Generator().manual_seed(3))
    flips = torch.arange(12) % 2 == 0
    wanted = [
        tv.resized_crop(picture(image), *crop, [side, side], BICUBIC)
        for image, crop in zip(images, crops.tolist(), strict=True)
    ]
    wanted = [tv.hflip(image) if flip else image for image, flip in zip(wanted, flips, strict=True)]
    assert torch.equal(
        _cropped(images, crops, flips, side), torch.stack([levels(each) for each in wanted])
    )


@pytest.mark.parametrize("length", [41, 64, 97])
def test_shrinking_is_pillows(length: int) -> None:
    images = photographs(6, 100)
    crops = torch.tensor(
        [[2, 1, length, length], [0, 3, length, length], [3, 3, length, length]]
    ).repeat(2, 1)
    wanted = [
        levels(tv.resized_crop(picture(image), *crop, [40, 40], BICUBIC))
        for image, crop in zip(images, crops.tolist(), strict=True)
    ]
    # Of a square, every version of Pillow takes the columns first.
    assert torch.equal(
        _cropped(images, crops, torch.zeros(6, dtype=torch.bool), 40), torch.stack(wanted)
    )


def test_pieces_cannot_reach_past_their_crop() -> None:
    images = photographs(4, 32)
    crops = torch.tensor([[8, 9, 10, 12]]).repeat(4, 1)
    changed = torch.full_like(images, 255)
    changed[:, 8:18, 9:21] = images[:, 8:18, 9:21]
    stays = torch.zeros(4, dtype=torch.bool)
    assert torch.equal(_cropped(images, crops, stays, 50), _cropped(changed, crops, stays, 50))
