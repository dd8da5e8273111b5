"""Lean memory: the numbers of the plain step, in less memory and with few convolutions more."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from small_table import ONE_CELL, Bench
from specimens import batch, gradients, recipe, recipe_of
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.trace import peak_bytes
from locbench.data.batches import Batch
from locbench.data.images import Split, load
from locbench.errors import UsageError
from locbench.learning.learner import Learner, build_learner
from locbench.networks.low_memory import (
    RecomputingBlock,
    RecomputingSequential,
)
from locbench.spec.components import Isolated
from locbench.spec.recipe import Recipe
from locbench.spec.validation import make_recipe
from locbench.training.events import EpochDone, RunEvent, RunStarted, StepDone
from locbench.training.optimizer import ModuleSGD
from locbench.training.run import Run
from locbench.training.state import RunState

SIDE = 16
CASES: list[tuple[str, str, int | None, dict[str, Any]]] = [
    ("bp", "resnet8", None, {}),
    ("dgl", "resnet14", None, {}),
    ("dgl", "resnet14", 3, {}),
    ("dgl", "resnet8", 1, {}),
    ("predsim", "resnet8", None, {}),
    ("infopro", "resnet14", 4, {}),
    ("head", "resnet8", None, {"net": "2C2F", "loss": "contrast"}),
    ("auglocal", "resnet14", None, {"depth": 3}),
    ("auglocal", "resnet8", None, {"depth": 3}),
    ("auglocal", "resnet8", 3, {"selection": "conv3x3"}),
    ("pff+dgl", "resnet8", None, {}),
    ("pff+auglocal", "resnet8", None, {"passes": "retain"}),
    ("pgl+auglocal", "resnet8", None, {}),
]


@cache
def digits() -> Split:
    return load("digits", Path("unused"), limit=44, test_limit=40)


def run_of(
    memory: str,
    method: str,
    network: str,
    modules: int | None,
    options: dict[str, Any],
    path: Path | None = None,
) -> Run:
    chosen = recipe_of(
        method, options, network=network, modules=modules, memory=memory, epochs=2, batch_size=16
    )
    return Run(chosen, digits(), path, dtype=torch.float64)


def three_steps(run: Run) -> tuple[dict[str, Tensor], Tensor]:
    """Take steps, the second one guided where the method has such.

    Return everything that is trained, and losses.
    """
    run.learner.train()
    losses = []
    for seed in range(3):
        images, targets = batch(8, SIDE, seed=seed)
        run.optimizer.zero_grad(set_to_none=True)
        guided = seed == 1 and run.recipe.method.startswith("pgl")
        output = run.engine.accumulate_and_step(
            Batch(images, targets.labels, targets.pixels), targets, guided=guided
        )
        losses.append(torch.cat([output.losses, output.logits.flatten()]))
    state = {name: each.clone() for name, each in run.learner.state_dict().items()}
    for name, each in run.learner.named_parameters():
        momentum = (
            run.optimizer.state[each]["momentum_buffer"] if each in run.optimizer.state else None
        )
        state[f"{name}, momentum"] = torch.zeros(()) if momentum is None else momentum
    return state, torch.stack(losses)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}")
def test_three_steps_are_those_of_the_plain_one(
    case: tuple[str, str, int | None, dict[str, Any]],
) -> None:
    """Parameters, BatchNorm's statistics and counters, momentum and losses."""
    plain, plain_losses = three_steps(run_of("plain", *case))
    lean, lean_losses = three_steps(run_of("lean", *case))
    assert plain.keys() == lean.keys()
    for name, each in plain.items():
        torch.testing.assert_close(
            lean[name], each, rtol=0, atol=1e-12, msg=lambda text, name=name: name + text
        )
    torch.testing.assert_close(lean_losses, plain_losses, rtol=0, atol=1e-12)


def test_every_parameter_is_stepped_with_its_module() -> None:
    run = run_of("lean", "auglocal", "resnet14", None, {"depth": 3})
    assert isinstance(run.optimizer, ModuleSGD)
    grouped = [each for group in run.optimizer.param_groups for each in group["params"]]
    assert len(run.optimizer.param_groups) == run.learner.modules_count
    assert {id(each) for each in grouped} == {id(each) for each in run.learner.parameters()}
    assert len(grouped) == len({id(each) for each in grouped})


