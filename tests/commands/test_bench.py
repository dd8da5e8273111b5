"""``locbench bench`` on the digits. No time is judged."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from locbench.cli import main


def call(*arguments: str) -> int:
    before, sys.argv = sys.argv, ["locbench", "bench", *arguments]
    try:
        main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    finally:
        sys.argv = before
    return 0


SMALL = ["--network", "resnet8", "--dataset", "digits", "--batch-size", "8", "--threads", "1"]


def test_the_command_on_the_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.csv"
    words = ["--method", "dgl", "--steps", "2", "--rounds", "2", "--json", "--out", str(out)]
    assert call(*SMALL, *words) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["method"], each["engine"]) for each in found["lines"]] == [
        (method, engine) for method in ("bp", "dgl") for engine in ("reference", "eager")
    ]
    for line in found["lines"]:
        assert len(line["rounds"]) == 2
        assert (
            line["milliseconds"]["least"]
            <= line["milliseconds"]["median"]
            <= line["milliseconds"]["most"]
        )
        assert line["prepared"]["peak_bytes"] > 0
        assert line["meter"] == "cpu allocator"
        assert line["epoch_seconds"] > 0
        assert (line["speedup"] is None) == (line["engine"] == "reference")
    assert found["threads"] == 1
    assert [each["what"] for each in found["skipped"]] == [
        "compiled",
        "graphed",
        "compiled+graphed",
    ]
    assert {"torch", "locbench"} <= found["provenance"]["versions"].keys()
    assert len(list(csv.DictReader(out.read_text().splitlines()))) == 4


def test_a_profile_on_the_digits(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*SMALL, "--profile", "--steps", "1") == 0
    text = capsys.readouterr().out
    for word in ("resnet8 bp", "convolution", "batch norm", "optimizer", "overhead"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--engines", "eger"], 2, "Did you mean 'eager'"),
        (["--engines", ","], 2, "names none"),
        ([*SMALL, "--engines", "graphed"], 2, "CUDA"),
        (["--method", "dgl"], 2, "--network"),
        ([*SMALL, "--rounds", "0"], 2, "--rounds"),
        ([*SMALL, "--threads", "0"], 2, "--threads"),
        ([*SMALL, "--out", "/dev/null/x.csv"], 1, "cannot write"),
        (["--network", "resnet9"], 2, "resnet8"),
    ],
)
def test_messages(
    arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--device", "cpu", *arguments) == code
    assert says in capsys.readouterr().err


def test_a_batch_beyond_memory_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("locbench.bench.benchmark.available_bytes", lambda: 1000)
    assert call(*SMALL, "--engines", "eager", "--device", "cpu") == 1
    error = capsys.readouterr().err
    assert "does not fit" in error
    assert "--batch-size" in error


def test_help_imports_no_torch() -> None:
    script = (
        "import sys\nfrom locbench.cli import main\nsys.argv = ['locbench', 'bench', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nsys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "--engines" in done.stdout
