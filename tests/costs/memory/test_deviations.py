"""How far predictions are from what CUDA's allocator gives out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from specimens import recipe_of

from locbench.cli import main
from locbench.costs.memory.deviations import Deviation, deviation_of
from locbench.report.text import table_notes
from locbench.spec.table_files import load_table


@pytest.mark.parametrize(
    ("method", "settings", "words"),
    [
        ("bp", {}, ""),
        ("pff+dgl", {}, ""),
        ("hpff+predsim", {}, ""),
        ("infopro", {}, "up to 3 % more"),
        ("reconstruction+dgl", {}, "up to 3 % more"),
        ("pff+dgl", {"options": {"passes": "retain"}}, "up to 6 % less"),
        ("dgl", {"precision": "bf16"}, "up to 1.5 % more"),
        ("infopro", {"precision": "bf16"}, "up to 45 % more"),
        ("dgl", {"network": "vgg19"}, "up to 2 % more"),
        ("infopro", {"network": "resnet101-narrow", "modules": 2}, "up to 5 % more"),
    ],
)
def test_which_steps_deviate(method: str, settings: dict[str, Any], words: str) -> None:
    options = settings.pop("options", {})
    found = deviation_of(recipe_of(method, options, **settings))
    assert found.words == words
    assert bool(found.why) == bool(words)


def test_both_sides_in_words() -> None:
    assert Deviation(1.2, 0.875, "both").words == "up to 20 % more or up to 12 % less"


def costs(results: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    before = sys.argv
    code: object = 0
    sys.argv = ["locbench", "costs", "--network", "resnet8", "--batch-size", "8"]
    sys.argv += ["--results", str(results), *words]
    try:
        main()
    except SystemExit as stopped:
        code = stopped.code
    finally:
        sys.argv = before
    assert not code
    return capsys.readouterr().out


def test_costs_mark_predictions_that_deviate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_bf16 = costs(tmp_path, capsys, "--method", "bp", "--precision", "bf16")
    assert "~0." in in_bf16
    assert "~ on a CUDA device up to 1.5 % more: autocast" in " ".join(in_bf16.split())
    assert "~" not in costs(tmp_path, capsys, "--method", "bp")
    entry = json.loads(costs(tmp_path, capsys, "--method", "infopro", "--json"))["memory_deviation"]
    assert (entry["most"], entry["least"]) == (1.03, 1.0)


def test_reports_note_rows_that_deviate() -> None:
    (note,) = [note for note in table_notes(load_table("hpff-pff")) if "CUDA" in note]
    assert "gives out up to 3 % more than predicted" in note
    assert "ResNet-32 K=16 / InfoPro" in note
    (note,) = [note for note in table_notes(load_table("auglocal-costs")) if "CUDA" in note]
    assert note.endswith("(GPU Memory, InfoPro).")
    assert not [note for note in table_notes(load_table("pgl-blocks")) if "CUDA" in note]