def test_gradients_are_there_for_one_module_at_a_time() -> None:
    run, told = run_of("lean", "dgl", "resnet14", None, {}), []
    net, optimizer = run.learner, run.optimizer
    assert isinstance(optimizer, ModuleSGD)

    def finished(index: int) -> None:
        told.append(index)
        own = {id(each) for each in net.local_parameters(index)}
        assert {id(each) for each in net.parameters() if each.grad is not None} == own
        optimizer.step_module(index)

    net.step(*batch(8, SIDE), finished=finished)
    assert told == list(range(net.modules_count))
    assert all(each.grad is None for each in net.parameters())
    assert all(each in optimizer.state for each in net.parameters())


def lean_and_plain(method: str, **options: Any) -> tuple[Learner, Learner]:
    made = [
        build_learner(
            msgspec.structs.replace(recipe(method, **options), memory=memory), 10, SIDE
        ).double()
        for memory in ("lean", "plain")
    ]
    return made[0], made[1]


def test_without_an_optimizer_gradients_are_left() -> None:
    lean, plain = lean_and_plain("infopro")
    for net in (lean, plain):
        net.step(*batch(side=SIDE))
        net.step(*batch(side=SIDE))  # they add up
    for name, each in gradients(plain).items():
        torch.testing.assert_close(gradients(lean)[name], each, rtol=0, atol=1e-12)


