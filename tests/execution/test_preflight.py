"""The look at a device before hours are spent on it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import torch

from locbench.costs.measured import measure as measuring
from locbench.costs.measured.store import Measurement
from locbench.costs.memory.trace import peak_bytes
from locbench.execution.preflight import METHODS, memory_checks
from locbench.spec.recipe import Recipe

WORKSPACES = 64 * 2**20
"""What cuBLAS keeps."""


def test_memory_is_compared_without_what_was_allocated_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measure = measuring.measure

    def measured(recipe: Recipe, device: torch.device, **lengths: Any) -> Measurement:
        allocated = peak_bytes(recipe) + WORKSPACES
        small = msgspec.structs.replace(recipe, network="resnet8", batch_size=2)
        return msgspec.structs.replace(
            measure(small, "cpu", steps=1), allocated_bytes=allocated, occupied_bytes=WORKSPACES
        )

    monkeypatch.setattr(measuring, "measure", measured)
    checks = list(memory_checks(torch.device("cuda", 0)))
    assert [check.name for check in checks] == [f"memory, {method}" for method, _ in METHODS[:4]]
    assert [check.found for check in checks] == [check.expected for check in checks]
    assert all(check.passed for check in checks)
