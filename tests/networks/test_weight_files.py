"""Weights as others keep them: wrapped, in parallel, averaged, without a classifier."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models as models
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from locbench.errors import FailureError
from locbench.files import digest
from locbench.networks.chain import Chain, build_chain
from locbench.networks.pretrained import load_pretrained
from locbench.networks.weight_files import weights_in

State = dict[str, Tensor]
CLASSES = 7


@cache
def model() -> nn.Module:
    torch.manual_seed(3)
    return models.resnet34(num_classes=CLASSES)


@cache
def small() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Sequential(nn.Linear(2, 2)))


def whole() -> State:
    return dict(model().state_dict())


def state() -> State:
    return dict(small().state_dict())


def prefixed(prefix: str, of: Callable[[], State] = state) -> State:
    return {f"{prefix}{name}": each for name, each in of().items()}


def averaged(of: Callable[[], nn.Module] = small) -> State:
    """Return what torchvision's and timm's scripts keep: a counter and prefixed names."""
    return dict(AveragedModel(of()).state_dict())


def zeros() -> State:
    return {name: torch.zeros_like(each) for name, each in state().items()}


HABITS: dict[str, Callable[[], Any]] = {
    "bare": state,
    "state_dict": lambda: {"state_dict": state(), "epoch": 3},
    "model_state_dict": lambda: {
        "epoch": 3,
        "model_state_dict": state(),
        "optimizer_state_dict": {"state": {}},
    },
    "model": lambda: {"model": state(), "optimizer": {"param_groups": [{"lr": 0.1}]}},
    "net": lambda: {"net": state(), "acc": 91.5},
    "parallel": lambda: prefixed("module."),
    "parallel in a checkpoint": lambda: {"state_dict": prefixed("module."), "arch": "resnet34"},
    "compiled": lambda: prefixed("_orig_mod."),
    "parallel and compiled": lambda: {"model": prefixed("module._orig_mod.")},
    "lightning": lambda: {"state_dict": prefixed("model."), "pytorch-lightning_version": "2.0"},
    "backbone": lambda: prefixed("backbone."),
    "averaged alone": lambda: {"model_ema": averaged(), "epoch": 3},
    "averaged of timm": lambda: {"state_dict_ema": state()},
    "averaged besides": lambda: {"model_ema": zeros(), "model": state()},
    "averaged bare": averaged,
    "arguments": lambda: {"model": state(), "args": argparse.Namespace(lr=0.1, device="cuda")},
    "nested": lambda: {"state_dict": {"model": state()}},
}


def loaded(path: Path, network: str = "resnet34") -> Chain:
    torch.manual_seed(5)
    chain = build_chain(network, CLASSES, 64)
    load_pretrained(chain, network, path)
    return chain.eval()


@pytest.mark.parametrize("habit", HABITS)
def test_habits_of_others_load(habit: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.pth"
    torch.save(HABITS[habit](), path)
    found, expected = weights_in(path), state()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], each) for name, each in expected.items())


@pytest.mark.parametrize("averages", [False, True])
def test_what_is_loaded_computes_the_same(averages: bool, tmp_path: Path) -> None:
    content = (
        {"model_ema": averaged(model)} if averages else {"state_dict": prefixed("module.", whole)}
    )
    torch.save(content, tmp_path / "theirs.pth")
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(tmp_path / "theirs.pth")(images), model().eval()(images))


@pytest.mark.parametrize("name", ["weights.bin", "weights.pt", "weights", "weights.safetensors"])
def test_the_content_decides_and_not_the_suffix(name: str, tmp_path: Path) -> None:
    save_file(prefixed("module."), tmp_path / name)
    assert weights_in(tmp_path / name).keys() == state().keys()
    (tmp_path / name).unlink()
    torch.save(prefixed("module."), tmp_path / name)
    assert weights_in(tmp_path / name).keys() == state().keys()


def test_without_a_classifier_the_drawn_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "headless.pth"
    torch.save({name: each for name, each in whole().items() if not name.startswith("fc.")}, path)
    chain = loaded(path)
    torch.manual_seed(5)
    drawn = build_chain("resnet34", CLASSES, 64).state_dict()
    found = chain.state_dict()
    assert torch.equal(found["head.2.weight"], drawn["head.2.weight"])
    assert torch.equal(found["units.0.0.weight"], whole()["conv1.weight"])


def test_vgg_without_its_classifier(tmp_path: Path) -> None:
    torch.manual_seed(2)
    theirs = dict(models.vgg13_bn(num_classes=3).features.state_dict(prefix="features."))
    torch.save(theirs, tmp_path / "features.pth")
    with torch.device("meta"):
        chain = build_chain("vgg13", CLASSES, 64)
    chain = chain.to_empty(device="cpu")
    nn.init.constant_(chain.head[-1].weight, 0.5)  # type: ignore[index, union-attr, arg-type]
    load_pretrained(chain, "vgg13", tmp_path / "features.pth")
    assert torch.equal(chain.state_dict()["units.0.0.weight"], theirs["features.0.weight"])
    assert (chain.head[-1].weight == 0.5).all()  # type: ignore[index, union-attr, operator]


class Surprise:
    """Does harm when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("harm",))


