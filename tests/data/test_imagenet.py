"""ImageNet's layout, read from files, on ten small classes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
import torchvision.transforms as T
import torchvision.transforms.functional as TF
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

from locbench.data import decoding
from locbench.data.batches import Batch
from locbench.data.decoding import worker_count
from locbench.data.imagenet_batches import (
    View,
    draw_view,
    imagenet_eval_batches,
    imagenet_train_batches,
    middle_pixels,
    random_pixels,
    view_pixels,
)
from locbench.data.images import Split, load
from locbench.data.streams import ImagePaths, Stream
from locbench.datasets.catalogue import info, status
from locbench.datasets.known import DATASETS
from locbench.errors import FailureError, UsageError
from locbench.spec.recipe import Recipe
from locbench.spec.validation import make_recipe
from locbench.training import input as loaders
from locbench.training.distributed import ProcessGroup
from locbench.training.input import eval_loader, train_loader
from locbench.training.lr_schedule import epoch_rate
from locbench.training.run import Run, accuracy_metrics

CLASSES = [f"n{number:08}" for number in range(10)]
TRAIN, VAL = 4, 2


def make(folder: Path, train: str = "train", val: str = "val") -> Path:
    """Lay ten classes of JPEG images of several sizes out as ImageNet is."""
    draws = np.random.default_rng(0)
    for part, count in ((train, TRAIN), (val, VAL)):
        for name in CLASSES:
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                size = tuple(int(side) for side in draws.integers(30, 90, 2))
                coarse = Image.fromarray(draws.integers(0, 256, (4, 4, 3), dtype=np.uint8))
                coarse.resize(size, Image.Resampling.BICUBIC).save(
                    folder / part / name / f"{number}.JPEG", "JPEG"
                )
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("data") / "ten")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "imagenet")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ImageNet itself have ten classes."""
    few = msgspec.structs.replace(
        DATASETS["imagenet"], classes=10, train_size=10 * TRAIN, test_size=10 * VAL
    )
    monkeypatch.setitem(DATASETS._entries, "imagenet", few)


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut batches into several pieces each."""
    monkeypatch.setattr(decoding, "PIECE", 4)


def stream(split: Split) -> Stream:
    assert isinstance(split.train, Stream)
    return split.train


def opened(folder: Path, **limits: int) -> Split:
    return load(f"imagenet:{folder}?side=32", folder, **limits)


def epoch_of(split: Split, **more: Any) -> list[Batch]:
    settings: dict[str, Any] = {"side": 32, "seed": 1, "epoch": 2, "workers": 0}
    return list(imagenet_train_batches(split.train, split.info, 15, **(settings | more)))


def same(ones: list[Batch], others: list[Batch]) -> bool:
    pairs = zip(ones, others, strict=True)
    return all(
        torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)
        for one, other in pairs
    )


def test_description_is_imagenets() -> None:
    found = info("imagenet")
    assert (found.classes, found.side, found.train_size, found.test_size) == (
        1000,
        224,
        1_281_167,
        50_000,
    )
    assert (found.mean, found.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_folder_of_the_layout_is_described(whole: Path) -> None:
    found = info(f"imagenet:{whole}")
    assert (found.classes, found.side, found.train_size, found.test_size) == (10, 224, 40, 20)
    assert info(f"imagenet:{whole}?side=64").side == 64


def test_labels_are_the_alphabetical_order_of_the_folders(whole: Path) -> None:
    split = opened(whole)
    assert split.test.labels.tolist() == [label for label in range(10) for _ in range(VAL)]
    assert stream(split).files.path(9) == whole / "train" / CLASSES[2] / "1.JPEG"
    assert len(split.train) == 40
    assert split.train.pixels.numel() == 0


def test_batches_do_not_depend_on_the_number_of_workers(whole: Path) -> None:
    split = opened(whole)
    alone = epoch_of(split)
    assert [len(each.labels) for each in alone] == [15, 15, 10]
    assert same(alone, epoch_of(split, workers=2))


def test_batches_depend_on_seed_and_epoch_alone(whole: Path) -> None:
    split = opened(whole)
    torch.manual_seed(5)
    first = epoch_of(split)
    torch.manual_seed(6)
    state = torch.random.get_rng_state()
    assert same(first, epoch_of(split))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not same(first, epoch_of(split, epoch=3))
    assert not same(first, epoch_of(split, seed=2))


def test_a_crop_is_that_of_its_image_whatever_the_batch(whole: Path) -> None:
    split = opened(whole)
    images = torch.cat([each.images for each in epoch_of(split)])
    larger = imagenet_train_batches(
        split.train, split.info, 40, side=32, seed=1, epoch=2, workers=0
    )
    assert torch.equal(next(larger).images, images)


def test_an_epoch_has_every_image_once(whole: Path) -> None:
    labels = torch.cat([each.labels for each in epoch_of(opened(whole))])
    assert labels.bincount().tolist() == [TRAIN] * 10
    assert labels.tolist() != sorted(labels.tolist())


def test_crops_are_distributed_as_torchvisions() -> None:
    height, width, count = 375, 500, 1500
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    theirs = [
        T.RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(count)
    ]
    ours = [draw_view(0, 1, index, height, width) for index in range(count)]
    for one, other in zip(
        _features(theirs, width, height), _features(ours, width, height), strict=True
    ):
        error = math.sqrt((one.var() + other.var()) / count)
        assert abs(one.mean() - other.mean()) < 4.5 * error
        assert one.std() == pytest.approx(other.std(), rel=0.1)
    flips = sum(view.flip for view in ours)
    assert abs(flips - count / 2) < 4.5 * math.sqrt(count / 4)
    assert all(
        view.top + view.height <= height and view.left + view.width <= width for view in ours
    )


def _features(views: list[Any], width: int, height: int) -> list[np.ndarray]:
    top, left, tall, wide = np.array([view[:4] for view in views], dtype=float).T
    return [tall * wide / (width * height), np.log(wide / tall), top + tall / 2, left + wide / 2]


def photograph(number: int = 0) -> Image.Image:
    # Decoded from scikit-learn's JPEG files.
    return Image.fromarray(load_sample_images().images[number])


def jpeg(number: int) -> Image.Image:
    """Open a real JPEG file, undecoded."""
    import sklearn.datasets

    name = ("china.jpg", "flower.jpg")[number]
    return Image.open(Path(sklearn.datasets.__file__).parent / "images" / name)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(("side", "scaled"), [(224, 256), (64, 73)])
def test_middle_is_torchvisions(number: int, side: int, scaled: int) -> None:
    wanted = T.Compose([T.Resize(scaled), T.CenterCrop(side)])(jpeg(number).convert("RGB"))
    found = middle_pixels(jpeg(number), 0, side=side)
    assert found.shape == (side, side, 3)
    assert np.abs(found.astype(int) - np.asarray(wanted, dtype=int)).max() <= 1


@pytest.mark.parametrize("flip", [False, True])
def test_view_is_torchvisions(flip: bool) -> None:
    wanted = TF.resized_crop(photograph(), 20, 100, 300, 250, [224, 224])
    found = view_pixels(jpeg(0), View(20, 100, 300, 250, flip), 224)
    wanted = TF.hflip(wanted) if flip else wanted
    assert np.array_equal(found, np.asarray(wanted))


def test_view_of_a_file_many_times_larger_is_torchvisions(tmp_path: Path) -> None:
    """JPEG could be decoded at a quarter of these sizes, which torchvision does not."""
    image, view = jpeg(0), View(20, 100, 400, 500, False)
    found = view_pixels(image, view, 48)
    assert image.size == (640, 427)
    assert np.array_equal(found, np.asarray(TF.resized_crop(photograph(), *view[:4], [48, 48])))
    large = tmp_path / "large.jpg"
    photograph().resize((2560, 1708)).save(large, quality=90)
    for index in range(3):
        drawn = draw_view(0, 1, index, 1708, 2560)
        wanted = TF.resized_crop(Image.open(large).convert("RGB"), *drawn[:4], [224, 224])
        wanted = TF.hflip(wanted) if drawn.flip else wanted
        assert np.array_equal(
            random_pixels(Image.open(large), index, side=224, seed=0, epoch=1), np.asarray(wanted)
        )


def test_normalisation_by_hand(tmp_path: Path) -> None:
    folder = make(tmp_path / "flat")
    for each in folder.rglob("*.JPEG"):
        Image.new("RGB", (50, 40), (51, 102, 204)).save(each, "PNG")
    split = opened(folder)
    batch = epoch_of(split, pixels=True, dtype=torch.float64)[0]
    wanted = [(0.2 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0.8 - 0.406) / 0.225]
    assert batch.images.amin((0, 2, 3)).tolist() == pytest.approx(wanted)
    assert batch.images.amax((0, 2, 3)).tolist() == pytest.approx(wanted)
    assert batch.pixels is not None
    assert batch.pixels.mean((0, 2, 3)).tolist() == pytest.approx([0.2, 0.4, 0.8])
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert epoch_of(split)[0].pixels is None
    assert torch.allclose(epoch_of(split, dtype=torch.float64)[0].images, batch.images)


def test_grey_images_have_three_equal_channels(tmp_path: Path) -> None:
    folder = make(tmp_path / "grey")
    for each in folder.rglob("*.JPEG"):
        Image.new("L", (50, 40), 77).save(each)
    batch = epoch_of(opened(folder), pixels=True)[0]
    assert batch.pixels is not None
    assert (batch.pixels * 255).round().unique().tolist() == [77]


def recipe(**more: Any) -> Recipe:
    settings: dict[str, Any] = {
        "network": "resnet8",
        "method": "bp",
        "dataset": "imagenet",
        "image_size": 32,
    }
    return make_recipe(settings | {"epochs": 2, "batch_size": 15, "lr": 0.05} | more)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Note the paths of images that are opened; by this process alone."""
    monkeypatch.setenv("LOCBENCH_WORKERS", "0")
    found: list[bytes] = []
    original = ImagePaths.opened

    def noted(self: ImagePaths, index: int) -> Image.Image:
        found.append(bytes(self.paths[index]))
        return original(self, index)

    monkeypatch.setattr(ImagePaths, "opened", noted)
    return iter([found])


