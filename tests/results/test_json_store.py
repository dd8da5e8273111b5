"""The one store of JSON files: what is read, passed over, written, or held in memory."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from locbench.errors import FailureError
from locbench.files import indented_json
from locbench.results.json_store import JsonStore, UnusableError


class Peak(msgspec.Struct, frozen=True):
    """What the files of these tests hold."""

    name: str
    size: int


class Peaks(JsonStore[Peak]):
    def _fault_of(self, value: Peak, path: Path) -> str:
        return "" if value.name == path.stem else "it holds another step than its name says"


@pytest.fixture
def peaks(tmp_path: Path) -> Peaks:
    return Peaks(tmp_path / "peaks", Peak)


def test_what_is_written_is_read_by_another_store(peaks: Peaks) -> None:
    path, peak = peaks.folder / "a.json", Peak("a", 7)
    peaks.write(path, peak)
    assert path.read_bytes() == b'{\n "name": "a",\n "size": 7\n}\n'
    assert Peaks(peaks.folder, Peak).read(path) == peak


def test_a_missing_file_is_no_fault_and_a_dangling_link_is_one(peaks: Peaks) -> None:
    peaks.folder.mkdir()
    assert peaks.read(peaks.folder / "a.json") is None
    assert peaks.set_aside.why == {}
    (peaks.folder / "b.json").symlink_to("nowhere")
    assert peaks.read(peaks.folder / "b.json") is None
    assert peaks.set_aside.why == {peaks.folder / "b.json": "No such file or directory"}


def test_a_file_in_order_again_is_no_longer_set_aside(peaks: Peaks) -> None:
    path = peaks.folder / "a.json"
    peaks.write(path, Peak("b", 7))
    assert peaks.read(path) is None
    assert peaks.set_aside.why == {path: "it holds another step than its name says"}
    with pytest.raises(UnusableError, match="another step"):
        peaks.load(path)
    path.write_bytes(indented_json(Peak("a", 8)))
    assert peaks.read(path) == Peak("a", 8)
    assert peaks.set_aside.why == {}


def test_files_are_matched_by_name_in_order(peaks: Peaks) -> None:
    for name in ("b-1", "a-1", "a-2"):
        peaks.write(peaks.folder / f"{name}.json", Peak(name, 1))
    (peaks.folder / "a-3.json").write_bytes(b"{")
    assert [peak.name for peak in peaks.matching("a-*.json")] == ["a-1", "a-2"]
    assert list(peaks.set_aside.why) == [peaks.folder / "a-3.json"]


def test_what_cannot_be_written_is_held_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    peaks = Peaks(tmp_path / "file" / "peaks", Peak)
    path = peaks.folder / "a.json"
    with pytest.raises(FailureError, match="cannot write"):
        peaks.write(path, Peak("a", 7))
    assert peaks.read(path) is None
    assert peaks.keep(path, Peak("a", 7)).startswith(f"cannot write {path}")
    assert peaks.read(path) == Peak("a", 7)
    assert Peaks(peaks.folder, Peak).read(path) is None
