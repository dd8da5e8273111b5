"""What the machine does to a run is no word on its recipe: the sweep ends with one message and
loses no whole epoch.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_table import CELLS, Bench, numbers

from locbench.errors import DivergedError, FailureError
from locbench.execution.events import Event, JobDone, JobStarted
from locbench.results.store import Store
from locbench.terminal.progress import SweepProgress
from locbench.training.evaluation import accuracy
from locbench.training.events import EpochDone
from locbench.training.faults import error_text, is_recipes_own
from locbench.training.run import Run

ONE = ("table", "mini", "--rows", "Backprop", "--seeds", "1")
ALL = ("table", "mini", "--seeds", "1", "--epochs", "2")

TRANSIENT = [
    RuntimeError("DataLoader worker (pid 17) is killed by signal: Killed."),
    MemoryError(),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"
    ),
    OSError(errno.EIO, os.strerror(errno.EIO)),
    OSError(errno.ESTALE, os.strerror(errno.ESTALE)),
    OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    RuntimeError("unable to write to file: No space left on device (28)"),
    BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("can't start new thread"),
    FailureError("no space"),
]

OWN = [
    DivergedError("a loss is not finite"),
    ValueError("Expected more than 1 value per channel when training"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    ZeroDivisionError(),
    KeyError("head"),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=error_text)
@pytest.mark.parametrize("epochs", [0, 3])
def test_what_a_machine_does_is_no_failed_run(error: Exception, epochs: int) -> None:
    assert not is_recipes_own(error, epochs)


@pytest.mark.parametrize("error", OWN, ids=error_text)
def test_what_a_computation_raises_is_a_failed_run_unless_it_has_worked_for_an_epoch(
    error: Exception,
) -> None:
    assert is_recipes_own(error, 0)
    assert is_recipes_own(error, 3) == isinstance(error, DivergedError)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=error_text,
)
def test_what_does_not_fit_is_a_failed_run(error: Exception) -> None:
    assert is_recipes_own(error, 0)
    assert is_recipes_own(error, 3)


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def failing(patch: pytest.MonkeyPatch, error: BaseException, epoch: int) -> None:
    """Let every run meet an error in an epoch."""
    original = Run._steps

    def steps(run: Run, number: int, *arguments: Any) -> Any:
        if number == epoch:
            raise error
        return original(run, number, *arguments)

    patch.setattr(Run, "_steps", steps)


@pytest.mark.parametrize(
    "error",
    [MemoryError("no memory"), RuntimeError("something nobody has met before")],
    ids=error_text,
)
def test_a_transient_fault_keeps_whole_epochs(bench: Bench, error: Exception) -> None:
    whole = bench.call(*ONE, "--results", "whole")
    assert whole.code == 0
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, error, epoch=3)
        called = bench.call(*ONE)
    assert called.code == 1
    assert str(error) in called.err
    assert "To go on: the same command." in called.err
    assert bench.records() == []
    again = bench.call(*ONE)
    assert again.code == 0
    assert "continued after epoch 2 of 3" in again.out
    (found,), (expected,) = bench.records(), Store(bench.folder / "whole").all()
    assert numbers(found) == numbers(expected)
    assert found.provenance.resumed == 1


def test_a_run_that_does_not_fit_is_recorded_and_keeps_whole_epochs(bench: Bench) -> None:
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, torch.OutOfMemoryError("CUDA out of memory."), epoch=2)
        called = bench.call(*ONE)
    assert called.code == 1
    assert [each.status for each in bench.records()] == ["failed"]
    again = bench.call(*ONE, "--rerun", "failed")
    assert again.code == 0
    assert "continued after epoch 1 of 3" in again.out
    assert [each.status for each in bench.records()] == ["done"]
    assert list((bench.results / ".checkpoints").iterdir()) == []


def test_a_diverged_run_leaves_no_checkpoint(bench: Bench) -> None:
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, DivergedError("a loss is not finite"), epoch=3)
        assert bench.call(*ONE).code == 1
    assert [each.status for each in bench.records()] == ["failed"]
    assert list((bench.results / ".checkpoints").iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "full"),
        BrokenPipeError(),
        OSError(errno.EIO, "gone"),
        ValueError("closed file"),
    ],
    ids=error_text,
)
@pytest.mark.parametrize("kind", [JobStarted, EpochDone, JobDone])
def test_a_lost_display_does_not_reach_training(
    bench: Bench, error: Exception, kind: type[Event]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        raising_at(patch, kind, error)
        called = bench.call(*ONE, "--epochs", "1")
    assert called.code == 0
    assert called.err.count("Progress is no longer shown, training goes on") == 1
    assert [each.status for each in bench.records()] == ["done"]


def raising_at(patch: pytest.MonkeyPatch, kind: type[Event], error: BaseException) -> None:
    """Let the display meet an error at every event of a kind."""
    show = SweepProgress.on

    def on(display: SweepProgress, event: Event, row: int) -> None:
        if isinstance(event, kind):
            raise error
        show(display, event, row)

    patch.setattr(SweepProgress, "on", on)


def test_a_stop_within_the_display_is_a_stop(bench: Bench) -> None:
    with pytest.MonkeyPatch.context() as patch:
        raising_at(patch, EpochDone, KeyboardInterrupt())
        assert bench.call(*ONE).code == 130
    assert bench.records() == []


def test_a_fault_before_training_ends_the_sweep(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr("locbench.execution.sweep.load", fail)
    called = bench.call(*ALL)
    assert called.code == 1
    assert os.strerror(errno.ESTALE) in called.err
    assert bench.records() == []


def test_a_mistake_of_one_cell_lets_the_others_run(bench: Bench) -> None:
    original: Callable[..., Any] = Run._steps

    def steps(run: Run, *arguments: Any) -> Any:
        if run.recipe.method == "bp":
            raise ValueError("Expected more than 1 value per channel")
        return original(run, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "_steps", steps)
        assert bench.call(*ALL).code == 1
    assert sorted(each.status for each in bench.records()) == ["done"] * (CELLS - 1) + ["failed"]


class Outputs(torch.nn.Module):
    """A network that gives what it gets."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return given


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_outputs_that_are_not_finite_are_no_accuracy(value: float) -> None:
    from locbench.data.batches import Batch

    outputs = torch.eye(3)
    batch = Batch(outputs, torch.tensor([0, 1, 1]), None)
    assert accuracy(Outputs(), [batch], torch.device("cpu")).top1 == pytest.approx(100 * 2 / 3)  # type: ignore[arg-type]
    outputs[2, 0] = value
    with pytest.raises(DivergedError, match="not finite on 1 of 3 test images"):
        accuracy(Outputs(), [batch], torch.device("cpu"))  # type: ignore[arg-type]


def test_a_network_of_nan_is_a_failed_run(bench: Bench) -> None:
    original = Run._steps

    def steps(run: Run, *arguments: Any) -> Any:
        found = original(run, *arguments)
        with torch.no_grad():
            next(run.learner.chain.parameters()).fill_(float("nan"))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "_steps", steps)
        called = bench.call(*ONE)
    assert called.code == 1
    assert "not finite on 50 of 50 test images" in called.err
    assert [(each.status, each.metrics) for each in bench.records()] == [("failed", {})]
