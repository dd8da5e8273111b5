"""Graphs of steps whose layers are compiled, on PyTorch's own CUDA code."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from cuda_compiled import RECIPES
from cuda_standin import run

pytestmark = pytest.mark.timeout(600)  # the first test waits for all recipes

HEADER = Path(sysconfig.get_paths()["include"]) / "Python.h"
NEEDS_HEADERS = pytest.mark.skipif(
    not HEADER.is_file(), reason="Triton builds against Python's headers"
)
NAMES = [
    pytest.param(name, marks=NEEDS_HEADERS) if how == "inductor" else name
    for name, how in RECIPES.items()
]

Found = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def found(standin: Path) -> Found:
    done = run(standin, "-m", "cuda_compiled", seconds=540)
    assert done.returncode == 0, done.stderr
    return {entry["name"]: entry for entry in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_compiled_before_a_capture_that_keeps_its_rules(found: Found, name: str) -> None:
    entry = found[name]
    assert entry["engine"] == "compiled+graphed", entry["warned"]
    assert len(entry["captures"]) == 1 + (name == "pgl")
    for capture in entry["captures"]:
        assert capture["notes"] == []
        assert capture["violations"] == 0
        assert capture["captured"] > 0
        assert capture["layers compiled before"] > 0
        assert capture["layers compiled in it"] == 0


@pytest.mark.parametrize("name", [name for name, how in RECIPES.items() if how == "traced"])
def test_compiled_layers_are_what_is_captured(found: Found, name: str) -> None:
    """Every layer's forward and backward pass at least once per kind of step."""
    entry = found[name]
    assert entry["functions captured"] >= 2 * entry["layers"] * len(entry["captures"])


@NEEDS_HEADERS
def test_kernels_of_a_compiler_are_captured(found: Found) -> None:
    """ResNet-8 has nine normalisations, each with its passes forwards and backwards."""
    (capture,) = found["bp"]["captures"]
    assert capture["compiled"] >= 2 * 9


@pytest.mark.parametrize("name", NAMES)
def test_a_replay_launches_one_graph_and_waits_for_nothing(found: Found, name: str) -> None:
    replay = found[name]["replay"]
    assert (replay["graph_launches"], replay["waits"], replay["allocations"]) == (1, 0, 0)
    assert replay["compiled"] == 0
