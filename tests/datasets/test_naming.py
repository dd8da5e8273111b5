"""Data sets named by a folder: odd names, one spelling."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import msgspec
import pytest
from image_folders import make

from locbench.datasets.catalogue import all_statuses, info, status
from locbench.datasets.naming import canonical, parse_name, short, without_folder
from locbench.errors import LocbenchError, UsageError
from locbench.printable import escaped


def test_all_spellings_of_a_folder_have_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "set")
    (tmp_path / "link").symlink_to("set")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    spellings = (
        "set",
        "./set",
        "set/",
        "../" + tmp_path.name + "/set",
        "~/set",
        str(folder),
        "link",
    )
    for prefix in ("imagefolder:", "imagenet:", "coco:"):
        assert {canonical(prefix + each) for each in spellings} == {f"{prefix}{folder}"}
    assert canonical("imagefolder:set?side=32") == f"imagefolder:{folder}?side=32"
    assert canonical("cifar10") == "cifar10"


@pytest.mark.parametrize(
    "name", ["why?", "a:b", "?", "what?side=big", "x?side=7?", "ü", "a b", "100%25"]
)
def test_folders_of_odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    folder = make(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    written = f"imagefolder:./{name}"
    assert parse_name(written) == (Path(name), None)
    assert parse_name(f"{written}?side=32") == (Path(name), 32)
    for each in (written, canonical(written), f"imagefolder:{folder}?side=16"):
        assert info(each).train_size == 6
    assert canonical(canonical(written)) == canonical(written)


def test_an_option_is_meant_where_both_folders_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set?side=16").mkdir()
    assert parse_name("imagefolder:set?side=16") == (Path("set?side=16"), None)
    (tmp_path / "set").mkdir()
    assert parse_name("imagefolder:set?side=16") == (Path("set"), 16)


def test_a_question_mark_that_is_not_understood_is_the_trouble(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'sides=3' in") as caught:
        info(f"imagefolder:{tmp_path}/none?sides=3")
    assert "A question mark that belongs to the folder's name" in caught.value.remedy


def test_bytes_that_are_no_utf8_can_be_written_and_read_back(tmp_path: Path) -> None:
    folder = make(tmp_path / os.fsdecode(b"caf\xe9"))
    name = canonical(f"imagefolder:{folder}")
    assert name == rf"imagefolder:{tmp_path}/caf\udce9"
    assert canonical(name) == name
    assert parse_name(name).folder == folder
    described = info(name)
    assert (described.label, described.train_size) == (r"caf\udce9 (16 px)", 6)
    assert (
        json.loads(msgspec.json.encode([status(name, folder), *all_statuses(folder)]))[0]["state"]
        == "ready"
    )
    assert escaped("plain ü ± \\udce9") == "plain ü ± \\udce9"


@pytest.mark.parametrize("path", ["n" * 300, "a\0b", "~nobody-of-this-name/x", "loop"])
@pytest.mark.parametrize("prefix", ["imagefolder:", "imagenet:", "coco:"])
def test_paths_that_no_system_takes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, prefix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(LocbenchError):
        info(prefix + path)
    for use in (canonical, lambda name: status(name, tmp_path)):
        with contextlib.suppress(LocbenchError):  # nothing else is raised
            use(prefix + path)


def test_short_names_and_kinds() -> None:
    assert short("imagefolder:/home/me/set?side=16") == "imagefolder:set?side=16"
    assert len(short("coco:/x/" + "y" * 250)) < 70
    assert short("cifar10") == without_folder("cifar10") == "cifar10"
    assert without_folder("imagefolder:/home/me/set?side=16") == "imagefolder:?side=16"
    assert without_folder("coco:/home/me/set?side=16") == "coco:"
