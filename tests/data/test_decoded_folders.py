from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from locbench.data import decoded_folders as folders
from locbench.data.images import load
from locbench.datasets.catalogue import info, status
from locbench.errors import FailureError

SIDE = 12


def _make(
    folder: Path, test: str = "test", size: tuple[int, int] = (SIDE, SIDE), kind: str = "jpg"
) -> Path:
    draws = np.random.default_rng(0)
    for part, count in (("train", 5), (test, 2)):
        for name in ("ant", "bee", "cat"):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = draws.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.{kind}")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _make(tmp_path / "insects")


def test_folder_is_described(folder: Path) -> None:
    found = info(f"imagefolder:{folder}")
    assert (found.classes, found.side, found.train_size, found.test_size) == (3, SIDE, 15, 6)
    assert found.label == f"insects ({SIDE} px)"
    assert status(f"imagefolder:{folder}", folder).state == "ready"


def test_images_and_labels_are_those_of_the_files(folder: Path, tmp_path: Path) -> None:
    split = load(f"imagefolder:{folder}", tmp_path)
    assert split.train.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    with Image.open(folder / "train" / "bee" / "2.jpg") as image:
        assert np.array_equal(split.train.pixels[7].numpy(), np.asarray(image))


def test_val_is_taken_for_test_and_other_sizes_are_cropped(tmp_path: Path) -> None:
    split = load(f"imagefolder:{_make(tmp_path / 'wide', 'val', (40, 20))}?side=16", tmp_path)
    assert split.train.pixels.shape == (15, 16, 16, 3)
    assert len(split.test) == 6


def test_resize_keeps_the_centre(tmp_path: Path) -> None:
    folder = _make(tmp_path / "centre", size=(48, 16), kind="png")
    pixels = np.zeros((16, 48, 3), dtype=np.uint8)
    pixels[:, 16:32] = 200
    Image.fromarray(pixels).save(folder / "train" / "ant" / "0.png")
    split = load(f"imagefolder:{folder}?side=16", tmp_path)
    assert (split.train.pixels[0] == 200).all()


def test_mixed_sizes_fall_back_to_64(folder: Path) -> None:
    Image.new("RGB", (30, 30)).save(folder / "test" / "cat" / "0.jpg")
    assert info(f"imagefolder:{folder}").side == 64


def test_grey_images_get_three_equal_channels(folder: Path, tmp_path: Path) -> None:
    Image.new("L", (SIDE, SIDE), 77).save(folder / "train" / "ant" / "0.png")
    (folder / "train" / "ant" / "0.jpg").unlink()
    assert (load(f"imagefolder:{folder}", tmp_path).train.pixels[0] == 77).all()


def test_second_load_comes_from_the_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(f"imagefolder:{folder}", tmp_path)
    assert len(list((tmp_path / ".cache").iterdir())) == 2
    monkeypatch.setattr(folders, "_decode", lambda *_: pytest.fail("decoded again"))
    second = load(f"imagefolder:{folder}", tmp_path)
    assert second.fingerprint == first.fingerprint
    assert torch.equal(second.train.pixels, first.train.pixels)


def test_changed_folder_is_decoded_again(folder: Path, tmp_path: Path) -> None:
    first = load(f"imagefolder:{folder}", tmp_path)
    Image.new("RGB", (SIDE, SIDE), (9, 9, 9)).save(folder / "train" / "ant" / "new.png")
    second = load(f"imagefolder:{folder}", tmp_path)
    assert len(second.train) == len(first.train) + 1
    assert second.fingerprint != first.fingerprint


def test_edit_that_keeps_the_size_is_seen(tmp_path: Path) -> None:
    folder = _make(tmp_path / "flat", kind="bmp")
    first = load(f"imagefolder:{folder}", tmp_path)
    Image.new("RGB", (SIDE, SIDE), (9, 9, 9)).save(folder / "train" / "ant" / "0.bmp")
    assert load(f"imagefolder:{folder}", tmp_path).fingerprint != first.fingerprint


@pytest.mark.parametrize("damage", ["cut", "flipped", "other"])
def test_damaged_cache_is_decoded_again(folder: Path, tmp_path: Path, damage: str) -> None:
    first = load(f"imagefolder:{folder}", tmp_path)
    for path in (tmp_path / ".cache").iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(
            {"cut": content[: len(content) // 3], "flipped": content, "other": bytearray(5)}[damage]
        )
    assert load(f"imagefolder:{folder}", tmp_path).fingerprint == first.fingerprint


def test_cache_that_cannot_be_written_does_not_stop_a_run(folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".cache").write_text("a file where the folder should be")
    assert len(load(f"imagefolder:{folder}", tmp_path).train) == 15


@pytest.mark.parametrize("kept", [0, 40, 400])
def test_cut_jpeg_is_named(folder: Path, tmp_path: Path, kept: int) -> None:
    victim = folder / "train" / "cat" / "4.jpg"
    victim.write_bytes(victim.read_bytes()[:kept])
    with pytest.raises(FailureError, match=r"cat/4\.jpg cannot be") as caught:
        load(f"imagefolder:{folder}", tmp_path)
    assert caught.value.remedy
    assert caught.value.exit_code == 1


def test_parts_with_other_classes_are_refused(folder: Path) -> None:
    (folder / "test" / "cat").rename(folder / "test" / "dog")
    with pytest.raises(FailureError, match="same classes; only one has: cat, dog"):
        info(f"imagefolder:{folder}")
    assert status(f"imagefolder:{folder}", folder).state == "broken"


def test_empty_class_is_refused(folder: Path) -> None:
    (folder / "test" / "cat" / "0.jpg").unlink()
    (folder / "test" / "cat" / "1.jpg").unlink()
    with pytest.raises(FailureError, match="cat holds no image"):
        info(f"imagefolder:{folder}")


def test_subset_does_not_depend_on_where_the_folder_is(folder: Path, tmp_path: Path) -> None:
    first = load(f"imagefolder:{folder}", tmp_path, limit=6)
    moved = folder.rename(tmp_path / "moved")
    assert torch.equal(
        load(f"imagefolder:{moved}", tmp_path, limit=6).train.pixels, first.train.pixels
    )


def test_missing_jpeg_copy_says_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(FailureError, match="is missing") as caught:
        load("cifar10-jpeg", tmp_path)
    assert str(tmp_path / "cifar10-jpeg") in caught.value.remedy
