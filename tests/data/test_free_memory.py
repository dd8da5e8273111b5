"""Free memory, by files as Linux writes them."""

from pathlib import Path

import pytest

from locbench.data import free_memory


def test_free_memory_is_the_least_of_all_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(free_memory, "_PROC", tmp_path)
    monkeypatch.setattr(free_memory, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(free_memory, "_address_space", lambda: None)
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:     5 kB\n")
    assert free_memory.free_memory() == 5 * 1024
    own = tmp_path / "groups" / "box"
    own.mkdir(parents=True)
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("0::/box\n")
    (own / "memory.max").write_text("max\n")
    (own / "memory.current").write_text("900\n")
    assert free_memory.free_memory() == 5 * 1024
    (own / "memory.max").write_text("1000\n")
    (own / "memory.stat").write_text("anon 100\ninactive_file 700\n")
    assert free_memory.free_memory() == 800
    monkeypatch.setattr(free_memory, "_address_space", lambda: 300)
    assert free_memory.free_memory() == 300