class Config(dict[str, Any]):
    """What a training script keeps beside the weights."""


UNSAFE: dict[str, tuple[Callable[[], Any], str]] = {
    "code": (lambda: {"model": state(), "x": Surprise()}, "mkdir"),
    "code among the arguments": (
        lambda: {"model": state(), "args": argparse.Namespace(x=Surprise())},
        "mkdir",
    ),
    "code as arguments' state": (lambda: {"model": Surprise()}, "mkdir"),
    "a whole network": (small, "torch.nn.modules"),
    "a configuration": (lambda: {"model": state(), "config": Config()}, "Config"),
}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("kind", UNSAFE)
def test_objects_are_named_and_never_made(
    kind: str, old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content, named = UNSAFE[kind]
    torch.save(content(), tmp_path / "theirs.pth", _use_new_zipfile_serialization=not old)
    with pytest.raises(FailureError) as failed:
        weights_in(tmp_path / "theirs.pth")
    assert "objects of Python" in failed.value.message
    assert named in failed.value.message
    assert "state dict alone" in failed.value.remedy
    assert "weights_only" not in str(failed.value)
    assert not (tmp_path / "harm").exists()


def test_a_program_is_no_weight_file(tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):  # which ones depends on the version of torch
        torch.jit.save(torch.jit.script(nn.Linear(1, 1)), tmp_path / "program.pt")
        with pytest.raises(FailureError, match="TorchScript program"):
            weights_in(tmp_path / "program.pt")


@pytest.mark.parametrize(
    "spoilt",
    [
        torch.tensor([1.0, float("nan")]),
        torch.full((2,), float("inf"), dtype=torch.float16),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2).to_sparse(),
        torch.ones(2, device="meta"),
    ],
    ids=["nan", "inf", "complex", "sparse", "meta"],
)
def test_weights_that_cannot_be_trained(spoilt: Tensor, tmp_path: Path) -> None:
    torch.save(state() | {"1.bias": spoilt}, tmp_path / "theirs.pth")
    with pytest.raises(
        FailureError, match=r"'1.bias' (has values that are not finite|is quantized)"
    ):
        weights_in(tmp_path / "theirs.pth")


def test_half_precision_loads(tmp_path: Path) -> None:
    torch.save({name: each.half() for name, each in whole().items()}, tmp_path / "theirs.pth")
    expected = whole()["conv1.weight"].half().float()
    assert torch.equal(loaded(tmp_path / "theirs.pth").state_dict()["units.0.0.weight"], expected)


ENDLESS: dict[str, Any] = {}
ENDLESS["model"] = ENDLESS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"epoch": 3, "optimizer": {"state": {}}}, "it has 'epoch', 'optimizer'"),
        ({"student": state, "teacher": state}, "it has 'student', 'teacher'"),
        ({"\x1b[31m" + 90 * "x": 1}, "'\\x1b[31m" + 35 * "x" + "'"),
        ({}, "holds no state dict"),
        ({"model": ENDLESS}, "holds no state dict"),
    ],
)
def test_what_a_file_has_instead(content: dict[str, Any], said: str, tmp_path: Path) -> None:
    torch.save(
        {name: each() if callable(each) else each for name, each in content.items()},
        tmp_path / "theirs.pth",
    )
    with pytest.raises(FailureError) as failed:
        weights_in(tmp_path / "theirs.pth")
    assert said in failed.value.message


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (lambda: prefixed("stages."), "none of its names fits, such as 'stages."),
        (
            lambda: prefixed("backbone.") | {"head.fc.bias": torch.zeros(7)},
            "none of its names fits, such as 'backbone.",
        ),
        (
            lambda: {name: each for name, each in whole().items() if name != "fc.bias"},
            "'head.2.bias' is missing",
        ),
        (
            lambda: whole() | {"conv1.weight": torch.zeros(())},
            "'units.0.0.weight' is () instead of (64, 3, 7, 7)",
        ),
        (
            lambda: whole() | {"fc.bias": torch.ones(7, dtype=torch.int8)},
            "is of torch.int8 instead of torch.float32",
        ),
    ],
)
def test_names_of_another_network(names: Callable[[], State], fault: str, tmp_path: Path) -> None:
    torch.save(names(), tmp_path / "theirs.pth")
    with pytest.raises(FailureError) as failed:
        loaded(tmp_path / "theirs.pth")
    assert fault in failed.value.message


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FailureError, match="not a regular file"):
        digest(tmp_path / "pipe")
    with pytest.raises(FailureError, match="no weight file"):
        weights_in(tmp_path / "pipe")
