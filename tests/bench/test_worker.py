"""Processes that take steps, and what they raise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from bench_cases import cases

from locbench.bench.worker import Side, StepServer, Worker
from locbench.errors import FailureError, LocbenchError, UsageError
from locbench.training.device import choose_device

SIDE = Side(reference=False, device=torch.device("cpu"), precision="fp32", threads=1)


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(SIDE)
    yield worker
    worker.close()
    assert not worker.processes


def test_a_process_says_what_is_wrong(worker: Worker) -> None:
    with pytest.raises(LocbenchError, match="ended"):
        worker.call(StepServer.time, 0, 1)
    (bp,) = cases("bp")
    with pytest.raises(UsageError, match="CUDA"):
        worker.call(StepServer.prepare, 0, bp, "graphed")
    with pytest.raises(FailureError, match=r"^ZeroDivisionError"):
        worker.call(StepServer.profile, bp, 0)
    assert worker.call(StepServer.prepare, 0, bp, "eager").engine == "eager"
    assert worker.call(StepServer.time, 0, 1) > 0
    (process,) = worker.processes
    process.kill()
    with pytest.raises(FailureError, match="was ended"):
        worker.call(StepServer.time, 0, 1)
    with pytest.raises(FailureError, match="its process was ended with it"):
        worker.call(StepServer.time, 0, 1)


def test_any_cuda_device_of_the_command_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.cuda.set_device` demands a number, which ``--device auto`` does not have."""
    devices: list[int] = []

    def set_device(device: torch.device) -> None:
        assert device.index is not None
        devices.append(device.index)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_device", set_device)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    for reference in (True, False):
        server = StepServer(Side(reference, choose_device("auto"), "fp32", None))
        assert server.meter.name == "cuda allocator"
    assert devices == [0, 0]
