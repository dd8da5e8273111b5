"""What graphs of steps leave behind, on PyTorch's own CUDA code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cuda_standin import run


@pytest.fixture(scope="module")
def observed(standin: Path) -> dict[str, Any]:
    done = run(standin, "-m", "cuda_graphs")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_graphed_runs_leave_nothing_but_cublas_workspaces(observed: dict[str, Any]) -> None:
    assert len(set(observed["left"])) == 1
    first, second = observed["occupied"]
    assert first == second == 64 * 2**20


def test_a_last_batch_has_a_graph_that_takes_no_memory_besides(observed: dict[str, Any]) -> None:
    assert observed["last batch"] == {"grown": 0, "256": 1, "100": 1, "50": 0}


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("read", "operation not permitted when stream is capturing"),
        ("memory", "CUDA out of memory. Tried to allocate 100.00 GiB"),
        ("copy", "Cannot copy between CPU and CUDA tensors during CUDA graph capture"),
    ],
)
def test_after_a_capture_that_failed_all_goes_on_and_the_cause_is_said(
    observed: dict[str, Any], how: str, why: str
) -> None:
    found = observed["broken off"][how]
    assert (found["ran"], found["next"]) == ("eager", "graphed")
    assert found["same stream"]
    assert why in found["said"]


@pytest.mark.parametrize(
    ("how", "ran", "launches", "words"),
    [
        ("read", "graphed", 1, "no graph of steps on 100 images, which run without: CUDA error"),
        ("memory", "eager", 0, "no graph of steps, which run without: CUDA out of memory"),
    ],
)
def test_without_a_graph_of_the_last_batch_whole_ones_keep_theirs_unless_memory_is_short(
    observed: dict[str, Any], how: str, ran: str, launches: int, words: str
) -> None:
    found = observed["last batch spoilt"][how]
    assert found["ran"] == ran
    assert found["said"].count("no graph") == found["said"].count(words) == 1
    assert (found["256"], found["100"], found["50"]) == (launches, 0, 0)


@pytest.mark.parametrize("name", ["bp", "dgl", "vgg19"])
def test_a_graphs_peak_is_a_steps_and_its_inputs(observed: dict[str, Any], name: str) -> None:
    """Images and labels are there twice: as a batch, and where the graph reads them.

    What it is compared with before it is used does not count.
    """
    found = observed["memory"][name]
    expected = found["predicted"] + found["inputs"]
    assert abs(found["peak"] / expected - 1) < 0.001
