"""A sweep looks at what its jobs need once, before all training."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from rich.console import Console
from specimens import recipe

from locbench.execution import sweep as sweeps
from locbench.execution.job import Job
from locbench.execution.sweep import Sweep
from locbench.results.store import Store
from locbench.terminal.progress import SweepProgress


def test_each_job_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(name: str) -> None:
        function = getattr(sweeps, name)

        def call(*arguments: Any) -> Any:
            calls.append(name)
            return function(*arguments)

        monkeypatch.setattr(sweeps, name, call)

    for name in ("choose_engine", "refuse_missing", "refuse_unready"):
        counted(name)
    short = msgspec.structs.replace(recipe("bp"), epochs=1, train_limit=16, test_limit=10)
    jobs = [Job(msgspec.structs.replace(short, seed=seed), (), "to do") for seed in (1, 2)]
    sweep = Sweep(Store(tmp_path), torch.device("cpu"), tmp_path)
    sweep.prepare(jobs)
    for job in jobs:  # one at a time, as processes side by side take them
        (record,) = sweep.run([job], SweepProgress(Console(file=io.StringIO())))
        assert record.status == "done"
    assert sorted(calls) == ["choose_engine", "choose_engine", "refuse_missing", "refuse_unready"]
