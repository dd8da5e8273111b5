"""Where a run's batches come from, and how fast they are told to arrive."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from locbench.data.batches import Batch
from locbench.data.images import load
from locbench.spec.validation import make_recipe
from locbench.training import input as loaders
from locbench.training.device import LAYOUT_SWITCH
from locbench.training.distributed import ProcessGroup
from locbench.training.input import eval_loader, timed, train_loader
from locbench.training.run import Run


def test_processes_share_test_batches_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "SMALL", 8)
    split = load("digits", Path("unused"), test_limit=20)
    chosen = make_recipe(
        {
            "network": "resnet8",
            "method": "bp",
            "dataset": "digits",
            "epochs": 1,
            "batch_size": 8,
            "lr": 1.0,
        }
    )
    second = list(eval_loader(chosen, split, torch.float32, ProcessGroup(1, 2)))
    assert [each.labels.tolist() for each in second] == [split.test.labels[8:16].tolist()]


def test_runs_in_either_layout_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The images of batches lie as the weights do, and the numbers agree."""
    split = load("digits", Path("unused"), limit=32, test_limit=20)
    chosen = make_recipe(
        {
            "network": "resnet8",
            "method": "infopro",
            "modules": 4,
            "dataset": "digits",
            "epochs": 1,
            "batch_size": 8,
            "lr": 0.1,
        }
    )
    losses = {}
    for switch, layout in (("1", torch.channels_last), ("0", torch.contiguous_format)):
        monkeypatch.setenv(LAYOUT_SWITCH, switch)
        batch = next(iter(train_loader(chosen, split, 1, pixels=True)))
        assert batch.pixels is not None
        for images in (batch.images, batch.pixels):
            assert images.is_contiguous(memory_format=layout)
        run = Run(chosen, split, dtype=torch.float64)
        assert all(
            weight.is_contiguous(memory_format=layout)
            for weight in run.learner.parameters()
            if weight.dim() == 4
        )
        losses[switch] = run.train().local_losses
    assert losses["0"] == pytest.approx(losses["1"], rel=1e-9)


@pytest.mark.parametrize("image_size", [None, 12])
def test_batches_have_images_as_such_where_they_are_wanted(image_size: int | None) -> None:
    split = load("digits", Path("unused"), limit=16, test_limit=8)
    chosen = make_recipe(
        {
            "network": "resnet8",
            "method": "bp",
            "dataset": "digits",
            "epochs": 1,
            "batch_size": 8,
            "lr": 0.1,
            "image_size": image_size,
        }
    )
    both = [list(train_loader(chosen, split, 1, pixels=pixels)) for pixels in (True, False)]
    for batch, images_alone in zip(*both, strict=True):
        assert batch.pixels is not None
        assert images_alone.pixels is None
        assert torch.equal(batch.images, images_alone.images)
    assert [batch.pixels for batch in eval_loader(chosen, split, torch.float32)] == [None]


def test_speed_by_hand() -> None:
    batch = Batch(torch.empty(0), torch.zeros(30), None)
    # Second batch asked for, there; third asked for, there; end.
    times = iter([10.0, 12.0, 14.0, 15.0, 18.0])
    told: list[str] = []
    assert len(list(timed(iter([batch] * 3), told.append, clock=lambda: next(times)))) == 3
    # 60 images in 8 seconds, of which 2 + 1 were waited
    assert told == ["8 images/s read from files, 38 % of the time spent waiting"]


def test_speed_is_told_once_it_is_known() -> None:
    batch = Batch(torch.empty(0), torch.zeros(100), None)
    times = iter(float(second) for second in range(100))
    told: list[str] = []
    batches = timed(iter([batch] * 9), told.append, after=3.0, clock=lambda: next(times))
    for _ in range(3):
        next(batches)
    assert len(told) == 1
    assert len(list(batches)) == 6
    # 200 in 3 s, 2 s of them waited.
    assert told == ["67 images/s read from files, 67 % of the time spent waiting"]
