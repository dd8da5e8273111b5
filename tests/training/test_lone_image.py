"""A last batch of one image, refused before training or dropped on request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_table import Bench

from locbench.errors import UsageError
from locbench.spec.recipe import Recipe
from locbench.spec.validation import make_recipe
from locbench.training.lone_image import least_share, refuse_lone_image

RUN = ("run", "--network", "resnet8", "--epochs", "1", "--device", "cpu")


def recipe(method: str, **more: Any) -> Recipe:
    settings = {"network": "resnet8", "dataset": "digits", "epochs": 1, "batch_size": 64, "lr": 0.1}
    return make_recipe(settings | {"method": method} | more)


@pytest.mark.parametrize(
    ("images", "more", "least"),
    [
        (65, {}, 1),
        (64, {}, 64),
        (63, {}, 63),
        (1, {}, 1),
        (129, {"drop_last": True}, 64),
        (1, {"drop_last": True}, 1),
        (1000, {"train_limit": 65}, 1),
        (66, {"batch_size": 1}, 1),
        (66, {"processes": 2}, 1),
        (67, {"processes": 2}, 1),
        (68, {"processes": 2}, 2),
        (640, {"batch_size": 2, "processes": 2}, 1),
    ],
)
def test_least_share_by_hand(images: int, more: dict[str, Any], least: int) -> None:
    assert least_share(recipe("bp", **more), images) == least


@pytest.mark.parametrize("method", ["dgl", "auglocal", "hpff+dgl", "pgl+auglocal"])
def test_refusal_is_what_a_step_on_one_image_meets(method: str) -> None:
    with pytest.raises(UsageError, match="the last batch of an epoch has one image") as raised:
        refuse_lone_image(recipe(method), 65, 10)
    assert "drop_last=true" in raised.value.remedy
    refuse_lone_image(recipe(method), 66, 10)
    refuse_lone_image(recipe(method, drop_last=True), 65, 10)
    with pytest.raises(UsageError, match="one image for one of 2 processes"):
        refuse_lone_image(recipe(method, processes=2), 67, 10)


@pytest.mark.parametrize("method", ["bp", "predsim", "pgl+head", "infopro"])
def test_what_can_train_on_one_image_may(method: str) -> None:
    state = torch.get_rng_state()
    refuse_lone_image(recipe(method), 65, 10)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def test_the_command_refuses_before_it_trains(bench: Bench) -> None:
    called = bench.call(*RUN, "--method", "dgl", "--limit", "65", "--batch-size", "64")
    assert called.code == 2
    assert "the last batch of an epoch has one image" in called.err
    assert bench.records() == []
    assert bench.call(*RUN, "--method", "bp", "--limit", "65", "--batch-size", "64").code == 0
    dropped = (
        *RUN,
        "--method",
        "dgl",
        "--limit",
        "65",
        "--batch-size",
        "64",
        "--recipe",
        "drop_last=true",
    )
    assert bench.call(*dropped).code == 0
    assert [each.status for each in bench.records()] == ["done", "done"]


def test_side_by_side_refuses_alike(bench: Bench) -> None:
    called = bench.call(
        "table",
        "mini",
        "--limit",
        "33",
        "--epochs",
        "1",
        "--jobs-per-device",
        "2",
        "--device",
        "cpu",
    )
    assert called.code == 2
    assert "Digits / DGL, J=4, seed 0: the last batch of an epoch has one image" in called.err
    assert bench.records() == []
