"""What a bug report gets: devices, folders, data, variables, and what cannot be read."""

from __future__ import annotations

import builtins
import hashlib
import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from plugin_files import PLUGINS, loaded
from rich.console import Console
from small_table import ONE_CELL, Bench

import locbench
from locbench.console import Terminal
from locbench.execution import environment as module
from locbench.execution.environment import DeviceFacts, environment
from locbench.terminal.environment import lines, print_environment


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def test_env_prints_lines_and_json(bench: Bench) -> None:
    bench.call("table", "mini", *ONE_CELL, "--epochs", "1")
    (bench.results / "records" / "spoilt.json").write_text("{", encoding="utf-8")
    called = bench.call("env")
    assert called.code == 0
    named = [line.split(None, 1) for line in called.out.splitlines() if line[0] != " "]
    said = {name: text for name, text in named if name not in ("tables", "variable")}
    assert said["locbench"].startswith(locbench.__version__)
    assert said["python"].startswith(platform.python_version())
    assert f"torch {torch.__version__.split('+')[0]}" in said["packages"]
    assert said["threads"].startswith(f"{torch.get_num_threads()} on ")
    assert said["results"] == f"{bench.results}: 1 record, 1 file set aside"
    assert said["data"] == f"{bench.folder / 'data'}: 2 ready"  # digits and drawn shapes
    assert f"tables      {bench.tables}: 1 table\n" in called.out
    assert f"variable    LOCBENCH_DATA={bench.folder / 'data'}\n" in called.out
    (bench.folder / "theirs").mkdir()
    several = bench.call("env", "--results", "results", "--results", "theirs").out
    assert f"results     {bench.folder / 'theirs'}: no records\n" in several
    read = bench.call("env", "--json").json
    assert read["versions"]["python"] == platform.python_version()
    assert read["torch"]["devices"][0]["name"] == "cpu"
    assert isinstance(read["torch"]["devices"][0]["bfloat16"], bool)
    states = {each["name"]: each["state"] for each in read["datasets"]}
    assert (states["digits"], states["svhn"]) == ("ready", "missing")
    assert read["variables"]["LOCBENCH_DATA"] == str(bench.folder / "data")
    assert read["plugins"] == []


def test_folders_that_are_not_there_are_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOCBENCH_TABLES", str(tmp_path / "none"))
    facts = environment([tmp_path / "nothing"], tmp_path / "no data")
    (tables,) = facts.tables
    assert tables.holds == f"LOCBENCH_TABLES names no folder: {tmp_path / 'none'}"
    assert facts.results[0].holds == "no records"
    called = bench.call("env")
    assert called.code == 0
    assert "LOCBENCH_TABLES names no folder" in called.out


def test_plugins_are_named_with_their_digests(bench: Bench) -> None:
    file = PLUGINS / "bars.py"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with loaded(file):
        out = bench.call("env").out
    assert f"plugin      bars, {digest[:12]}, {file}\n" in out


def test_a_broken_installation_of_torch_is_what_has_to_be_known(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = builtins.__import__

    def broken(name: str, *others: Any, **settings: Any) -> Any:
        if name == "torch":
            raise OSError("libcudart.so: cannot open shared object file")
        return found(name, *others, **settings)

    monkeypatch.setattr(builtins, "__import__", broken)
    facts = environment([bench.results], bench.folder)
    monkeypatch.undo()
    assert facts.torch.fault == "OSError: libcudart.so: cannot open shared object file"
    assert facts.torch.devices == ()
    words = dict(lines(facts))
    assert words["torch"] == f"cannot be imported: {facts.torch.fault}"


def test_cuda_devices_have_memory_and_capability(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = tmp_path / "version"
    driver.write_text("550.54.14\n", encoding="ascii")
    monkeypatch.setattr(module, "DRIVER", driver)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A Tesla")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    properties = SimpleNamespace(total_memory=32 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    facts = environment([bench.results], bench.folder)
    assert facts.torch.devices[1] == DeviceFacts("cuda:0", "A Tesla", False, 32 * 2**30, "7.0")
    words = dict(lines(facts))
    assert words["cuda:0"] == "A Tesla, 32.0 GiB, compute capability 7.0, bfloat16 no"
    assert words["torch"].endswith("driver 550.54.14")


def test_nothing_is_wrapped(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    facts = environment([bench.results], bench.folder)
    capsys.readouterr()
    console: Console = Terminal(width=40)
    print_environment(console, facts)  # type: ignore[arg-type]
    assert len(capsys.readouterr().out.splitlines()) == len(list(lines(facts)))
