"""Plugins from the command line: trained in further processes, and their records without them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from plugin_files import PLUGINS

ROOT = Path(__file__).parents[2]


def call(folder: Path, *words: str, code: int = 0, **environment: str) -> tuple[str, str]:
    """Call locbench in a process of its own, and return what it says."""
    others = {name: value for name, value in os.environ.items() if "LOCBENCH" not in name}
    done = subprocess.run(
        [sys.executable, "-m", "locbench", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env=others | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"} | environment,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def records(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "results" / "records").glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of a plugin's method, network and data set side by side, and one of neither."""
    made = tmp_path_factory.mktemp("own")
    for name in ("smoothed.py", "bars.py"):
        (made / name).write_bytes((PLUGINS / name).read_bytes())
    usual = ("--epochs", "1", "--device", "cpu", "--jobs-per-device", "2")
    run = ("run", "--network", "convnet3", "--method", "smoothed", "--dataset", "bars")
    plugins = ("--plugin", "bars.py", "--set", "smoothing=0.2", "--seeds", "2")
    call(made, "--plugin", "smoothed.py", *run, *plugins, *usual)
    call(made, "run", "--network", "resnet8", "--method", "bp", "--limit", "20", *usual)
    return made


def test_records_keep_name_and_digest(folder: Path) -> None:
    bars, other, *more = records(folder)
    assert {each["status"] for each in records(folder)} == {"done"}
    assert bars["provenance"]["plugins"] == {
        name: hashlib.sha256((PLUGINS / f"{name}.py").read_bytes()).hexdigest()
        for name in ("bars", "smoothed")
    }
    (branch,) = bars["recipe"]["composition"]["branches"]
    assert (branch["kind"], branch["smoothing"]) == ("smoothed", 0.2)
    assert bars["data"]["label"] == "Bars"
    assert bars["provenance"]["beside"] == 2
    assert other["recipe"]["seed"] + bars["recipe"].get("seed", 0) == 1
    assert ["plugins" in each["provenance"] for each in more] == [False]


def test_with_the_plugins_they_are_there(folder: Path) -> None:
    files = os.pathsep.join(("smoothed.py", "bars.py"))
    said, _ = call(folder, "list", "--runs", "--json", LOCBENCH_PLUGINS=files)
    listed = {each["method"]: each["plugins"] for each in json.loads(said)}
    assert set(listed) == {"smoothed", "bp"}
    assert set(listed["smoothed"]) == {"bars", "smoothed"}
    assert listed["bp"] == {}


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("list", "--runs"),
        ("report",),
        ("table", "pgl-period", "--preset", "smoke", "--plan"),
    ],
    ids=" ".join,
)
def test_without_the_plugins_all_goes_on_and_they_are_counted(
    folder: Path, words: tuple[str, ...]
) -> None:
    before = records(folder)
    _, said = call(folder, *words)
    flat = " ".join(said.split())
    # A plan looks at the records of its own runs alone.
    named = "convnet3' is of the plugin 'bars' or 'smoothed', which is not loaded" in flat
    assert named == ("--plan" not in words)
    assert "elete" not in said
    assert records(folder) == before


def test_what_a_plugin_that_cannot_be_used_ends_with(tmp_path: Path) -> None:
    _, said = call(tmp_path, "list", "--plugin", "gone.py", code=2)
    assert f"error: there is no plugin {tmp_path / 'gone.py'}" in said
    (tmp_path / "own.py").write_text("\nimport not_there\n", encoding="utf-8")
    _, said = call(tmp_path, "list", LOCBENCH_PLUGINS="own.py", code=1)
    assert f"{tmp_path / 'own.py'}:2: ModuleNotFoundError: No module named 'not_there'" in said
    text = (PLUGINS / "smoothed.py").read_text(encoding="utf-8")
    (tmp_path / "own.py").write_text(text.replace('"smoothed")', '"dgl")'), encoding="utf-8")
    _, said = call(tmp_path, "--plugin", "own.py", "list", code=2)
    assert "the method 'dgl' is registered twice: locbench has one" in said
    failing = text.replace(
        "        return Composition(", "        1 / 0\n        return Composition("
    )
    (tmp_path / "own.py").write_text(failing, encoding="utf-8")
    line = 1 + failing[: failing.index("1 / 0")].count("\n")
    costs = ("costs", "--network", "resnet8", "--method", "smoothed", "--plugin", "own.py")
    _, said = call(tmp_path, *costs, code=1)
    assert f"error: the plugin failed at {tmp_path / 'own.py'}:{line}: ZeroDivisionError" in said


def test_the_guide_for_contributors_has_the_examples_word_for_word() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = [part.partition("```")[0] for part in guide.split("```python\n")[1:]]
    for path in PLUGINS.glob("*.py"):
        assert path.read_text(encoding="utf-8") in blocks
    method = (PLUGINS / "smoothed.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in method if line.strip()]) <= 40