def test_processes_decode_their_shares_alone(whole: Path, read: Iterator[list[bytes]]) -> None:
    split, paths = opened(whole), next(read)
    shares = [
        list(train_loader(recipe(), split, 2, pixels=False, world=ProcessGroup(rank, 3)))
        for rank in range(3)
    ]
    assert sorted(paths) == sorted(stream(split).files.paths.tolist())
    assert [[len(batch.labels) for batch in each] for each in shares] == [
        [5, 5, 3],
        [5, 5, 3],
        [5, 5, 4],
    ]
    together = list(train_loader(recipe(), split, 2, pixels=False))
    for index, batch in enumerate(together):
        assert torch.equal(torch.cat([each[index].images for each in shares]), batch.images)


def test_processes_share_the_test_batches(
    whole: Path, read: Iterator[list[bytes]], monkeypatch: Any
) -> None:
    monkeypatch.setattr(loaders, "SMALL", 8)
    split, paths = opened(whole), next(read)
    first, second = (
        list(eval_loader(recipe(), split, torch.float32, ProcessGroup(rank, 2)))
        for rank in range(2)
    )
    assert isinstance(split.test, Stream)
    assert sorted(paths) == sorted(split.test.files.paths.tolist())
    assert [len(each.labels) for each in (*first, *second)] == [8, 4, 8]
    every = list(eval_loader(recipe(), split, torch.float32))
    assert same(every, [first[0], second[0], first[1]])


