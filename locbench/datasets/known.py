"""Descriptions of data sets, and those known by name."""

from __future__ import annotations

from typing import Literal

import msgspec

from locbench.registry import Registry, Target

Triple = tuple[float, float, float]

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


class DatasetInfo(msgspec.Struct, frozen=True):
    """A data set and the papers' recipe for it (InfoPro section 4, kept by PGL, HPFF, AugLocal).

    Attributes:
        name: the name it is asked for by.
        label: the name that reports show.
        classes: number of classes.
        side: height and width of an image, in pixels.
        train_size: number of training images in the whole set.
        test_size: number of test images in the whole set.
        mean: per channel, of pixels in 0..1.
        std: per channel, of pixels in 0..1.
        pad: pixels added on every side before the random crop back to ``side``.
        padding: what the added pixels hold.
        flip: whether half of the training images are mirrored left to right.
        batch: the papers' batch size.
        lr: the papers' base learning rate for that batch size.
        seed_key: seeds the fixed permutations behind ``limit``; the name when empty.
        reader: gives the pixels and labels of both parts; see `data.readers.Reader`. Empty where
            files are read while a network trains.
    """

    name: str
    label: str
    classes: int
    side: int
    train_size: int
    test_size: int
    mean: Triple = (0.5, 0.5, 0.5)
    std: Triple = (0.5, 0.5, 0.5)
    pad: int = 0
    padding: Literal["reflect", "zero"] = "zero"
    flip: bool = False
    batch: int = 64
    lr: float = 0.05
    seed_key: str = ""
    reader: Target = ""


def _of_255(first: float, second: float, third: float) -> Triple:
    return (first / 255, second / 255, third / 255)


_HALF: Triple = (0.5, 0.5, 0.5)

_OFFICIAL = "locbench.data.readers:read_official"

_CIFAR10 = DatasetInfo(
    name="cifar10",
    label="CIFAR-10",
    classes=10,
    side=32,
    mean=_of_255(125.3, 123.0, 113.9),
    std=_of_255(63.0, 62.1, 66.7),
    pad=4,
    padding="reflect",
    flip=True,
    train_size=50_000,
    test_size=10_000,
    batch=1024,
    lr=0.8,
    reader=_OFFICIAL,
)

# The InfoPro family publishes no CIFAR-100 statistics; these are the ones customary with its
# CIFAR-10 figures.
_CIFAR100 = msgspec.structs.replace(
    _CIFAR10,
    name="cifar100",
    label="CIFAR-100",
    classes=100,
    mean=_of_255(129.3, 124.1, 112.4),
    std=_of_255(68.2, 65.4, 70.4),
)

_SVHN = msgspec.structs.replace(
    _CIFAR10,
    name="svhn",
    label="SVHN",
    mean=_HALF,
    std=_HALF,
    pad=2,
    padding="zero",
    flip=False,
    train_size=73_257,
    test_size=26_032,
)

_STL10 = msgspec.structs.replace(
    _SVHN,
    name="stl10",
    label="STL-10",
    side=96,
    pad=4,
    flip=True,
    train_size=5_000,
    test_size=8_000,
    batch=128,
    lr=0.1,
)

_DIGITS = msgspec.structs.replace(
    _SVHN,
    name="digits",
    label="digits (scikit-learn)",
    side=16,
    train_size=1_437,
    test_size=360,
    batch=64,
    lr=0.05,
    reader="locbench.data.readers:read_digits",
)

# No padding: the ImageNet recipe crops at random and scales. Batch and rate are AugLocal's for
# VGG13 (Ma et al. 2024).
_IMAGENET = DatasetInfo(
    name="imagenet",
    label="ImageNet",
    classes=1000,
    side=224,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    pad=0,
    padding="zero",
    flip=True,
    train_size=1_281_167,
    test_size=50_000,
    batch=256,
    lr=0.1,
)

# Side: the shorter one. Batch of AugLocal's Table 12 (Ma et al. 2024); the rate is not printed
# there.
_COCO = msgspec.structs.replace(
    _IMAGENET,
    name="coco",
    label="COCO 2017",
    classes=80,
    side=800,
    train_size=118_287,
    test_size=5_000,
    batch=16,
    lr=1e-4,
)

_SHAPES = msgspec.structs.replace(
    _COCO,
    name="shapes",
    label="drawn shapes",
    classes=3,
    side=96,
    train_size=320,
    test_size=80,
    batch=8,
    lr=1e-3,
)

_CIFAR10_JPEG = msgspec.structs.replace(
    _CIFAR10,
    name="cifar10-jpeg",
    label="CIFAR-10 (JPEG q75)",
    reader="locbench.data.decoded_folders:read_cifar10_jpeg",
)


def _fault(name: str, info: object) -> str:
    if not isinstance(info, DatasetInfo):
        return "it is no locbench.DatasetInfo"
    if info.name != name:
        return f"its DatasetInfo is named {info.name!r}"
    if ":" in name:
        return "its name has ':' in it, which stands before folders"
    least = min(info.classes, info.side, info.train_size, info.test_size, info.batch)
    if least < 1 or info.lr <= 0 or info.pad < 0:
        return "classes, side, train_size, test_size, batch and lr must be above 0, pad at least 0"
    return ""


DATASETS: Registry[DatasetInfo] = Registry("data set", _fault)

for _info in (
    _DIGITS,
    _CIFAR10,
    _CIFAR10_JPEG,
    _CIFAR100,
    _SVHN,
    _STL10,
    _IMAGENET,
    _COCO,
    _SHAPES,
):
    DATASETS.add(_info.name, _info)
