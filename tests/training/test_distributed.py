"""One run on two processes: the same numbers as on one, where no layer looks at the batch."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from torch import nn

from locbench.data.decoding import worker_count
from locbench.data.images import Images, Split
from locbench.datasets.known import DATASETS
from locbench.errors import UsageError
from locbench.spec.recipe import Recipe
from locbench.spec.validation import make_recipe
from locbench.torchrun import process_count
from locbench.training.distributed import (
    SINGLE_PROCESS,
    ProcessGroup,
    join_process_group,
    leave_process_group,
)
from locbench.training.run import Run


def recipe(**more: Any) -> Recipe:
    settings: dict[str, Any] = {
        "network": "swin-micro",
        "dataset": "digits",
        "image_size": 32,
        "modules": 4,
    }
    settings |= {"epochs": 2, "batch_size": 8, "lr": 0.05, "warmup_epochs": 0}
    return make_recipe(settings | more)


def split(images: int = 21) -> Split:
    """Return random images.

    The last batch of an epoch has an odd number, so that shares differ in size.
    """
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 16, 16, 3), generator=generator, dtype=torch.uint8)
    some = Images(pixels, torch.randint(0, 10, (images,), generator=generator))
    return Split(DATASETS["digits"], some, some, "")


def trained(chosen: Recipe, world: ProcessGroup) -> dict[str, Any]:
    run = Run(chosen, split(), dtype=torch.float64, world=world)
    state = run.train()
    return {
        "state": run.learner.state_dict(),
        "history": state.history,
        "losses": state.local_losses,
    }


CASES: dict[str, dict[str, Any]] = {
    "bp": {"method": "bp"},
    "head": {"method": "head", "options": {"net": "0C1F"}},
    "lean": {"method": "head", "options": {"net": "0C2F"}, "memory": "lean"},
    "pgl": {
        "method": "pgl+head",
        "options": {"net": "0C1F", "period": 2, "duration": 1, "schedule_epochs": 2},
    },
    "adamw": {
        "method": "head",
        "options": {"net": "0C1F"},
        "optimizer": "adamw",
        "lr": 1e-3,
        "clip_norm": 0.5,
    },
}


def _process(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    world = join_process_group(torch.device("cpu"))
    assert world == ProcessGroup(rank, 2)
    try:
        for name, settings in CASES.items():
            torch.save(trained(recipe(**settings), world), Path(folder) / f"{name}-{rank}.pt")
    finally:
        leave_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of what two processes have trained."""
    made = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_process, (port, str(made)), nprocs=2)
    return made


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_what_one_trains(name: str, folder: Path) -> None:
    chosen = recipe(**CASES[name])
    assert not any(
        isinstance(each, nn.BatchNorm2d) for each in Run(chosen, split()).learner.modules()
    )
    alone = trained(chosen, SINGLE_PROCESS)
    first, second = (torch.load(folder / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1))
    for key, expected in alone["state"].items():
        assert torch.equal(first["state"][key], second["state"][key]), key
        torch.testing.assert_close(first["state"][key], expected, rtol=1e-9, atol=1e-12)
    assert first["losses"] == pytest.approx(alone["losses"], rel=1e-9)
    for row, expected_row in zip(first["history"], alone["history"], strict=True):
        for key in ("train_acc", "test_acc", "train_loss"):
            assert row[key] == pytest.approx(expected_row[key], rel=1e-9), key


def test_shares_are_consecutive_and_leave_nothing_out() -> None:
    assert [ProcessGroup(rank, 3).shard(8) for rank in range(3)] == [
        slice(0, 2),
        slice(2, 5),
        slice(5, 8),
    ]
    assert SINGLE_PROCESS.shard(5) == slice(0, 5)


def test_a_batch_smaller_than_the_processes_is_refused() -> None:
    ProcessGroup(0, 2).refuse_empty_shares(10, 4)  # the last batch has two
    with pytest.raises(UsageError, match="a batch of 1 images cannot be shared by 2 processes"):
        ProcessGroup(0, 2).refuse_empty_shares(9, 4)


def test_an_incomplete_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="torchrun"):
        join_process_group(torch.device("cpu"))
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert join_process_group(torch.device("cpu")) == SINGLE_PROCESS


@pytest.mark.parametrize("name", ["WORLD_SIZE", "LOCAL_WORLD_SIZE"])
def test_a_count_that_is_no_number_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "two")
    monkeypatch.delenv("LOCBENCH_WORKERS", raising=False)
    with pytest.raises(UsageError, match=f"the environment has {name}='two'"):
        process_count() if name == "WORLD_SIZE" else worker_count()