def test_limits_are_balanced_and_nested(whole: Path) -> None:
    few, more = (opened(whole, limit=limit, test_limit=10) for limit in (13, 20))
    assert few.train.labels.bincount().tolist() == [2] * 3 + [1] * 7
    assert more.test.labels.tolist() == list(range(10))
    assert stream(few).files.paths.tolist() == stream(more).files.paths[:13].tolist()
    for index, label in enumerate(stream(few).labels.tolist()):
        assert stream(few).files.path(index).parent.name == CLASSES[label]
    assert len(opened(whole, limit=41).train) == 40
    assert few.fingerprint == opened(whole).fingerprint


def test_limits_do_not_depend_on_the_place(whole: Path, folder: Path) -> None:
    moved = folder.rename(folder.parent / "elsewhere")
    one, other = (stream(opened(each, limit=13)) for each in (whole, moved))
    assert one.files.paths.tolist() == other.files.paths.tolist()


def test_fingerprint_is_of_names_and_sizes(folder: Path) -> None:
    before = opened(folder).fingerprint
    assert len(before) == 16
    image = folder / "train" / CLASSES[0] / "0.JPEG"
    image.write_bytes(image.read_bytes() + b"0")
    changed = opened(folder).fingerprint
    image.rename(image.with_name("a.JPEG"))
    assert len({before, changed, opened(folder).fingerprint}) == 3


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("base", "train", "val"),
    [
        ("imagenet", "train", "val"),
        ("ILSVRC2012", "ILSVRC2012_img_train", "ILSVRC2012_img_val"),
        ("ILSVRC/Data/CLS-LOC", "train", "val"),
    ],
)
def test_names_of_the_archives_are_found(tmp_path: Path, base: str, train: str, val: str) -> None:
    make(tmp_path / base, train, val)
    (tmp_path / base / "test").mkdir()  # ILSVRC's test images have no labels
    assert status("imagenet", tmp_path).state == "ready"
    split = load("imagenet", tmp_path)
    assert (len(split.train), len(split.test)) == (40, 20)


