import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from locbench.datasets import status as presence
from locbench.datasets.catalogue import all_statuses, default_root, info, names, resolve, status
from locbench.datasets.known import CIFAR10_CLASSES
from locbench.datasets.naming import parse_name
from locbench.errors import FailureError, UsageError


def test_catalogue_is_quick_to_import() -> None:
    script = (
        "import sys, locbench.datasets.catalogue as c; c.info('cifar10'); "
        "print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "train", "test", "batch", "lr", "pad", "padding", "flip"),
    [
        ("cifar10", 50_000, 10_000, 1024, 0.8, 4, "reflect", True),
        ("cifar10-jpeg", 50_000, 10_000, 1024, 0.8, 4, "reflect", True),
        ("svhn", 73_257, 26_032, 1024, 0.8, 2, "zero", False),
        ("stl10", 5_000, 8_000, 128, 0.1, 4, "zero", True),
        ("digits", 1_437, 360, 64, 0.05, 2, "zero", False),
        ("imagenet", 1_281_167, 50_000, 256, 0.1, 0, "zero", True),
    ],
)
def test_recipe_of_the_papers(
    name: str, train: int, test: int, batch: int, lr: float, pad: int, padding: str, flip: bool
) -> None:
    found = info(name)
    assert (found.train_size, found.test_size, found.batch, found.lr) == (train, test, batch, lr)
    assert (found.pad, found.padding, found.flip) == (pad, padding, flip)


def test_cifar10_normalisation_is_in_unit_range() -> None:
    assert [round(255 * value, 6) for value in (*info("cifar10").mean, *info("cifar10").std)] == [
        125.3,
        123.0,
        113.9,
        63.0,
        62.1,
        66.7,
    ]


def test_jpeg_copy_is_labelled_as_such() -> None:
    assert info("cifar10-jpeg").label == "CIFAR-10 (JPEG q75)"
    assert info("cifar10").label == "CIFAR-10"


def test_unknown_name_suggests_the_closest() -> None:
    with pytest.raises(UsageError, match="unknown data set 'cifar11'") as caught:
        info("cifar11")
    assert "Did you mean" in caught.value.remedy
    assert "'cifar10'" in caught.value.remedy


def test_default_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCBENCH_DATA", raising=False)
    assert default_root() == Path(".data")
    monkeypatch.setenv("LOCBENCH_DATA", "/somewhere")
    assert default_root() == Path("/somewhere")


def test_nothing_there_but_digits(tmp_path: Path) -> None:
    states = {each.name: each.state for each in all_statuses(tmp_path)}
    assert states == {**dict.fromkeys(names(), "missing"), "digits": "ready", "shapes": "ready"}
    assert "--download" in status("cifar10", tmp_path).remedy


def test_cut_file_is_broken_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        presence.OFFICIAL, "svhn", presence.OfficialFiles("svhn", {"a": 4, "b": 4}, "source")
    )
    folder = tmp_path / "svhn"
    folder.mkdir()
    (folder / "a").write_bytes(b"1234")
    (folder / "b").write_bytes(b"123")
    seen = status("svhn", tmp_path)
    assert seen.state == "broken"
    assert str(folder / "b") in seen.detail
    (folder / "b").write_bytes(b"1234")
    assert status("svhn", tmp_path).state == "ready"


def _tiny_jpeg_copy(folder: Path) -> None:
    for part in ("train", "test"):
        for name in CIFAR10_CLASSES:
            (folder / part / name).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(folder / part / name / "0.jpg")


def test_resolve_takes_the_variant_that_is_there(tmp_path: Path) -> None:
    assert resolve("cifar10", tmp_path) == "cifar10"
    _tiny_jpeg_copy(tmp_path / "cifar10-jpeg")
    assert resolve("cifar10", tmp_path) == "cifar10-jpeg"
    assert resolve("svhn", tmp_path) == "svhn"
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(b"begun")
    assert resolve("cifar10", tmp_path) == "cifar10"


def test_incomplete_jpeg_copy_is_broken(tmp_path: Path) -> None:
    _tiny_jpeg_copy(tmp_path / "cifar10-jpeg")
    seen = status("cifar10-jpeg", tmp_path)
    assert seen.state == "broken"
    assert "airplane holds 1 images instead of 5,000" in seen.detail


def test_jpeg_copy_unpacked_into_the_root_is_found(tmp_path: Path) -> None:
    _tiny_jpeg_copy(tmp_path)
    assert status("cifar10-jpeg", tmp_path).where == str(tmp_path)


def test_imagefolder_side() -> None:
    assert parse_name("imagefolder:some/where?side=48") == (Path("some/where"), 48)
    assert parse_name("imagefolder:some/where").side is None


@pytest.mark.parametrize(
    "name", ["imagefolder:", "imagefolder:x?side=", "imagefolder:x?size=3", "imagefolder:x?side=1"]
)
def test_imagefolder_names_that_do_not_fit(name: str) -> None:
    with pytest.raises(UsageError, match="imagefolder"):
        info(name)


def test_imagefolder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FailureError, match="there is no folder") as caught:
        info(f"imagefolder:{tmp_path}/none")
    assert "train/<class>" in caught.value.remedy
    assert status(f"imagefolder:{tmp_path}/none", tmp_path).state == "missing"
