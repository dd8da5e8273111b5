"""Changed files are noticed, and runs on other data never answer for these."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from coco_specimens import write_coco
from image_folders import SIDE, make
from PIL import Image
from small_table import Bench

from locbench.data import content
from locbench.data.content import content_of
from locbench.data.images import load
from locbench.detection.loading import load_detection
from locbench.errors import FailureError
from locbench.execution.identity import refuse_changed
from locbench.results.store import RecordFiles
from locbench.spec.recipe import Recipe
from locbench.spec.validation import make_recipe

RUN = ("run", "--network", "resnet8", "--method", "bp", "--epochs", "1", "--batch-size", "4")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "set")


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count as old at once."""
    monkeypatch.setattr(content, "_SETTLED", -(10**12))


def repaint(path: Path, colour: int) -> None:
    """Change an image's pixels and neither inode nor size nor time, as ``cp -p`` may."""
    before = path.stat()
    Image.fromarray(np.full((SIDE, SIDE, 3), colour, dtype=np.uint8)).save(path)
    after = path.stat()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (
        after.st_ino,
        after.st_size,
        path.stat().st_mtime_ns,
    )


def bitmap(folder: Path, name: str = "0.bmp") -> Path:
    path = folder / "train" / "a" / name
    Image.fromarray(np.full((SIDE, SIDE, 3), 1, dtype=np.uint8)).save(path)
    return path


@pytest.mark.usefixtures("settled")
def test_files_replaced_with_their_old_times_have_new_pixels(folder: Path, tmp_path: Path) -> None:
    path = bitmap(folder)
    name = f"imagefolder:{folder}"
    first, before = load(name, tmp_path), content_of(name, tmp_path).now
    repaint(path, 200)
    assert content_of(name, tmp_path).now != before
    second = load(name, tmp_path)
    assert second.fingerprint != first.fingerprint
    assert (second.train.pixels[0] == 200).all()


@pytest.mark.usefixtures("settled")
def test_files_that_change_places_are_noticed(folder: Path, tmp_path: Path) -> None:
    one, other = bitmap(folder), bitmap(folder, "1.bmp")
    repaint(other, 9)
    name = f"imagefolder:{folder}"
    first = load(name, tmp_path)
    for path, to in ((one, folder / "x"), (other, one), (folder / "x", other)):
        path.rename(to)
    second = load(name, tmp_path)
    assert torch.equal(second.train.pixels[0], first.train.pixels[2])  # 0.bmp, 0.png, 1.bmp, 1.png
    assert torch.equal(second.train.pixels[2], first.train.pixels[0])
    assert second.fingerprint != first.fingerprint


@pytest.mark.usefixtures("settled")
def test_files_are_read_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"imagefolder:{folder}"
    before = content_of(name, tmp_path)
    read: list[str] = []
    original = content._digest
    monkeypatch.setattr(content, "_digest", lambda path: read.append(path.name) or original(path))
    assert content_of(name, tmp_path) == before
    assert read == []
    (folder / "train" / "b" / "1.png").touch()
    assert content_of(name, tmp_path).now == before.now
    assert read == ["1.png"]


def test_files_that_have_just_changed_are_read_again(folder: Path, tmp_path: Path) -> None:
    """A second change might fall into the same tick of the file system's clock."""
    content_of(f"imagefolder:{folder}", tmp_path)
    assert not list((tmp_path / ".cache").glob("digests-*"))


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    "text", [b"", b"\x80", b"\x81\xa1a\x95\x01\x02\x03\x04\x05", b"\xff" * 99], ids="abcd"
)
def test_a_spoilt_book_of_digests_is_made_anew(folder: Path, tmp_path: Path, text: bytes) -> None:
    name = f"imagefolder:{folder}"
    before = content_of(name, tmp_path).now
    for path in (tmp_path / ".cache").iterdir():
        path.write_bytes(text)
    assert content_of(name, tmp_path).now == before


def test_a_cache_that_cannot_be_written_costs_reading_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".cache").write_text("a file")
    before = content_of(f"imagefolder:{folder}", tmp_path)
    assert content_of(f"imagefolder:{folder}", tmp_path) == before


def test_content_is_that_of_the_files_wherever_they_are(folder: Path, tmp_path: Path) -> None:
    before = content_of(f"imagefolder:{folder}", tmp_path).now
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert content_of(f"imagefolder:{copy}", tmp_path).now == before
    (copy / "train" / "a" / "0.png").rename(copy / "train" / "a" / "9.png")
    assert content_of(f"imagefolder:{copy}", tmp_path).now != before
    assert content_of("cifar10", tmp_path) == ("", ())