def test_missing_imagenet_is_told_with_where_and_how(tmp_path: Path) -> None:
    seen = status("imagenet", tmp_path)
    assert (seen.state, seen.where) == ("missing", str(tmp_path / "imagenet"))
    assert "https://image-net.org/" in seen.remedy
    assert "train/<class>/*.JPEG" in seen.remedy
    with pytest.raises(FailureError, match="there is no folder") as caught:
        load("imagenet", tmp_path)
    assert caught.value.remedy == seen.remedy


def _fault(folder: Path, root: Path | None = None) -> FailureError:
    name = "imagenet" if root else f"imagenet:{folder}"
    seen = status(name, root or folder)
    with pytest.raises(FailureError) as caught:
        load(name, root or folder)
    assert (seen.state, seen.detail, seen.remedy) == (
        "broken",
        caught.value.message,
        caught.value.remedy,
    )
    return caught.value


def _remove(folder: Path) -> None:
    for each in folder.iterdir():
        each.unlink()
    folder.rmdir()


@pytest.mark.parametrize("part", ["train", "val"])
def test_missing_class_is_named(folder: Path, part: str) -> None:
    _remove(folder / part / CLASSES[3])
    error = _fault(folder)
    assert error.message == f"the class folder {folder / part / CLASSES[3]} is missing"
    assert "unpack" in error.remedy


def test_class_without_images_is_named(folder: Path) -> None:
    for each in (folder / "val" / CLASSES[4]).iterdir():
        each.rename(each.with_suffix(".txt"))
    assert _fault(folder).message == f"{folder / 'val' / CLASSES[4]} holds no image"


def test_unsorted_validation_images(folder: Path) -> None:
    for name in CLASSES:
        for each in (folder / "val" / name).iterdir():
            each.rename(folder / "val" / f"{name}-{each.name}")
        (folder / "val" / name).rmdir()
    error = _fault(folder)
    assert error.message == f"there are no class folders in {folder / 'val'}"
    assert "valprep.sh" in error.remedy


def test_missing_part_is_named(folder: Path) -> None:
    (folder / "val").rename(folder / "away")
    assert _fault(folder).message == f"there is no folder {folder / 'val'}"


def test_ten_classes_are_not_imagenet(folder: Path) -> None:
    assert "holds 10 class folders instead of 1,000" in _fault(folder, folder.parent).message


@pytest.mark.usefixtures("small")
def test_missing_image_of_imagenet_is_counted(folder: Path) -> None:
    (folder / "train" / CLASSES[0] / "0.JPEG").unlink()
    with pytest.raises(FailureError, match="holds 39 images instead of 40") as caught:
        load("imagenet", folder.parent)
    assert "imagenet:PATH" in caught.value.remedy


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_image_is_named(folder: Path, workers: int) -> None:
    broken = folder / "train" / CLASSES[5] / "2.JPEG"
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(FailureError, match="cannot be decoded") as caught:
        epoch_of(opened(folder), workers=workers)
    assert caught.value.message.startswith(str(broken))
    assert "whole copy" in caught.value.remedy


