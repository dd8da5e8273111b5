"""Commands with ``--device cuda``, on PyTorch's own CUDA code whose kernels do nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cuda_standin import run

ROWS = ("DGL", "PGL (Aux-Adapt) Q=2")


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("records/*.json"))]


@pytest.mark.parametrize("beside", [1, 2])
def test_a_table_is_trained_with_graphs(standin: Path, tmp_path: Path, beside: int) -> None:
    """Nothing is computed, so that no guess is right; every step is captured and replayed."""
    rows = [part for row in ROWS[:beside] for part in ("--rows", row)]
    done = run(
        standin,
        *("-m", "locbench", "table", "pgl-period", "--preset", "smoke", "--device", "cuda"),
        *("--columns", "P=5", "--jobs-per-device", str(beside), "--seeds", "1", *rows),
        *("--results", str(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    found = records(tmp_path)
    assert len(found) == beside
    for record in found:
        assert record["status"] == "done"
        assert record["metrics"]["test_acc"] == 0
        assert record["provenance"]["engine"] == "graphed"
        assert record["provenance"]["device"] == "stand-in for an H100"


@pytest.mark.timeout(900)
def test_a_campaign_checks_the_device_before_it_trains(standin: Path, tmp_path: Path) -> None:
    done = run(
        standin,
        *("-m", "locbench", "campaign", "pgl-period:DGL", "--preset", "smoke", "--epochs", "1"),
        *("--seeds", "1", "--device", "cuda", "--budget", "14min", "--results", str(tmp_path)),
        seconds=840,
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing is left to do." in done.stdout
    (kept,) = [json.loads(path.read_text()) for path in tmp_path.glob("checks/*.json")]
    checks = {check["name"]: check for check in kept["checks"]}
    methods = ["bp", "dgl", "auglocal", "hpff+dgl"]
    assert list(checks) == [
        *(f"engine graphed, {method}" for method in [*methods, "pgl+dgl"]),
        *(f"memory, {method}" for method in methods),
    ]
    assert all(check["passed"] for check in checks.values())
    for method in methods:
        memory = checks[f"memory, {method}"]
        assert memory["found"] == pytest.approx(memory["expected"], rel=0.005)
    (record,) = records(tmp_path)
    assert record["status"] == "done"
    assert record["provenance"]["engine"] == "graphed"
    assert record["provenance"]["commit"] == kept["commit"]


@pytest.mark.timeout(600)  # it compiles
def test_a_run_says_that_its_graphs_are_of_compiled_layers(standin: Path, tmp_path: Path) -> None:
    done = run(
        standin,
        *("-m", "locbench", "run", "--network", "resnet8", "--method", "bp", "--device", "cuda"),
        *("--engine", "compiled+graphed", "--limit", "40", "--batch-size", "16", "--epochs", "2"),
        *("--results", str(tmp_path)),
        seconds=540,
    )
    assert done.returncode == 0, done.stderr
    (record,) = records(tmp_path)
    assert record["provenance"]["engine"] == "compiled+graphed", done.stderr


def test_a_benchmark_times_the_reference_and_the_engines(standin: Path) -> None:
    done = run(
        standin,
        *("-m", "locbench", "bench", "--device", "cuda", "--network", "resnet8", "--method", "bp"),
        *("--batch-size", "16", "--engines", "reference,eager,graphed", "--json"),
        *("--rounds", "1", "--seconds", "0.1"),
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results["evaluation"]
    lines = {(line["method"], line["engine"]): line for line in results["lines"]}
    assert len(lines) == 3
    for (_, engine), line in lines.items():
        assert line["error"] == ""
        assert line["ran"] == engine
        predicted, peak = line["bound"]["predicted_peak_bytes"], line["prepared"]["peak_bytes"]
        if engine == "eager":
            assert abs(peak / predicted - 1) < 0.01


def test_a_plan_rates_the_device_by_the_recipes_own_steps(standin: Path) -> None:
    """Every step takes a millisecond there, forwards and backwards; evaluation is a third of it."""
    done = run(
        standin,
        *("-m", "locbench", "run", "--network", "resnet14", "--method", "bp", "--device", "cuda"),
        *("--dataset", "cifar10", "--batch-size", "500", "--epochs", "30", "--plan", "--json"),
    )
    assert done.returncode == 0, done.stderr
    (planned,) = json.loads(done.stdout)["runs"]
    steps = 30 * 50_000 / 500 + 30 * 10_000 / 500 / 3
    assert abs(planned["estimated_seconds"] / (steps / 1000) - 1) < 0.02
