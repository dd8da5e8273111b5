"""What stands before a command or around it: the version, completion, the folder of results."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
from small_table import MINI, ONE_CELL, Bench

import locbench
from locbench.cli.app import app

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


def test_a_check_of_reduced_runs_passes_and_tells_what_is_missing(bench: Bench) -> None:
    bench.call("table", "mini", *ONE_CELL, "--epochs", "1")
    called = bench.call("report", "mini", "--check")
    assert (called.code, called.err) == (0, "")
    assert called.out == "0 values judged in 1 table, 0 off.\n"
    called = bench.call("report", "--check", "--fail-on", "missing")
    assert called.code == 1
    # Five cells, one of which has its run.
    assert [line.split(": ")[:2] for line in called.out.splitlines()] == [["missing", "mini"]] * 4
    assert called.err.startswith("error: the check failed: 4 missing.")
    chosen = ("--rows", "DGL", "--columns", "J=2")
    assert bench.call("report", "mini", "--check", "--fail-on", "missing", *chosen).code == 0


def test_a_check_of_full_runs_fails_on_what_is_off(bench: Bench) -> None:
    printed = MINI.replace('"Backprop" = ["93.0", ""]', '"Backprop" = ["0.5", ""]')
    bench.write(printed)
    record = json.loads(
        bench.call("table", "mini", "--rows", "Backprop", "--seeds", "3", "--json").out
    )
    (entry,) = record["comparisons"][0]["entries"]
    assert entry["verdict"] == "off"  # nobody guesses so badly
    called = bench.call("report", "mini", "--check")
    assert called.code == 1
    (line,) = called.out.splitlines()
    assert line.startswith("off: mini: Backprop, J=4: Test accuracy (%) ")
    assert "paper 0.5, ours - paper +" in line
    called = bench.call("report", "mini", "--check", "--json")
    assert called.code == 1
    assert called.json["passed"] is False
    assert [each["entry"]["published"]["value"] for each in called.json["failures"]] == [0.5]
    assert bench.call("report", "mini", "--check", "--tolerance", "99.5").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--fail-on", "missing"), "Add --check."),
        (("--tolerance", "1"), "Add --check."),
        (("--check", "--tolerance", "-1"), "--tolerance is -1.0"),
        (("--check", "--tolerance", "nan"), "--tolerance is nan"),
        (("--check", "--format", "csv"), "--check prints what fails and no report"),
        (("--check", "--fail-on", "nothing"), "'missing', 'failed'"),
        (("--check",), "there are no records below results"),
    ],
)
def test_wrong_checks(bench: Bench, arguments: tuple[str, ...], words: str) -> None:
    called = bench.call("report", *arguments)
    assert called.code == 2
    assert words in " ".join(called.err.split())


def test_published_numbers_for_a_paper_need_no_record(bench: Bench) -> None:
    out = bench.call("report", "mini", "--layout", "paper", "--columns", "J=2").out
    assert "85.70 $\\pm$ 0.12 \\\\" in out
    assert "83.63" not in out
    assert "\\label{tab:mini-paper}" in out
    called = bench.call("report", "mini", "--layout", "paper", "--label", "x", "--out", "tex")
    assert called.out.split() == ["tex/mini-paper.tex"]
    assert "\\label{x}" in (bench.folder / "tex" / "mini-paper.tex").read_text(encoding="utf-8")
    assert "| DGL" in bench.call("report", "mini", "--layout", "paper", "--format", "markdown").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--layout", "ours"), "there are no records below results"),
        (("--layout", "mine"), "'ours', 'both', 'paper'"),
        (("--layout", "paper", "--format", "csv"), "--layout is of LaTeX and Markdown"),
        (("--layout", "paper", "--json"), "--layout is of LaTeX and Markdown"),
        (("--layout", "paper", "--claims"), "--layout has numbers alone"),
        (("--layout", "paper", "--plot", "x.png"), "--plot draws whole tables"),
        (("--caption", "x"), "Add --layout ours."),
        (("--layout", "paper", "--caption", "5 %"), "% needs a backslash before it"),
        (("--layout", "paper", "--label", "a b"), "'a b' is no label"),
        (("--layout", "paper", "--label", "x", "--format", "markdown"), "of one table in LaTeX"),
        (("--layout", "paper", "--rows", "nothing"), "table mini has no row 'nothing'"),
    ],
)
def test_wrong_layouts(bench: Bench, arguments: tuple[str, ...], words: str) -> None:
    called = bench.call("report", "mini", *arguments)
    assert called.code == 2
    assert words in " ".join(called.err.replace("│", " ").split())


def test_quiet_prints_results_alone_and_verbose_every_epoch(bench: Bench) -> None:
    train = ("run", "--network", "resnet8", "--method", "bp", "--limit", "64", "--epochs", "2")
    normal = bench.call(*train).out.splitlines()
    quiet = bench.call(*train, "--rerun", "-q").out.splitlines()
    assert [line for line in normal if "epoch 1/2" in line] == []
    assert quiet[0].startswith("done: bp on digits, seed 0: ")
    assert quiet[1:] == [line for line in normal if ".json" in line]
    verbose = bench.call(*train, "--rerun", "--verbose").out
    assert "engine eager: graphed needs a CUDA device, this one is cpu" in verbose
    for epoch in ("epoch 1/2: training loss ", "epoch 2/2: training loss "):
        (line,) = [each for each in verbose.splitlines() if epoch in each]
        assert "learning rate " in line
    assert "test " in line  # the last epoch is tested


def test_quiet_tables_are_the_reports_without_what_led_to_them(bench: Bench) -> None:
    train = ("table", "mini", *ONE_CELL, "--epochs", "1")
    normal = bench.call(*train).out
    quiet = bench.call(*train, "-q").out  # recorded by now
    assert quiet.startswith("PGL, Table 9: ")
    assert normal.endswith(quiet)
    assert "1 runs, 0 recorded" in normal
    campaign = ("campaign", "mini::J=2", "--seeds", "1", "--device", "cpu", "--no-check", "-q")
    lines = bench.call(*campaign).out.splitlines()
    assert [line.split()[0] for line in lines if line.strip()] == ["table", "mini::J=2"]


def test_verbose_names_every_file_that_is_set_aside(bench: Bench) -> None:
    (bench.results / "records").mkdir(parents=True)
    for index in range(7):
        (bench.results / "records" / f"{index}.json").write_text("{", encoding="utf-8")
    assert bench.call("list").err.count("0.json and 6 more: it is no record") == 1
    assert bench.call("list", "-v").err.count(".json: it is no record") == 7
    called = bench.call("list", "-q", "-v")
    assert called.code == 2
    assert "--quiet and --verbose are opposites" in called.err


def test_the_commands_of_the_guide_for_integration_exist() -> None:
    guide = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (workflow,) = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    commands = [line.split() for line in re.findall(r"- run: locbench (.*)", workflow)]
    assert [words[0] for words in commands] == ["env", "table", "report", "report", "report"]
    group: Any = typer.main.get_command(app)
    for name, *arguments in commands:
        context = group.commands[name].make_context(name, arguments)  # raises at an unknown option
        assert context.info_name == name