@pytest.mark.parametrize("name", ["imagenet:", "imagenet:x?size=3", "imagenet:x?side=1"])
def test_names_that_do_not_fit(name: str) -> None:
    with pytest.raises(UsageError, match="imagenet:"):
        info(name)


def test_other_pipelines_are_refused(whole: Path) -> None:
    assert recipe().augmentation == "imagenet"
    with pytest.raises(UsageError, match="is read from files"):
        recipe(augmentation="standard")
    standard = msgspec.structs.replace(recipe(), augmentation="standard")
    with pytest.raises(UsageError, match="is read from files"):
        next(train_loader(standard, opened(whole), 1, pixels=False))


def test_workers_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCBENCH_WORKERS", "3")
    assert worker_count() == 3
    monkeypatch.setenv("LOCBENCH_WORKERS", "many")
    with pytest.raises(UsageError, match="LOCBENCH_WORKERS"):
        worker_count()


def _trained(
    split: Split, chosen: Recipe
) -> tuple[list[dict[str, float | None]], dict[str, Tensor]]:
    run = Run(chosen, split)
    history = run.train().history
    for row in history:
        row.pop("seconds")
    return history, run.learner.state_dict()


def test_training_from_files(
    whole: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loaders, "TIMED", set())
    split, chosen = opened(whole), recipe(dataset=f"imagenet:{whole}?side=32", image_size=None)
    found = []
    for workers in ("0", "2"):
        monkeypatch.setenv("LOCBENCH_WORKERS", workers)
        found.append(_trained(split, chosen))
    (history, state), (again, other) = found
    assert history == again
    assert all(torch.equal(state[name], other[name]) for name in state)
    assert capfd.readouterr().err.count("images/s read from files") == 1


def test_recipe_on_images_in_memory() -> None:
    split = load("digits", Path("unused"), limit=50, test_limit=20)
    chosen = recipe(dataset="digits", augmentation="imagenet", image_size=24)
    batches = list(train_loader(chosen, split, 1, pixels=True))
    assert [tuple(each.images.shape) for each in batches] == [(15, 3, 24, 24)] * 3 + [
        (5, 3, 24, 24)
    ]
    assert torch.cat([each.labels for each in batches]).bincount().tolist() == [5] * 10
    tests = next(imagenet_eval_batches(split.test, split.info, 20, side=16, dtype=torch.float64))
    # 16 pixels of 18: the middle of an enlarged image, so close to the image's own middle
    own = (split.test.pixels[:, 4:12, 4:12].double().mean() / 255 - 0.5) / 0.5
    assert tests.images[:, :, 4:12, 4:12].mean().item() == pytest.approx(own.item(), abs=0.15)


def test_rate_that_begins_in_full() -> None:
    chosen = recipe(epochs=90, lr=0.1, warmup_epochs=0, rate="cosine-epoch0")
    # 0.05 (1 + cos(pi (e - 1) / 90)): at 30 of 90 epochs done the cosine is 1/2
    rates = [epoch_rate(chosen, epoch) for epoch in (1, 31, 46, 61)]
    assert rates == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert epoch_rate(chosen, 90) == pytest.approx(0.05 * (1 - math.cos(math.pi / 90)))


def test_five_guesses_in_the_accuracy_metrics() -> None:
    rows: list[dict[str, float | None]] = [
        {"epoch": 1, "train_loss": 2.0, "test_acc": 20.0, "test_top5": 50.0},
        {"epoch": 2, "train_loss": 1.5, "test_acc": None},
        {"epoch": 3, "train_loss": 1.0, "test_acc": 71.59, "test_top5": 90.37},
    ]
    found = accuracy_metrics(rows)
    assert (found["top5_acc"], found["top5_err"]) == (90.37, 9.63)
    assert (found["top1_err"], found["test_err"]) == (28.41, 28.41)
    few = accuracy_metrics([{"epoch": 1, "train_loss": 2.0, "test_acc": 20.0}])
    assert not {"top5_acc", "top5_err"} & set(few)
