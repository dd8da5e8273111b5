import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from torchvision import datasets

from locbench.data.images import load
from locbench.datasets import status as presence
from locbench.errors import FailureError

COUNT = 20


def _cifar_batch(seed: int) -> dict[str, object]:
    draws = np.random.default_rng(seed)
    return {
        "data": draws.integers(0, 256, (COUNT, 3072), dtype=np.uint8),
        "labels": [n % 10 for n in range(COUNT)],
    }


def _declare(
    monkeypatch: pytest.MonkeyPatch, name: str, folder: Path, files: list[str]
) -> dict[str, str]:
    """Let the made files pass for the published ones."""
    sizes = {file: (folder / file).stat().st_size for file in files}
    known = presence.OFFICIAL[name]
    monkeypatch.setitem(
        presence.OFFICIAL, name, presence.OfficialFiles(known.folder, sizes, known.source)
    )
    return {file: hashlib.md5((folder / file).read_bytes()).hexdigest() for file in files}


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    batches = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    for seed, name in enumerate(batches):
        (folder / name).write_bytes(pickle.dumps(_cifar_batch(seed)))
    (folder / "batches.meta").write_bytes(
        pickle.dumps({"label_names": [str(n) for n in range(10)]})
    )
    md5 = _declare(monkeypatch, "cifar10", folder, [*batches, "batches.meta"])
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [[name, md5[name]] for name in batches[:5]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5["batches.meta"]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    return folder


def test_cifar10_pickles(cifar10: Path) -> None:
    split = load("cifar10", cifar10.parent)
    assert split.train.pixels.shape == (5 * COUNT, 32, 32, 3)
    planes = np.asarray(_cifar_batch(1)["data"])[3].reshape(3, 32, 32)
    assert np.array_equal(split.train.pixels[COUNT + 3].numpy(), planes.transpose(1, 2, 0))
    assert split.test.labels.tolist() == [n % 10 for n in range(COUNT)]


def test_cut_pickle_is_named(cifar10: Path) -> None:
    victim = cifar10 / "data_batch_3"
    victim.write_bytes(victim.read_bytes()[:-100])
    with pytest.raises(FailureError, match=r"data_batch_3 was cut short") as caught:
        load("cifar10", cifar10.parent)
    assert "--download" in caught.value.remedy


def test_altered_pickle_is_named(cifar10: Path) -> None:
    victim = cifar10 / "data_batch_2"
    content = bytearray(victim.read_bytes())
    content[500] ^= 1
    victim.write_bytes(content)
    with pytest.raises(FailureError, match=r"data_batch_2 is not the published file"):
        load("cifar10", cifar10.parent)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "stl10"])
def test_missing_set_says_how_to_get_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(FailureError, match="is missing") as caught:
        load(name, tmp_path)
    assert "--download" in caught.value.remedy
    assert str(tmp_path) in caught.value.remedy


def test_failed_download_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", refuse)
    with pytest.raises(FailureError, match="could not be downloaded: no route to host") as caught:
        load("cifar10", tmp_path, download=True)
    assert "Check the network" in caught.value.remedy


def test_svhn_digit_ten_is_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "svhn"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    for part in ("train", "test"):
        scipy.io.savemat(
            folder / f"{part}_32x32.mat", {"X": pixels, "y": np.array([[10], [1], [2], [9]])}
        )
    md5 = _declare(monkeypatch, "svhn", folder, ["train_32x32.mat", "test_32x32.mat"])
    lists = {
        part: ["", f"{part}_32x32.mat", md5[f"{part}_32x32.mat"]] for part in ("train", "test")
    }
    monkeypatch.setattr(datasets.SVHN, "split_list", lists)
    split = load("svhn", tmp_path)
    assert split.train.labels.tolist() == [0, 1, 2, 9]
    assert np.array_equal(split.train.pixels[2].numpy(), pixels[..., 2])


def test_stl10_needs_no_unlabelled_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    # Columns first, as stored.
    planes = np.random.default_rng(0).integers(0, 256, (3, 3, 96, 96), dtype=np.uint8)
    for part in ("train", "test"):
        planes.tofile(folder / f"{part}_X.bin")
        np.array([1, 10, 4], dtype=np.uint8).tofile(folder / f"{part}_y.bin")
    md5 = _declare(
        monkeypatch, "stl10", folder, ["train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin"]
    )
    unlabelled = ["unlabeled_X.bin", "0"]
    monkeypatch.setattr(
        datasets.STL10,
        "train_list",
        [*([n, md5[n]] for n in ("train_X.bin", "train_y.bin")), unlabelled],
    )
    monkeypatch.setattr(
        datasets.STL10, "test_list", [[n, md5[n]] for n in ("test_X.bin", "test_y.bin")]
    )
    split = load("stl10", tmp_path)
    assert split.train.labels.tolist() == [0, 9, 3]
    assert np.array_equal(split.train.pixels[1].numpy(), planes[1].transpose(2, 1, 0))
