"""Whole files: permissions, leftovers, names; and reading what is no regular file of sane size."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from locbench import files
from locbench.files import file_name, probe, read_regular, remove_old_parts, write_atomically


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_the_umask_decides_the_permissions(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    write_atomically(path, b"one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    write_atomically(path, b"two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


LEFT = [
    ".abcd_123.part",
    ".locbench-0123456789abcdef.part",
    ".probe-abcdefgh",
    ".probe-01234567xxxx",
    ".cifar10-train-0123.89abcdef.partial",
]
OWN = [
    ".movie.part",
    "abcd_123.part",
    ".locbench-notes",
    ".probe-data.json",
    "x.partial",
    ".hidden.partial",
]


def test_what_killed_processes_left_goes_and_nothing_else(tmp_path: Path) -> None:
    before = time.time() - 25 * 3600
    for name in (*LEFT, *OWN):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (before, before))
    (tmp_path / ".12345678.part").write_bytes(b"being written")
    write_atomically(tmp_path / "new", b"")
    assert names(tmp_path) == sorted([*OWN, ".12345678.part", "new"])


def test_folders_and_links_of_such_a_name_stay(tmp_path: Path) -> None:
    (tmp_path / LEFT[0]).mkdir()
    (tmp_path / LEFT[1]).symlink_to(tmp_path / "nowhere")
    remove_old_parts(tmp_path, hours=-1)
    assert names(tmp_path) == LEFT[:2]


def test_a_folder_that_cannot_be_listed_has_nothing_to_remove(tmp_path: Path) -> None:
    remove_old_parts(tmp_path / "missing")
    assert names(tmp_path) == []


def test_probe_leaves_nothing(tmp_path: Path) -> None:
    probe(tmp_path / "made", 250)
    assert list((tmp_path / "made").iterdir()) == []
    with pytest.raises(OSError, match="too long"):
        probe(tmp_path, 256)


def test_irregular_files_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 30)
    for name in ("pipe", "zero", "folder", "socket", "large", "missing", "a\0b", "n" * 300):
        with pytest.raises(OSError, match=r".") as raised:
            read_regular(tmp_path / name)
        assert raised.value.strerror
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    (tmp_path / "plain").write_bytes(b"content")
    assert read_regular(tmp_path / "link") == b"content"


def test_names_are_readable_and_short_enough() -> None:
    assert (
        file_name(["resnet8", "", "bp", "imagefolder:a/b c", "0123"], ".json")
        == "resnet8-bp-imagefolder-a-b-c-0123.json"
    )
    long = file_name(
        ["resnet8", "bp", "imagefolder:" + "x/" * 200 + "birds", "e1", "s0", "0123"], ".json"
    )
    assert len(os.fsencode(long)) <= files.NAME_BYTES
    assert long.startswith("resnet8-bp-x-x-")
    assert long.endswith("-x-birds-e1-s0-0123.json")
    assert (
        len(file_name(["m" * 500, "é" * 500, "d" * 500, "s" + "9" * 400, "0123456789ab"], ".json"))
        <= 200
    )
