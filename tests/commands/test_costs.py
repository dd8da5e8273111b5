"""`locbench costs` of one recipe, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_table import Bench
from specimens import recipe

from locbench.cli.app import app
from locbench.costs.memory.trace import peak_bytes
from locbench.errors import UsageError
from locbench.networks.chain import build_chain
from locbench.networks.flops import forward_flops


def test_costs_of_a_recipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = [
        "costs",
        "--network",
        "resnet8",
        "--method",
        "dgl",
        "--dataset",
        "digits",
        "--batch-size",
        "8",
    ]
    app([*words, "--results", str(tmp_path), "--json"], standalone_mode=False)
    entry = json.loads(capsys.readouterr().out)
    bp = recipe("bp")
    assert entry["memory_peak_bytes"] == peak_bytes(recipe("dgl"))
    assert entry["bp_peak_bytes"] == peak_bytes(bp)
    assert entry["memory_lean_bytes"] < entry["memory_peak_bytes"]
    # DGL's nets after the stem and the first two blocks.
    assert entry["params_auxiliary"] == 9_962 * 2 + 37_834
    network = forward_flops(lambda: build_chain("resnet8", 10, 16), (3, 16, 16))
    assert entry["macs"] > network.macs
    assert entry["flops"] > network.flops


def test_costs_need_a_table_or_a_recipe() -> None:
    with pytest.raises(UsageError, match="a table or a recipe is needed"):
        app(["costs", "--network", "resnet8"], standalone_mode=False)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("nosuch",), ["unknown table 'nosuch'", "locbench list"]),
        (
            ("--network", "resnet999", "--method", "bp"),
            ["unknown network 'resnet999'", "Did you mean"],
        ),
        (("--network", "resnet8", "--method", "foo"), ["unknown method 'foo'"]),
        (
            ("--network", "resnet8", "--method", "bp", "--batch-size", "0"),
            ["batch_size is 0", "1 or more"],
        ),
        (
            ("--network", "resnet8", "--method", "bp", "--image-size", "0"),
            ["image_size is 0", "1 or more"],
        ),
        (
            ("--network", "resnet8", "--method", "dgl", "--batch-size", "1"),
            ["cannot be traced", "larger batch"],
        ),
        (
            ("mini", "--network", "resnet8"),
            ["too much is given: the table's ID, --network", "Give an ID, or"],
        ),
        (("mini", "--batch-size", "0"), ["the table's ID, --batch-size"]),
        (("mini", "--residuals"), ["the table's ID, --residuals"]),
        (("--residuals", "--set", "depth=3"), ["--residuals, --set"]),
        (("--network", "resnet8"), ["a table or a recipe is needed", "--network and --method"]),
    ],
)
def test_bad_input(
    words: tuple[str, ...],
    parts: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    called = Bench(tmp_path, monkeypatch, capsys).call("costs", *words)
    assert called.code == 2
    assert called.err.startswith("error: ")
    assert all(part in called.err for part in parts)
