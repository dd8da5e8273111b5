"""What a meter reads off a device."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import pytest
import torch
from torch import nn

from locbench.costs.measured.step_meter import (
    CudaMeter,
    Peaks,
    allocations,
    message_of,
    occupy_workspaces,
    switches,
)

CPU = torch.device("cpu")


def test_the_cpus_batch_normalisation_holds_two_maps_for_one() -> None:
    one_map, net = 64 * 16 * 32 * 32 * 4, nn.BatchNorm2d(16)
    x = torch.rand(64, 16, 32, 32).to(memory_format=torch.channels_last).requires_grad_()
    y = net(x)
    gradient = torch.ones_like(y)
    changes = allocations(lambda: y.backward(gradient))
    assert sum(changes) == pytest.approx(one_map, rel=0.01)  # the one that it returns
    assert max(accumulate(changes)) == pytest.approx(2 * one_map, rel=0.01)


def test_switches_are_set_back() -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32)
    state = torch.get_rng_state()
    with switches(CPU, benchmark=not cudnn.benchmark):
        assert cudnn.benchmark is not before[0]
        cudnn.allow_tf32, matmul.allow_tf32 = not before[1], not before[2]
        torch.rand(3)
    assert (cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32) == before
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(KeyError), switches(CPU, benchmark=not before[0]):
        raise KeyError
    assert cudnn.benchmark is before[0]


class FakeCuda:
    """What `CudaMeter` calls of torch.cuda, with a log, an allocator of made-up counts, and a clock
    that steps move.
    """

    def __init__(self) -> None:
        self.log: list[str] = []
        self.now, self.peak, self.reserved, self.workspaces = 0.0, 0, 0, 0

    def occupy(self, device: object) -> None:
        self.log.append("occupy")
        self.workspaces = 64

    def synchronize(self, device: object) -> None:
        self.log.append("synchronize")

    def empty_cache(self) -> None:
        self.log.append("empty_cache")
        self.reserved = 0

    def reset_peak_memory_stats(self, device: object) -> None:
        self.log.append("reset")
        self.peak = 0

    def memory_allocated(self, device: object) -> int:
        return 7 + self.workspaces

    def max_memory_allocated(self, device: object) -> int:
        return self.peak

    def max_memory_reserved(self, device: object) -> int:
        return self.reserved

    def Event(self, enable_timing: bool) -> FakeEvent:  # noqa: N802 - torch's name
        assert enable_timing
        return FakeEvent(self)

    def step(self, peak: int, milliseconds: float) -> None:
        self.log.append("step")
        self.now += milliseconds
        self.peak, self.reserved = max(self.peak, peak), max(self.reserved, 2 * peak)


class FakeEvent:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda, self.when = cuda, -1.0

    def record(self) -> None:
        self.cuda.log.append("record")
        self.when = self.cuda.now

    def elapsed_time(self, after: FakeEvent) -> float:
        assert self.cuda.log[-1] == "synchronize"
        return after.when - self.when


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    for name in (
        "synchronize",
        "empty_cache",
        "reset_peak_memory_stats",
        "memory_allocated",
        "Event",
    ):
        monkeypatch.setattr(f"torch.cuda.{name}", getattr(fake, name))
    for name in ("max_memory_allocated", "max_memory_reserved"):
        monkeypatch.setattr(f"torch.cuda.{name}", getattr(fake, name))
    return fake


def test_the_cuda_meter_forgets_the_warm_up_and_waits_only_at_the_ends(cuda: FakeCuda) -> None:
    meter = CudaMeter(torch.device("cuda", 0), cuda.occupy)
    assert meter.start() == 7 + 64
    assert cuda.log == ["occupy", "synchronize", "empty_cache", "reset"]
    cuda.step(900, 50.0)  # cuDNN's search
    assert meter.end_warmup() == Peaks(900, 1800)
    assert cuda.peak == cuda.reserved == 0
    cuda.log.clear()
    times = iter([9.0, 2.0, 5.0, 3.0])
    step: Callable[[], None] = lambda: cuda.step(400, next(times))  # noqa: E731
    assert meter.milliseconds(step, 3) == [2.0, 5.0, 3.0]  # the first one fills the cache
    assert cuda.log == ["step", "record", *["step", "record"] * 3, "synchronize"]
    assert meter.peaks(step, lambda: 0) == Peaks(400, 800)


def test_the_first_step_of_a_process_holds_no_other_bytes_than_the_next(cuda: FakeCuda) -> None:
    """What cuBLAS takes in a process's first product is occupied before the network is built."""

    def measured() -> tuple[int, int]:
        meter = CudaMeter(torch.device("cuda", 0), cuda.occupy)
        occupied = meter.start()
        cuda.step(400 + cuda.memory_allocated(0), 1.0)
        return occupied, meter.end_warmup().allocated

    assert measured() == measured() == (7 + 64, 400 + 7 + 64)


def test_workspaces_are_taken_by_a_product_and_its_backward_pass() -> None:
    with torch.profiler.profile() as seen:
        occupy_workspaces(CPU)
    products = [each.count for each in seen.key_averages() if each.key == "aten::mm"]
    assert products == [3]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("No room. Tried 2 GiB."), "does not fit: No room"),
        (MemoryError(), "does not fit: MemoryError"),
        (ValueError("a\n fault. Or two"), "ValueError: a fault. Or two"),
    ],
)
def test_messages(error: Exception, said: str) -> None:
    assert message_of(error) == said
