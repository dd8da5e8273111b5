"""The training loop: interrupted runs end like uninterrupted ones, and nothing depends on the
method but the method.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from specimens import recipe
from torch import Tensor

from locbench.data.images import Split, load
from locbench.errors import FailureError
from locbench.learning.learner import build_learner
from locbench.spec.recipe import Recipe
from locbench.training.events import EpochDone, RunEvent, RunStarted, StepDone
from locbench.training.run import Run
from locbench.training.state import RunState

METHODS = ["bp", "pgl+head", "auglocal", "hpff+dgl"]
EPOCHS, STEPS = 3, 3


class StopError(Exception):
    pass


class Interrupting:
    """Raises after an epoch or, if ``step`` is given, after a step of the epoch that follows."""

    def __init__(self, epoch: int, step: int | None) -> None:
        self.epoch, self.step = epoch, step
        self.epochs = self.steps = 0

    def on(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                assert (event.epochs, event.steps) == (EPOCHS, STEPS)
                self.epochs = event.done
            case StepDone():
                self.steps += 1
                if self.epochs == self.epoch and self.steps == self.step:
                    raise StopError
            case EpochDone():
                self.epochs, self.steps = self.epochs + 1, 0
                if self.step is None and self.epochs == self.epoch:
                    raise StopError


@cache
def digits() -> Split:
    return load("digits", Path("unused"), limit=44, test_limit=40)


def short(method: str, **changes: Any) -> Recipe:
    chosen = recipe(method)
    return msgspec.structs.replace(chosen, epochs=EPOCHS, batch_size=16, warmup_epochs=1, **changes)


def trained(method: str, checkpoint: Path | None = None) -> tuple[RunState, dict[str, Tensor]]:
    run = Run(short(method), digits(), checkpoint)
    return run.train(), run.learner.state_dict()


def numbers(state: RunState) -> list[dict[str, float | None]]:
    return [
        {name: value for name, value in row.items() if name != "seconds"} for row in state.history
    ]


@pytest.mark.parametrize("method", METHODS)
def test_resumed_run_is_the_uninterrupted_one(method: str, tmp_path: Path) -> None:
    whole, weights = trained(method)
    assert [row["epoch"] for row in whole.history] == [1, 2, 3]
    for case, (epoch, step) in enumerate([(1, None), (2, None), (0, 2), (1, 1), (2, 2)]):
        checkpoint = tmp_path / f"{case}.pt"
        with pytest.raises(StopError):
            Run(short(method), digits(), checkpoint).train(Interrupting(epoch, step))
        again, found = trained(method, checkpoint)
        assert numbers(again) == numbers(whole), (epoch, step)
        assert again.local_losses == whole.local_losses
        assert all(torch.equal(each, found[name]) for name, each in weights.items()), (epoch, step)
        kept = epoch - 1 if step is None else epoch
        assert again.resumed == (1 if kept else 0)


def test_interrupted_twice(tmp_path: Path) -> None:
    whole, weights = trained("pgl+head")
    checkpoint = tmp_path / "twice.pt"
    for epoch, step in ((1, 2), (2, 1)):
        with pytest.raises(StopError):
            Run(short("pgl+head"), digits(), checkpoint).train(Interrupting(epoch, step))
    again, found = trained("pgl+head", checkpoint)
    assert again.resumed == 2
    assert numbers(again) == numbers(whole)
    assert all(torch.equal(each, found[name]) for name, each in weights.items())


def test_spoilt_checkpoint_is_left_aside(tmp_path: Path) -> None:
    checkpoint = tmp_path / "spoilt.pt"
    checkpoint.write_bytes(b"PK\x03\x04 half a file")
    assert numbers(trained("bp", checkpoint)[0]) == numbers(trained("bp")[0])


def test_data_and_their_order_do_not_depend_on_the_method() -> None:
    seen: dict[str, list[Tensor]] = {}
    for method in METHODS:
        run, batches = Run(short(method), digits()), []
        step = run.learner.step

        def record(
            images: Tensor,
            targets: Any,
            *,
            guided: bool = False,
            step: Any = step,
            to: Any = batches,
        ) -> Any:
            to.append(images.clone())
            to.append(targets.labels.clone())
            return step(images, targets, guided=guided)

        run.learner.step = record  # type: ignore[method-assign]
        run.train()
        seen[method] = batches
    assert len(seen["bp"]) == 2 * EPOCHS * STEPS
    for method in METHODS:
        assert all(
            torch.equal(left, right) for left, right in zip(seen[method], seen["bp"], strict=True)
        ), method


def test_networks_start_alike_whatever_the_method() -> None:
    expected = build_learner(short("bp"), 10, 16).chain.state_dict()
    other = build_learner(short("bp", seed=1), 10, 16).chain.state_dict()
    for method in (*METHODS, "infopro", "predsim", "bp+checkpointed"):
        found = build_learner(short(method), 10, 16).chain.state_dict()
        assert all(torch.equal(each, found[name]) for name, each in expected.items()), method
    assert not all(torch.equal(each, other[name]) for name, each in expected.items())


def test_initial_weights_are_he_normal_by_fan_out() -> None:
    net = build_learner(recipe("dgl", "resnet32"), 10, 32)
    for each in net.modules():
        if isinstance(each, torch.nn.Conv2d) and each.weight.numel() > 2000:
            fan_out = each.kernel_size[0] * each.kernel_size[1] * each.out_channels
            assert each.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
        if isinstance(each, torch.nn.BatchNorm2d):
            assert each.weight.eq(1).all()
            assert each.bias.eq(0).all()


def test_guided_epochs_are_counted() -> None:
    chosen = short("pgl+head")
    # 9 steps stand for 160 epochs of P=10, Q=2: step i is epoch 17.78 i of the paper, global if its
    # last digit is >= 8.
    places = [index * 160 / 9 % 10 for index in range(9)]
    expected = [
        sum(place >= 8 for place in places[epoch * 3 : epoch * 3 + 3]) / 3 for epoch in range(3)
    ]
    assert [row["global_share"] for row in Run(chosen, digits()).train().history] == expected


def test_test_accuracy_is_skipped_between_evaluations() -> None:
    history = Run(short("bp", test_every=2), digits()).train().history
    assert [row["test_acc"] is None for row in history] == [True, False, False]


def test_one_step_of_sgd_by_hand() -> None:
    """Nesterov's first step moves by lr (g + m g), g with weight decay on every parameter,
    BatchNorm's included.
    """
    run = Run(short("dgl"), digits(), dtype=torch.float64)
    before = {name: each.detach().clone() for name, each in run.learner.named_parameters()}
    for group in run.optimizer.param_groups:
        group["lr"] = 0.1
    pixels = torch.rand(8, 3, 16, 16, dtype=torch.float64)
    from locbench.learning.auxiliary.branch import Targets

    run.learner.step(pixels, Targets(torch.arange(8), pixels))
    run.optimizer.step()
    for name, each in run.learner.named_parameters():
        assert each.grad is not None
        decayed = each.grad + 1e-4 * before[name]
        torch.testing.assert_close(
            each.detach(), before[name] - 0.1 * (decayed + 0.9 * decayed), msg=name
        )


def test_diverging_run_fails_with_a_remedy() -> None:
    with pytest.raises(FailureError, match="not finite in epoch"):
        Run(short("bp", lr=1e30, warmup_lr=1e30), digits()).train()
