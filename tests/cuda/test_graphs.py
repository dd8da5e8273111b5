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