def test_statistics_are_updated_once() -> None:
    lean, plain = lean_and_plain("auglocal", network="resnet14", depth=3)
    for net in (lean, plain):
        net.step(*batch(side=SIDE))
    for (name, left), (_, right) in zip(lean.named_buffers(), plain.named_buffers(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-14)
        assert not name.endswith("num_batches_tracked") or left == 1


def test_evaluation_and_names_are_the_plain_ones() -> None:
    lean, plain = lean_and_plain("auglocal", depth=3)
    assert any(isinstance(each, RecomputingBlock) for each in lean.independents.modules())
    assert not any(
        isinstance(each, RecomputingBlock | RecomputingSequential) for each in plain.modules()
    )
    assert list(lean.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(lean.state_dict())
    images, _ = batch(side=SIDE)
    for net in (lean, plain):
        net.eval()
    assert torch.equal(lean.chain(images), plain.chain(images))


class StopError(Exception):
    pass


class Interrupting:
    """Stops in the second epoch, once the first one's state is kept."""

    done = False

    def on(self, event: RunEvent) -> None:
        if isinstance(event, RunStarted):
            assert (event.epochs, event.done) == (2, 0)
        if isinstance(event, StepDone) and self.done:
            raise StopError
        self.done = isinstance(event, EpochDone)


def numbers(state: RunState) -> list[dict[str, float | None]]:
    return [
        {name: value for name, value in row.items() if name != "seconds"} for row in state.history
    ]


@pytest.mark.parametrize("method", ["dgl", "pgl+head"])
def test_resumed_run_is_the_uninterrupted_one_and_the_plain_one(
    method: str, tmp_path: Path
) -> None:
    case = (method, "resnet8", None, {})
    whole, plain = run_of("lean", *case), run_of("plain", *case)
    expected, other = whole.train(), plain.train()
    with pytest.raises(StopError):
        run_of("lean", *case, tmp_path / "kept.pt").train(Interrupting())
    again = run_of("lean", *case, tmp_path / "kept.pt")
    found = again.train()
    assert found.resumed == 1
    assert numbers(found) == numbers(expected)
    weights = whole.learner.state_dict()
    assert all(
        torch.equal(each, weights[name]) for name, each in again.learner.state_dict().items()
    )
    for name, each in plain.learner.state_dict().items():
        torch.testing.assert_close(weights[name], each, rtol=0, atol=1e-9)
    assert [row["test_acc"] for row in other.history] == [
        row["test_acc"] for row in expected.history
    ]


def small(memory: str, method: str = "auglocal", **options: Any) -> Recipe:
    return recipe_of(method, options, network="resnet20", memory=memory)


@pytest.mark.parametrize(
    ("method", "options", "most"),
    [
        ("auglocal", {"depth": 3}, 0.75),
        ("auglocal", {"depth": 6}, 0.75),
        ("dgl", {}, 0.9),
        ("bp", {}, 0.85),
    ],
)
def test_predicted_peak(method: str, options: dict[str, Any], most: float) -> None:
    setting = TraceOptions(batch_size=256, side=SIDE)
    plain, lean = (
        peak_bytes(small(each, method, **options), setting) for each in ("plain", "lean")
    )
    assert lean < most * plain
    freed = msgspec.structs.replace(setting, keep_gradients=False)
    assert lean < peak_bytes(small("plain", method, **options), freed), (
        "not by the freed gradients alone"
    )


def test_prediction_is_what_a_real_step_holds() -> None:
    setting = TraceOptions(batch_size=8, side=SIDE)
    fake, real = (
        peak_bytes(small("lean", depth=3), msgspec.structs.replace(setting, fake=each))
        for each in (True, False)
    )
    assert fake == real


@pytest.mark.parametrize("depth", [3, 6])
def test_convolutions(depth: int) -> None:
    counts = []
    for memory in ("plain", "lean"):
        net = build_learner(small(memory, depth=depth), 10, SIDE)
        with FlopCounterMode(display=False) as counter:
            net.step(*batch(2, SIDE, torch.float32))
        counts.append(
            sum(
                count
                for op, count in counter.get_flop_counts()["Global"].items()
                if "conv" in str(op)
            )
        )
    assert counts[0] < counts[1] <= 1.15 * counts[0]


def test_under_autocast_it_trains_like_the_plain_step() -> None:
    """The first run's cached weights, cast without a graph, must not be taken in the second."""
    found = []
    for net in lean_and_plain("auglocal", depth=3):
        net.float()
        with torch.autocast("cpu", torch.bfloat16):
            net.step(*batch(8, SIDE, torch.float32))
        assert all(
            each.grad is not None and each.grad.dtype == torch.float32 for each in net.parameters()
        )
        found.append(gradients(net))
    for name, each in found[1].items():
        assert (
            torch.linalg.vector_norm(found[0][name] - each)
            <= 0.1 * torch.linalg.vector_norm(each) + 1e-3
        ), name


@pytest.mark.parametrize("method", ["hpff+dgl", "bp+checkpointed"])
def test_methods_that_have_none_say_so(method: str) -> None:
    with pytest.raises(UsageError, match=r"isolated modules[\s\S]*--memory plain"):
        recipe_of(method, {}, memory="lean")
    chosen = msgspec.structs.replace(recipe(method), memory="lean")
    assert not isinstance(chosen.composition.routing, Isolated)
    with pytest.raises(AssertionError):
        build_learner(chosen, 10, SIDE)


def test_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(tmp_path, monkeypatch, capsys)
    refused = bench.call("table", "mini", "--memory", "lean", "--plan")
    assert refused.code == 2
    assert "Digits / DGL*, J=4: lean memory is for isolated modules" in " ".join(
        refused.err.split()
    )
    assert "--rows" in refused.err
    table = ("table", "mini", *ONE_CELL, "--epochs", "1", "--json")
    entries = [bench.call(*table).json, bench.call(*table, "--memory", "lean").json]
    assert [record.recipe.memory for record in bench.records()] in (
        ["plain", "lean"],
        ["lean", "plain"],
    )
    # Not a reduction of its own.
    assert len(entries[0]["comparisons"]) == len(entries[1]["comparisons"]) == 1
    assert (
        bench.call("run", "--network", "resnet8", "--method", "hpff+dgl", "--memory", "lean").code
        == 2
    )
    plan = bench.call(
        "run", "--network", "resnet8", "--method", "dgl", "--memory", "lean", "--plan", "--json"
    ).json
    assert "lean" in str(plan)


def test_keys_of_plain_recipes_are_what_they_were() -> None:
    settings = {
        "network": "resnet8",
        "dataset": "digits",
        "method": "dgl",
        "epochs": 1,
        "batch_size": 8,
        "lr": 0.1,
    }
    implied, plain, lean = (
        make_recipe(settings | more) for more in ({}, {"memory": "plain"}, {"memory": "lean"})
    )
    assert implied.key == plain.key != lean.key
    assert '"memory"' not in msgspec.json.encode(plain).decode()