def test_streams_and_detectors_sets_notice_changed_pixels(folder: Path, tmp_path: Path) -> None:
    path = bitmap(folder)
    before = load(f"imagenet:{folder}", tmp_path).fingerprint
    repaint(path, 77)
    assert load(f"imagenet:{folder}", tmp_path).fingerprint != before
    coco = write_coco(tmp_path / "coco")
    image = coco / "train2017" / "ten.png"
    first = load_detection(f"coco:{coco}", tmp_path).fingerprint
    Image.fromarray(np.zeros((8, 12, 3), dtype=np.uint8)).save(image)
    assert load_detection(f"coco:{coco}", tmp_path).fingerprint != first


def test_what_a_folder_held_before_is_remembered(folder: Path, tmp_path: Path) -> None:
    name = f"imagefolder:{folder}"
    first = content_of(name, tmp_path)
    path = bitmap(folder)
    second = content_of(name, tmp_path)
    assert (first.before, second.before) == ((), (first.now,))
    path.unlink()
    assert content_of(name, tmp_path) == (first.now, (second.now,))


def recipe_on(dataset: str, held: str) -> Recipe:
    settings = {
        "network": "resnet8",
        "method": "bp",
        "dataset": dataset,
        "epochs": 1,
        "batch_size": 4,
        "lr": 0.1,
    }
    return msgspec.structs.replace(make_recipe(settings), content=held)


def test_content_decides_the_key_in_the_folders_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    one = recipe_on("imagefolder:set", "c0ffee")
    assert one.dataset == f"imagefolder:{folder}"
    assert (
        one.key
        == recipe_on(f"imagefolder:{folder}/", "c0ffee").key
        == recipe_on("imagefolder:a/b", "c0ffee").key
    )
    assert one.key != recipe_on("imagefolder:set", "decade").key
    assert one.key != recipe_on("imagefolder:set?side=32", "c0ffee").key
    assert "content" not in json.loads(msgspec.json.encode(recipe_on("digits", "")))


def test_keys_of_records_that_ship_with_the_project_stay() -> None:
    tests = Path(__file__).parents[1]
    records = [*tests.parent.glob("results/records/*.json"), *tests.glob("results/older/*.json")]
    assert records
    for path in records:
        assert path.stem.endswith(RecordFiles(path.parent).load(path).recipe.key)


def test_a_folder_that_changes_is_trained_on_anew_and_said_so(bench: Bench, folder: Path) -> None:
    dataset = ("--dataset", "imagefolder:set")
    assert bench.call(*RUN, *dataset).code == 0
    for spelling in ("imagefolder:./set/", f"imagefolder:{folder}"):
        assert "[1/1]" not in bench.call(*RUN, "--dataset", spelling).out
    (first,) = bench.records()
    shutil.rmtree(folder)
    make(folder, classes=("a", "b", "c"))
    changed = bench.call(*RUN, *dataset)
    assert "[1/1]" in changed.out
    assert "imagefolder:set have changed" in changed.out
    assert "1 recorded and 0 begun runs are of other data" in changed.out
    records = bench.records()
    assert first in records
    assert (
        len({each.key for each in records})
        == len({each.data.fingerprint for each in records if each.data})
        == 2
    )
    # Nothing is left to say once they are trained.
    assert "have changed" not in bench.call(*RUN, *dataset).out


def test_a_table_shows_runs_on_the_data_that_are_there(bench: Bench, folder: Path) -> None:
    command = (
        "table",
        "mini",
        "--preset",
        "smoke",
        "--dataset",
        "imagefolder:set",
        "--rows",
        "DGL",
    )
    command = (*command, "--columns", "J=2", "--epochs", "1")
    assert bench.call(*command).code == 0
    bitmap(folder)
    again = bench.call(*command)
    assert "1 runs, 0 recorded" in again.out
    assert len(bench.records()) == 2
    report = bench.call("report", "mini", "--format", "json").json
    shown = [entry for each in report["comparisons"] for entry in each["entries"] if entry["n"]]
    assert [entry["n"] for entry in shown] == [1, 1]


def test_data_that_change_after_the_plan_are_refused(folder: Path, tmp_path: Path) -> None:
    name = f"imagefolder:{folder}"
    recipe = recipe_on(name, content_of(name, tmp_path).now)
    refuse_changed(recipe, tmp_path)
    bitmap(folder)
    with pytest.raises(FailureError, match="have changed since the run was planned"):
        refuse_changed(recipe, tmp_path)


def test_a_limit_beyond_the_set_is_told_as_what_there_is(bench: Bench) -> None:
    """The table's own limit is 64 images, the digits have 1,437."""
    command = (
        "table",
        "mini",
        "--rows",
        "DGL",
        "--columns",
        "J=2",
        "--epochs",
        "1",
        "--seeds",
        "1",
    )
    said = " ".join(bench.call(*command, "--limit", "5000").out.split())
    assert "1,437 training images" in said
    assert "5,000" not in said
