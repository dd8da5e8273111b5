"""A checkpoint goes on as the run that it is of: with its recipe, its data, known code, and no run
after it.
"""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from small_table import Bench, numbers
from specimens import recipe

from locbench.data.images import Split, load
from locbench.errors import FailureError
from locbench.execution.events import Event
from locbench.results.provenance import Code
from locbench.spec.recipe import Recipe
from locbench.terminal.progress import SweepProgress
from locbench.training import state as checkpoints
from locbench.training.events import EpochDone, RunEvent, RunStarted, StepDone
from locbench.training.run import Run
from locbench.training.state import Origin, RunState, load_checkpoint, save_checkpoint

CPU = torch.device("cpu")
ONE = ("table", "mini", "--rows", "Backprop", "--seeds", "1")


def digits(test_limit: int = 40) -> Split:
    return load("digits", Path("unused"), limit=40, test_limit=test_limit)


def short(**changes: Any) -> Recipe:
    return msgspec.structs.replace(
        recipe("bp"), epochs=3, batch_size=20, warmup_epochs=1, **changes
    )


class StopError(Exception):
    pass


class Stopping:
    """Stops a run after an epoch has been kept, at the first step of the next one."""

    def __init__(self, epochs: int) -> None:
        self.left, self.done = epochs, -1

    def on(self, event: RunEvent) -> None:
        if isinstance(event, RunStarted):
            self.done = event.done
        if isinstance(event, StepDone) and not self.left:
            raise StopError
        if isinstance(event, EpochDone):
            self.left -= 1


def stopped(checkpoint: Path, epochs: int = 1, split: Split | None = None, **more: Any) -> None:
    with pytest.raises(StopError):
        Run(short(), split or digits(), checkpoint, **more).train(Stopping(epochs))


def rows(state: RunState) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.items() if name != "seconds"} for row in state.history
    ]


def test_other_data_start_anew_and_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, own = tmp_path / "run.pt", digits()
    stopped(path, epochs=2)
    other = replace(
        own, train=replace(own.train, pixels=own.train.pixels.flip(1)), fingerprint="0" * 16
    )
    kept = path.read_bytes()
    stopped(path, epochs=0, split=other)
    assert path.read_bytes() == kept  # until an epoch with the other data is whole
    found = Run(short(), other, path).train()
    assert (found.resumed, len(found.history)) == (0, 3)
    assert rows(found) == rows(Run(short(), other).train())
    said = capsys.readouterr().err
    assert f"the data have changed since (fingerprint {own.fingerprint}, now {'0' * 16})" in said
    assert f"The run starts anew, not from its checkpoint {path}" in said


def test_other_code_goes_on_and_is_named_beside_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.pt"
    stopped(path, origin=Origin("a", False))
    stopped(path, origin=Origin("never kept", False), epochs=0)
    stopped(path, origin=Origin("b", True))
    assert (
        "The code has changed since epoch 1, the record will name both: a; b"
        in capsys.readouterr().err
    )
    found = Run(short(), digits(), path, origin=Origin("c", False)).train()
    assert (found.codes, found.dirty, found.resumed) == (["a", "b", "c"], True, 2)
    assert rows(found) == rows(Run(short(), digits()).train())


def test_the_same_code_is_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.pt"
    stopped(path, origin=Origin("a", False))
    found = Run(short(), digits(), path, origin=Origin("a", False)).train()
    assert (found.codes, found.dirty, found.resumed) == (["a"], False, 1)
    assert capsys.readouterr().err == ""


def changed(path: Path, **changes: Any) -> None:
    state = load_checkpoint(path, CPU)
    assert state is not None
    save_checkpoint(
        path, {name: value for name, value in (state | changes).items() if value is not None}
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"recipe": "0" * 12}, "it is of another recipe"),
        ({"replaces": "another"}, "a finished run is recorded beside it"),
        ({"data": None}, "an earlier version"),
        ({"learner": {}}, "its layout is another one"),
        ({"learner": 3}, "its layout is another one"),
        ({"optimizer": {"state": {}, "param_groups": []}}, "its layout is another one"),
        ({"history": None}, "its layout is another one"),
    ],
)
def test_what_cannot_be_used_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], why: str
) -> None:
    path = tmp_path / "run.pt"
    stopped(path)
    changed(path, **changes)
    found = Run(short(), digits(), path).train()
    assert found.resumed == 0
    assert rows(found) == rows(Run(short(), digits()).train())
    said = capsys.readouterr().err
    assert said.count("starts anew") == 1
    assert why in said


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", bytes(100)])
def test_a_damaged_checkpoint_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "run.pt"
    path.write_bytes(content)
    assert Run(short(), digits(), path).train().resumed == 0
    assert "it is damaged" in capsys.readouterr().err


def test_a_checkpoint_that_cannot_be_read_now_is_not_trained_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.pt"
    stopped(path)
    kept = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "read_regular", fail)
        with pytest.raises(FailureError, match=r"cannot read the checkpoint .*Stale"):
            Run(short(), digits(), path).train()
    assert path.read_bytes() == kept
    assert Run(short(), digits(), path).train().resumed == 1


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def interrupted(bench: Bench, *more: str) -> str:
    """Stop the run after its first epoch has been kept, and return what it printed."""
    left = iter(range(1))

    def on(display: SweepProgress, event: Event, row: int) -> None:
        if isinstance(event, EpochDone) and next(left, None) is None:
            raise KeyboardInterrupt
        show(display, event, row)

    show = SweepProgress.on
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SweepProgress, "on", on)
        called = bench.call(*ONE, *more)
    assert called.code == 130
    return called.out


def test_rerun_starts_anew_beside_a_leftover_and_goes_on_from_its_own_epochs(bench: Bench) -> None:
    interrupted(bench)
    (kept,) = (bench.results / ".checkpoints").iterdir()
    left = kept.read_bytes()
    assert bench.call(*ONE).code == 0
    (first,) = bench.records()
    kept.write_bytes(left)  # as a process that is killed after it has written its record leaves it
    said = bench.call(*ONE, "--rerun", "all")
    assert "continued" not in said.out
    assert "a finished run is recorded beside it" in said.err
    (second,) = bench.records()
    assert (first.provenance.resumed, second.provenance.resumed) == (1, 0)
    assert numbers(second) == numbers(first)
    assert "continued" not in interrupted(bench, "--rerun", "all")
    assert bench.records() == [second]
    again = bench.call(*ONE, "--rerun", "all")
    assert "continued after epoch 1 of 3" in again.out
    (third,) = bench.records()
    assert third.provenance.resumed == 1
    assert numbers(third) == numbers(first)


def test_a_record_names_all_the_code_that_trained_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locbench.execution.sweep.code", lambda: Code("a" * 40, True))
    interrupted(bench)
    monkeypatch.setattr("locbench.execution.sweep.code", lambda: Code("b" * 40, False))
    assert bench.call(*ONE).code == 0
    (record,) = bench.records()
    made = record.provenance
    assert (made.commit, made.dirty) == ("b" * 40, True)
    assert [each[0] for each in made.codes] == ["a", "b"]
    assert made.codes[1] == "b" * 40
    assert " with sources " in made.codes[0]
    report = bench.call("report", "mini")
    assert "begun by aaaaaa" in " ".join(report.out.split())


def test_names_of_code() -> None:
    assert Code("a" * 40, False).name == "a" * 40
    digest = Code("a" * 40, True).name.removeprefix("a" * 40 + " with sources ")
    assert len(digest) == 12
    assert Code().name.endswith(f" with sources {digest}")
