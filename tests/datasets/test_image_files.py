"""Image files other than their names say, and folders that would lose images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from coco_specimens import write_coco
from image_folders import SIDE, make
from numpy.typing import NDArray
from PIL import EpsImagePlugin, Image
from torchvision.datasets import ImageFolder

from locbench.data import decoded_folders as folders
from locbench.data.imagenet_batches import View, imagenet_train_batches, middle_pixels, view_pixels
from locbench.data.images import Split, load
from locbench.datasets.catalogue import info, status
from locbench.datasets.image_files import as_rgb, opened
from locbench.detection.batches import train_batches
from locbench.detection.loading import load_detection
from locbench.errors import FailureError

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n(x) run\nshowpage\n%%EOF\n"
RAMP = np.linspace(0, 65535, SIDE * SIDE).reshape(SIDE, SIDE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "set")


def loaded(folder: Path) -> Split:
    return load(f"imagefolder:{folder}", folder.parent)


def refusal(folder: Path) -> FailureError:
    with pytest.raises(FailureError) as caught:
        loaded(folder)
    assert caught.value.remedy
    return caught.value


@pytest.fixture
def no_ghostscript(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("PostScript was run")
    )


@pytest.mark.usefixtures("no_ghostscript")
def test_postscript_under_an_images_name_is_not_run(folder: Path, tmp_path: Path) -> None:
    (folder / "train" / "a" / "0.png").write_bytes(POSTSCRIPT)
    assert "a/0.png cannot be decoded: it is none of BMP, JPEG, PNG" in refusal(folder).message
    (folder / "test").rename(folder / "val")
    with pytest.raises(FailureError, match=r"a/0\.png cannot be decoded: it is none of"):
        load(f"imagenet:{folder}", tmp_path)
    # Only the first are looked at before.
    (folder / "train" / "a" / "0.png").rename(folder / "train" / "a" / "8.png")
    streamed = load(f"imagenet:{folder}?side=16", tmp_path)
    with pytest.raises(FailureError, match=r"a/8\.png cannot be decoded: it is none of"):
        list(
            imagenet_train_batches(
                streamed.train, streamed.info, 6, side=16, seed=0, epoch=1, workers=0
            )
        )
    coco = write_coco(tmp_path / "coco")
    (coco / "train2017" / "ten.png").write_bytes(POSTSCRIPT)
    dataset = load_detection(f"coco:{coco}", tmp_path).train
    with pytest.raises(FailureError, match=r"ten\.png cannot be decoded: it is none of"):
        list(train_batches(dataset, 1, seed=0, epoch=1, flip=False))


@pytest.mark.parametrize("kind", ["GIF", "ICO", "PDF", "PCX", "TGA", "XBM"])
def test_formats_that_no_suffix_of_ours_stands_for_are_refused(folder: Path, kind: str) -> None:
    image = Image.new("1" if kind == "XBM" else "RGB", (SIDE, SIDE))
    image.save(folder / "train" / "a" / "0.png", kind)
    assert "it is none of" in refusal(folder).message


def test_suffixes_may_be_mixed_up(folder: Path) -> None:
    expected = Image.new("RGB", (SIDE, SIDE), (9, 90, 200))
    # One of ImageNet's own .JPEG files is a PNG.
    expected.save(folder / "train" / "a" / "0.png", "BMP")
    assert (loaded(folder).train.pixels[0].numpy() == np.asarray(expected)).all()


def _pgm(levels: NDArray[np.uint16], most: int) -> bytes:
    return f"P5 {SIDE} {SIDE} {most}\n".encode() + levels.astype(">u2").tobytes()


@pytest.mark.parametrize("kind", ["png", "tif", "pgm"])
def test_grey_images_of_16_bits_become_their_high_byte(folder: Path, kind: str) -> None:
    levels = RAMP.astype(np.uint16)
    path = folder / "train" / "a" / f"0.{kind}"
    (folder / "train" / "a" / "0.png").unlink()
    if kind == "pgm":
        path.write_bytes(_pgm(levels, 65535))
    else:
        Image.fromarray(levels).save(path)
    expected = np.repeat((levels // 256).astype(np.uint8)[:, :, None], 3, axis=2)
    assert (loaded(folder).train.pixels[0].numpy() == expected).all()
    with opened(path) as image:
        assert (middle_pixels(image, 0, side=14)[:, :, 0].std()) > 60
    with opened(path) as image:
        assert (view_pixels(image, View(0, 0, SIDE, SIDE, False), SIDE) == expected).all()


def test_levels_of_a_pgm_are_of_its_own_maximum(tmp_path: Path) -> None:
    path = tmp_path / "x.pgm"
    path.write_bytes(_pgm(np.full((SIDE, SIDE), 600, dtype=np.uint16), 1000))
    with opened(path) as image:
        # 600 of 1,000 is 39,321 of 65,535.
        assert np.unique(np.asarray(as_rgb(image))).tolist() == [153]


def test_colour_and_eight_bits_are_left_to_pillow(tmp_path: Path) -> None:
    draws = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
    for mode in ("RGB", "L", "LA", "P", "RGBA", "CMYK", "1"):
        image = (
            Image.fromarray(draws).convert(mode)
            if mode != "CMYK"
            else Image.fromarray(draws, "CMYK")
        )
        assert as_rgb(image).tobytes() == image.convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ((RAMP / 65535).astype(np.float32), "its grey levels are real numbers"),
        (RAMP.astype(np.float32), "its grey levels are real numbers"),
        (RAMP.astype(np.int32), "its grey levels are 32-bit or signed numbers"),
        (
            (RAMP / 100).astype(np.uint16),
            "its grey levels end at 655 of 65,535, nearly black in 8 bits",
        ),
    ],
)
def test_levels_without_a_range_are_refused_with_their_number(
    folder: Path, levels: NDArray[np.generic], words: str
) -> None:
    for name in ("x.tif", "y.tif"):
        Image.fromarray(levels).save(folder / "train" / "a" / name)
    error = refusal(folder)
    assert error.message.startswith(
        f"2 of 8 images in {folder / 'train'} cannot be decoded: a/x.tif ({words}"
    )
    assert "y.tif" in error.message
    assert "Scale its levels to 8 bits" in error.remedy


def test_a_stream_of_levels_without_a_range_is_refused_before_it_is_trained_on(
    folder: Path, tmp_path: Path
) -> None:
    for path in list((folder / "train").rglob("*.png")):
        Image.fromarray(RAMP.astype(np.float32)).save(path, "TIFF")
    with pytest.raises(
        FailureError,
        match=r"2 of 2 images in .*train cannot be decoded: a/0\.png \(its grey levels",
    ):
        load(f"imagenet:{folder}", tmp_path)


def test_levels_from_white_to_black_are_refused(folder: Path) -> None:
    path = folder / "train" / "a" / "x.tif"
    Image.fromarray(RAMP.astype(np.uint16)).save(path, tiffinfo={262: 0})
    assert (
        "a/x.tif cannot be decoded: its grey levels of 16 bits count from white to black"
        in refusal(folder).message
    )


def test_pictures_of_several_frames_are_their_first(folder: Path) -> None:
    first = Image.new("RGB", (SIDE, SIDE), (10, 20, 30))
    first.save(
        folder / "train" / "a" / "0.png",
        "MPO",
        save_all=True,
        append_images=[Image.new("RGB", (SIDE, SIDE))],
    )
    first.save(
        folder / "train" / "a" / "1.png",
        "TIFF",
        save_all=True,
        append_images=[Image.new("RGB", (SIDE, SIDE))],
    )
    pixels = loaded(folder).train.pixels
    assert (pixels[1] == pixels[1, 0, 0]).all()
    assert pixels[1, 0, 0].tolist() == [10, 20, 30]
    assert (pixels[0].int() - pixels[1].int()).abs().max() < 3  # a JPEG's rounding


def test_a_black_image_of_16_bits_is_black(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((4, 4), dtype=np.uint16))
    assert np.asarray(as_rgb(image)).max() == 0


def test_damaged_images_are_named_and_counted(folder: Path) -> None:
    for number in range(3):
        (folder / "train" / "a" / f"{number}.png").write_bytes(b"")
        (folder / "train" / "b" / f"{number}.png").write_bytes(b"<html>404</html>")
    Image.new("RGB", (SIDE, SIDE)).save(folder / "train" / "a" / "whole.png")
    message = refusal(folder).message
    assert message.startswith(f"6 of 7 images in {folder / 'train'} cannot be decoded: a/0.png (")
    assert message.endswith("and 1 more")


def test_an_image_of_too_many_pixels_gets_advice_that_fits(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.new("RGB", (60, 60)).save(folder / "train" / "a" / "0.png")
    error = refusal(folder)
    assert "too large to be decoded safely: Image size (3600 pixels) exceeds limit" in error.message
    assert "Scale it down" in error.remedy
    assert "whole copy" not in error.remedy


def test_images_below_a_class_are_those_of_torchvision_in_its_order(folder: Path) -> None:
    source = folder / "train" / "a" / "0.png"
    for below in ("z", "z/y", "z y", "b.png"):
        (folder / "train" / "a" / below).mkdir()
        for number in (2, 10):
            (folder / "train" / "a" / below / f"{number}.png").write_bytes(source.read_bytes())
    (folder / "train" / "a" / "linked").symlink_to(folder / "train" / "b")
    theirs = ImageFolder(str(folder / "train"))
    ours = folders.list_parts(folder)[0]
    assert [str(folder / "train" / each.path) for each in ours.files] == [
        path for path, _ in theirs.samples
    ]
    assert [each.label for each in ours.files] == theirs.targets
    assert len(loaded(folder).train) == len(theirs) == 17


def test_a_folder_below_itself_is_listed_once(folder: Path) -> None:
    (folder / "train" / "a" / "again").symlink_to(folder / "train" / "a")
    assert len(loaded(folder).train) == 6


@pytest.mark.parametrize("name", ["gone.png", "gone"])
def test_links_that_lead_nowhere_are_counted(folder: Path, name: str) -> None:
    for each in ("a", "b"):
        (folder / "train" / each / name).symlink_to("nowhere")
    error = refusal(folder)
    assert error.message == (
        f"2 of the names in {folder / 'train'} are links that lead nowhere, or no files: a/{name}, "
        f"b/{name}"
    )
    assert status(f"imagefolder:{folder}", folder).state == "broken"


def test_a_class_that_is_a_link_to_nowhere_is_refused(folder: Path) -> None:
    for part in ("train", "test"):
        (folder / part / "c").symlink_to("nowhere")
    assert "links that lead nowhere" in refusal(folder).message


def test_a_pipe_under_an_images_name_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "train" / "a" / "x.png")
    assert "a/x.png" in refusal(folder).message


@pytest.mark.parametrize("kind", ["imagefolder", "imagenet"])
def test_one_class_is_refused(tmp_path: Path, kind: str) -> None:
    folder = make(tmp_path / "one", classes=("a",), test="val")
    with pytest.raises(
        FailureError, match=r"one class folder|1 class folders instead of two or more"
    ):
        load(f"{kind}:{folder}", tmp_path)
    assert status(f"{kind}:{folder}", tmp_path).state == "broken"


def test_a_set_larger_than_memory_is_refused_before_it_is_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_decode", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(folders, "free_memory", lambda: 12 * SIDE * SIDE * 3 - 1)
    error = refusal(folder)
    assert (
        f"the 12 images of {folder} do not fit the memory: at 16 x 16 pixels they take 0.0 GB"
        in error.message
    )
    assert f"imagenet:{folder}" in error.remedy
    # The remedy takes the same folder, with its "test".
    assert info(f"imagenet:{folder}").test_size == 6
    monkeypatch.undo()
    monkeypatch.setattr(folders, "free_memory", lambda: 12 * SIDE * SIDE * 3)
    assert len(loaded(folder).train) == 6


def test_an_array_that_cannot_be_had_is_told_as_such(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(folders, "_decode_all", full)
    assert "do not fit the memory" in refusal(folder).message
