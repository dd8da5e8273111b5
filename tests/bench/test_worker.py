"""Processes that take steps, and what they raise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from bench_cases import cases

from locbench.bench.worker import Side, StepServer, Worker
from locbench.costs.measured.step_meter import CpuMeter, Peaks
from locbench.errors import FailureError, LocbenchError, UsageError
from locbench.training.device import SEARCH_SWITCH, choose_device

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


class CapturedStep:
    """A step in a graph that holds 1000 bytes."""

    engine, compile_seconds, captured_bytes = "graphed", 2.0, 1000

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def __call__(self) -> None:
        self.calls.append("step")

    def resident_bytes(self) -> int:
        return 0


class CountedMeter(CpuMeter):
    """A device with 300 bytes in use before the step, and 750 at its peak, but for graphs."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def start(self) -> int:
        return 300

    def end_warmup(self) -> None:
        self.calls.append("forget the peaks")

    def peaks(self, step: object, resident: object) -> Peaks:
        return Peaks(750)


def test_what_a_graph_holds_is_in_its_steps_peak_and_what_capturing_took_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    monkeypatch.setattr("locbench.bench.worker.make_step", lambda *_: CapturedStep(calls))
    server = StepServer(SIDE)
    server.meter = CountedMeter(calls)
    (bp,) = cases("bp")
    prepared = server.prepare(0, bp, "graphed")
    assert prepared.peak_bytes == 750 - 300 + 1000
    assert calls == ["step", "forget the peaks", "step"]


@pytest.mark.parametrize(("switch", "expected"), [("1", True), ("0", False)])
def test_the_environment_lets_cudnn_search_for_engines_from_the_start(
    monkeypatch: pytest.MonkeyPatch, switch: str, expected: bool
) -> None:
    """It keeps the algorithm that it found first for a shape, whichever engine asked."""
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setenv(SEARCH_SWITCH, switch)
    StepServer(Side(False, torch.device("cuda", 0), "fp32", None))
    assert torch.backends.cudnn.benchmark is expected
