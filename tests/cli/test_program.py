"""What stands before a command or around it: the version, completion, the folder of results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from small_table import Bench

import locbench

HEAVY = ["torch", "torchvision", "numpy", "pandas", "scipy", "sklearn", "PIL"]


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def test_the_version_is_the_packages(bench: Bench) -> None:
    called = bench.call("--version")
    assert (called.code, called.out) == (0, f"locbench {locbench.__version__}\n")
    root = Path(locbench.__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["version"]["path"] == "locbench/__init__.py"


def completed(line: str, **changes: str) -> tuple[list[str], list[str]]:
    """Return what bash is offered for a line's last word, and the heavy modules that are loaded."""
    script = (
        "import json, sys\n"
        "sys.argv[0] = 'locbench'\n"
        "from locbench.cli import main\n"
        "try:\n    main()\n"
        f"finally: print(json.dumps([name for name in {HEAVY} if name in sys.modules]), "
        "file=sys.stderr)\n"
    )
    asked = {
        "_LOCBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | asked | changes,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split(), json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("locbench sp", ["splits"]),
        ("locbench show pgl", ["pgl-blocks", "pgl-costs", "pgl-period"]),
        ("locbench table pgl-p", ["pgl-period"]),
        ("locbench report pgl-blocks pgl-c", ["pgl-costs"]),
        ("locbench campaign swin-l", ["swin-large", "swin-losses"]),
        ("locbench costs --network resnet3", ["resnet32", "resnet34", "resnet34-narrow"]),
        ("locbench run --network resnet32 --method hpff+pred", ["hpff+predsim"]),
        ("locbench run --dataset cifar100", ["cifar100"]),
        ("locbench table pgl-period --preset s", ["short", "smoke"]),
    ],
)
def test_words_are_completed_without_torch(line: str, words: list[str]) -> None:
    found, heavy = completed(line)
    assert sorted(found) == words
    assert heavy == []


def test_nothing_is_completed_where_tables_cannot_be_read(tmp_path: Path) -> None:
    assert completed("locbench show ", LOCBENCH_TABLES=str(tmp_path / "none"))[0] == []


def test_a_script_for_the_shell_can_be_had() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "locbench", "--show-completion", "bash"],
        env=os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "complete_bash" in done.stdout
    assert "COMP_WORDS" in done.stdout


def test_the_folder_of_results_may_be_in_the_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.folder / "home" / "mine").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(bench.folder / "home"))
    monkeypatch.setenv("LOCBENCH_RESULTS", "~/mine")
    assert str(bench.folder / "home" / "mine") in bench.call("list", "--runs").out
    assert "below theirs" in bench.call("list", "--runs", "--results", "theirs").out.replace(
        "theirs/records", "theirs"
    )
    monkeypatch.setenv("LOCBENCH_RESULTS", "")
    assert "below results/records" in bench.call("list", "--runs").out
