"""Engines: whichever runs the steps, they are the eager engine's."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from recorded_graphs import Call, RecordedGraphs
from small_table import Bench
from specimens import batch, recipe_of
from torch import Tensor, nn
from torch._dynamo.utils import counters

from locbench.data.batches import Batch
from locbench.data.images import Split, load
from locbench.errors import FailureError, UsageError
from locbench.learning.auxiliary.branch import Targets
from locbench.networks.resnet_cifar import BasicBlock
from locbench.spec.recipe import Recipe
from locbench.spec.validation import make_recipe
from locbench.training.compiled import CompiledEngine, compiled_layers
from locbench.training.device import SEARCH_SWITCH, SWITCH, keep_blocks
from locbench.training.distributed import SINGLE_PROCESS, ProcessGroup
from locbench.training.eager import EagerEngine
from locbench.training.engine import Engine, choose_engine
from locbench.training.graphed import CudaGraphs, GraphedEngine, capture_stream
from locbench.training.input import eval_batch_size
from locbench.training.run import Run

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SIDE = 16
METHODS: dict[str, dict[str, Any]] = {
    "bp": {"method": "bp"},
    "dgl": {"method": "dgl", "network": "resnet14"},
    "predsim": {"method": "predsim"},
    "infopro": {"method": "infopro", "network": "resnet14", "modules": 4},
    "contrast": {"method": "head", "options": {"net": "2C2F", "loss": "contrast"}},
    "auglocal": {"method": "auglocal", "network": "resnet14", "options": {"depth": 3}},
    "hpff": {"method": "hpff+dgl"},
    "two windows": {"method": "hpff+dgl", "modules": 3},
    "hpff as released": {"method": "hpff+dgl", "options": {"engine": "recompute"}},
    "pgl": {"method": "pgl+auglocal", "options": {"depth": 2}},
    "lean": {"method": "dgl", "network": "resnet14", "memory": "lean"},
    "clipped": {"method": "dgl", "clip_norm": 0.1},
    "momentum": {"method": "bp", "momentum": 0.0},
    "swin": {
        "method": "swin-reconstruction",
        "network": "swin-micro",
        "modules": 4,
        "optimizer": "adamw",
    },
}
"""The Swin Transformer draws random depths besides."""

RATES = (0.03125, 0.0078125, 0.0078125, 0.015625)
"""Float32, in which a graph reads them, holds these whole."""


@cache
def digits() -> Split:
    return load("digits", Path("unused"), limit=44, test_limit=40)


def recipe(name: str) -> Recipe:
    settings = {"epochs": 2, "batch_size": 16} | METHODS[name]
    if name == "swin":
        settings |= {"image_size": 32, "drop_path": 0.3, "clip_norm": 5.0}
    return recipe_of(settings.pop("method"), settings.pop("options", {}), **settings)  # type: ignore[arg-type]


def run_of(name: str, dtype: torch.dtype = torch.float64) -> Run:
    return Run(recipe(name), digits(), dtype=dtype)


def given(
    size: int, seed: int, side: int = SIDE, dtype: torch.dtype = torch.float64
) -> tuple[Batch, Targets]:
    images, targets = batch(size, side, dtype, seed)
    return Batch(images, targets.labels, targets.pixels), targets


def stepped(run: Run, engine: Engine) -> dict[str, Tensor]:
    """Take four steps, the second guided where the method has such, the third of fewer images.

    Return everything.
    """
    run.learner.train()
    torch.manual_seed(5)
    found: dict[str, Tensor] = {}
    for index, rate in enumerate(RATES):
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        images, targets = given(
            5 if index == 2 else 8, index, run.recipe.side if run.recipe.image_size else SIDE
        )
        guided = index == 1 and run.recipe.method.startswith("pgl")
        output = engine.step(images, targets, guided=guided)
        found[f"losses {index}"], found[f"scores {index}"] = output.losses, output.logits
    found |= {name: each.clone() for name, each in run.learner.state_dict().items()}
    for name, each in run.learner.named_parameters():
        state = run.optimizer.state.get(each, {})
        found |= {
            f"{name}, {key}": torch.as_tensor(value)
            for key, value in state.items()
            if value is not None
        }
    return found


def assert_close(left: dict[str, Tensor], right: dict[str, Tensor], tolerance: float) -> None:
    assert left.keys() == right.keys()
    for name, each in left.items():
        torch.testing.assert_close(
            right[name], each, rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )


# Graphs


def graphed(run: Run, graphs: Any = None, backend: Any = None) -> GraphedEngine:
    """Return an engine of graphs, whose layers are compiled where a backend is given."""
    plain = EagerEngine(run.learner, run.optimizer, run.recipe, SINGLE_PROCESS, run.device)
    layers = CompiledEngine(plain, backend) if backend else None
    return GraphedEngine(plain, graphs or RecordedGraphs(), layers)


@pytest.mark.parametrize("name", METHODS)
def test_replayed_steps_are_eager_ones_bit_for_bit(name: str) -> None:
    eager, other, graphs = run_of(name), run_of(name), RecordedGraphs()
    expected = stepped(eager, eager.engine)
    engine = graphed(other, graphs)
    assert_close(expected, stepped(other, engine), 0)
    kinds = 2 if name == "pgl" else 1
    graphs_made = kinds + 1  # the third batch is smaller
    assert (graphs.captured, graphs.warmed) == (graphs_made, 3 * graphs_made)
    assert graphs.replayed == len(RATES) + graphs_made
    assert engine.name == "graphed"
    assert engine.compile_seconds > 0


def test_an_interrupted_state_is_taken_over() -> None:
    """A graph captured in mid-run starts from the momentum and the statistics of the moment."""
    eager, other = run_of("dgl"), run_of("dgl")
    for run in (eager, other):
        stepped(run, run.engine)
    assert_close(stepped(eager, eager.engine), stepped(other, graphed(other)), 0)


def test_what_a_step_gives_outlives_the_next_one() -> None:
    run = run_of("dgl")
    run.learner.train()
    engine = graphed(run)
    first = engine.step(*given(8, 0), guided=False)
    kept = first.losses.clone(), first.logits.clone()
    engine.step(*given(8, 1), guided=False)
    assert torch.equal(first.losses, kept[0])
    assert torch.equal(first.logits, kept[1])


def test_a_whole_run_is_the_eager_one() -> None:
    """Epochs with a smaller last batch and evaluation between them.

    Rates are rounded to float32 in a graph.
    """
    eager, other = run_of("auglocal"), run_of("auglocal")
    other.engine = graphed(other)
    expected, found = eager.train(), other.train()
    assert (expected.engine, found.engine) == ("eager", "graphed")
    assert_close(eager.learner.state_dict(), other.learner.state_dict(), 1e-6)
    assert [row["test_acc"] for row in found.history] == [
        row["test_acc"] for row in expected.history
    ]


def test_a_checkpoint_does_not_tell_the_engine() -> None:
    for name in ("dgl", "swin"):
        eager, other = run_of(name), run_of(name)
        stepped(eager, eager.engine)
        stepped(other, graphed(other))
        left, right = (run.optimizer.state_dict()["param_groups"] for run in (eager, other))
        assert left == right
        assert all(isinstance(group["lr"], float) for group in right)


class FailingGraphs(RecordedGraphs):
    def capture(self, call: Call) -> Call:
        call()
        raise RuntimeError(
            "CUDA error: operation not permitted when stream is capturing\nand so on"
        )


class WrongGraphs(RecordedGraphs):
    def capture(self, call: Call) -> Call:
        replay = super().capture(call)

        def twice() -> None:
            replay()
            replay()

        return twice


@pytest.mark.parametrize(
    ("graphs", "why"),
    [(FailingGraphs, "operation not permitted"), (WrongGraphs, "differs from an eager one")],
)
def test_a_graph_that_cannot_be_or_is_wrong_is_not_used(
    graphs: type[RecordedGraphs], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    eager, other = run_of("pgl"), run_of("pgl")
    engine = graphed(other, graphs())
    found = stepped(other, engine)
    assert engine.name == "eager"
    assert capsys.readouterr().err.count(why) == 1
    expected = stepped(eager, eager.engine)
    assert_close(expected, {name: found[name] for name in expected}, 0)


class SpoiltLater(RecordedGraphs):
    """Fails in the captures after the first."""

    def __init__(self, error: str | RuntimeError) -> None:
        super().__init__()
        self.error = RuntimeError(error) if isinstance(error, str) else error
        self.recovered = 0

    def capture(self, call: Call) -> Call:
        replay = super().capture(call)
        if self.captured > 1:
            raise self.error
        return replay

    def recover(self) -> None:
        self.recovered += 1


def test_without_a_graph_of_the_last_batch_the_others_keep_theirs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    eager, other = run_of("dgl"), run_of("dgl")
    graphs = SpoiltLater("CUDA error: operation not permitted when stream is capturing")
    engine = graphed(other, graphs)
    expected, found = stepped(eager, eager.engine), stepped(other, engine)
    assert_close(expected, found, 0)
    engine.step(*given(5, 4), guided=False)
    engine.step(*given(3, 4), guided=False)
    engine.step(*given(8, 5), guided=False)
    assert engine.name == "graphed"
    assert (graphs.captured, graphs.recovered) == (2, 1)
    assert graphs.replayed == 1 + 4  # the check, and every step on eight images
    said = capsys.readouterr().err
    assert said.count("no graph of steps on 5 images") == said.count("no graph") == 1
    assert said.count("operation not permitted") == 1


def test_a_guided_step_without_a_graph_ends_all_graphs(capsys: pytest.CaptureFixture[str]) -> None:
    """It is no rarity as a last batch is; the record is to say how most steps were run."""
    eager, other = run_of("pgl"), run_of("pgl")
    engine = graphed(other, SpoiltLater("no"))
    expected, found = stepped(eager, eager.engine), stepped(other, engine)
    assert_close(expected, {name: found[name] for name in expected}, 0)
    assert engine.name == "eager"
    assert capsys.readouterr().err.count("no graph") == 1


def test_without_memory_for_the_last_batch_graphs_give_theirs_back() -> None:
    """An eager step on it needs as much as they hold."""
    run = run_of("dgl")
    engine = graphed(run, SpoiltLater(torch.OutOfMemoryError("CUDA out of memory.")))
    stepped(run, engine)
    assert engine.name == "eager"
    assert not engine._steps


class BrokenGraphs(FailingGraphs):
    def recover(self) -> None:
        raise RuntimeError("Offset increment outside graph capture encountered unexpectedly.")


def test_a_device_that_is_unusable_after_a_failed_capture_ends_the_command() -> None:
    run = run_of("dgl")
    with pytest.raises(FailureError, match="Offset increment outside graph capture") as caught:
        stepped(run, graphed(run, BrokenGraphs()))
    assert caught.value.remedy == "Use --engine eager."


def test_without_memory_for_a_snapshot_steps_are_eager(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr("locbench.training.graphed.Snapshot", full)
    eager, other = run_of("dgl"), run_of("dgl")
    engine = graphed(other)
    assert_close(stepped(eager, eager.engine), stepped(other, engine), 0)
    assert engine.name == "eager"
    assert "CUDA out of memory" in capsys.readouterr().err


def drawn_after_steps(
    device: torch.device, graphs: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Tensor]:
    """Take steps that read a loss back, as no graph can.

    Return the engine that ran and numbers drawn afterwards.
    """
    split = load("digits", Path("unused"), limit=44, test_limit=40, device=device.type)
    run = Run(recipe("swin"), split, dtype=torch.float64)
    engine = graphed(run, graphs) if graphs else run.engine
    plain = engine.plain if isinstance(engine, GraphedEngine) else engine
    assert isinstance(plain, EagerEngine)
    take = plain.accumulate_and_step

    def reading(*arguments: Any, **named: Any) -> Any:
        output = take(*arguments, **named)
        output.losses.sum().item()
        return output

    monkeypatch.setattr(plain, "accumulate_and_step", reading)
    run.learner.train()
    torch.manual_seed(5)
    for index in range(2):
        images, targets = given(8, index, run.recipe.side)
        pixels = None if targets.pixels is None else targets.pixels.to(device)
        own = Batch(images.images.to(device), images.labels.to(device), pixels)
        engine.step(own, Targets(own.labels, pixels), guided=False)
    return engine.name, torch.rand(3, device=device)


@pytest.mark.parametrize(
    ("device", "graphs"),
    [
        pytest.param(CPU, RecordedGraphs, id="cpu"),
        pytest.param(
            CUDA,
            lambda: CudaGraphs(CUDA),
            id="cuda",
            marks=pytest.mark.skipif(
                not torch.cuda.is_available(), reason="there is no CUDA device for graphs"
            ),
        ),
    ],
)
def test_random_numbers_go_on_after_a_step_that_reads_back(
    device: torch.device, graphs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = drawn_after_steps(device, graphs(), monkeypatch)
    expected = drawn_after_steps(device, None, monkeypatch)
    assert (found[0], expected[0]) == ("eager", "eager")
    assert torch.equal(found[1], expected[1])


def test_mixed_targets_are_inputs_of_a_graph() -> None:
    runs = [run_of("bp"), run_of("bp")]
    engines: list[Engine] = [runs[0].engine, graphed(runs[1])]
    found = []
    for run, engine in zip(runs, engines, strict=True):
        run.learner.train()
        run.optimizer.param_groups[0]["lr"] = RATES[0]
        for seed in range(3):
            images, targets = given(8, seed)
            mixed = torch.rand(
                8, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
            )
            engine.step(images, Targets(targets.labels, None, mixed=mixed), guided=False)
        found.append(run.learner.state_dict())
    assert_close(*found, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device for graphs")
@pytest.mark.parametrize("name", METHODS)
def test_twenty_steps_on_cuda(name: str) -> None:
    found = []
    split = load("digits", Path("unused"), limit=44, test_limit=40, device="cuda")
    for graphs in (False, True):
        run = Run(recipe(name), split, dtype=torch.float64)
        engine: Engine = graphed(run, CudaGraphs(CUDA)) if graphs else run.engine
        run.learner.train()
        torch.manual_seed(5)
        for group in run.optimizer.param_groups:
            group["lr"] = RATES[0]
        for index in range(20):
            images, targets = given(8, index, run.recipe.side if run.recipe.image_size else SIDE)
            own = Batch(images.images.cuda(), images.labels.cuda(), None)
            aims = Targets(
                own.labels, targets.pixels.cuda() if targets.pixels is not None else None
            )
            engine.step(own, aims, guided=index % 5 == 4 and name == "pgl")
        assert engine.name == ("graphed" if graphs else "eager")
        found.append(run.learner.state_dict())
    assert_close(*found, 1e-6)


# Compiled layers


def compiled(run: Run, backend: str, layers: list[nn.Module] | None = None) -> CompiledEngine:
    eager = EagerEngine(run.learner, run.optimizer, run.recipe, SINGLE_PROCESS, run.device)
    return CompiledEngine(eager, backend, layers)


@pytest.mark.parametrize("name", ["pgl", "two windows"])
def test_traced_steps_are_eager_ones(name: str) -> None:
    """Both of PGL's phases, and HPFF, which carries two gradients through a module."""
    eager, other = run_of(name), run_of(name)
    expected, engine = stepped(eager, eager.engine), compiled(other, "aot_eager")
    assert_close(expected, stepped(other, engine), 1e-9)
    assert engine.name == "compiled"


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_steps_of_compiled_code_are_eager_ones() -> None:
    """Machine code of one block; that of all would take minutes to make."""
    eager, other = run_of("bp"), run_of("bp")
    block = compiled_layers(other.learner)[1:2]
    expected, engine = stepped(eager, eager.engine), compiled(other, "inductor", block)
    assert_close(expected, stepped(other, engine), 1e-9)
    assert engine.name == "compiled"


def test_first_losses_in_float32() -> None:
    eager, other = run_of("dgl", torch.float32), run_of("dgl", torch.float32)
    found = [
        engine.step(*given(8, 0, dtype=torch.float32), guided=False).losses
        for engine in (eager.engine, graphed(other))
    ]
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=0)


def test_a_deeper_network_needs_no_more_compilations() -> None:
    """Stem, blocks of three widths, a wider one before two, classifier, three auxiliary nets.

    ResNet-14 lacks none of these: its stages have two blocks each. Nor does a second run compile
    anything again.
    """
    torch._dynamo.reset()
    counted = []
    for network in ("resnet14", "resnet14", "resnet32"):
        eager, other = (Run(recipe_of("dgl", {}, network=network), digits()) for _ in range(2))
        engine = compiled(other, "eager")
        before, (data, targets) = (
            counters["stats"]["unique_graphs"],
            given(4, 0, dtype=torch.float32),
        )
        expected, found = (
            each.step(data, targets, guided=False).losses for each in (eager.engine, engine)
        )
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
        counted.append(counters["stats"]["unique_graphs"] - before)
        spent = engine.compile_seconds
        engine.step(data, targets, guided=False)
        assert engine.compile_seconds == spent
    assert counted == [10, 0, 0]


def test_layers_are_compiled_whole_and_once() -> None:
    learner = run_of("auglocal").learner
    found = compiled_layers(learner)
    ids = [id(each) for each in found]
    assert len(ids) == len(set(ids))
    inner = {id(below) for each in found for below in each.modules() if below is not each}
    assert not inner & set(ids)
    assert sum(isinstance(each, BasicBlock) for each in found) == sum(
        isinstance(each, BasicBlock) for each in learner.modules()
    )


class Talking(BasicBlock):
    def forward(self, x: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return super().forward(x)


def test_a_layer_that_does_not_compile_runs_eagerly(capsys: pytest.CaptureFixture[str]) -> None:
    eager, other = run_of("clipped"), run_of("clipped")
    for run in (eager, other):
        for each in run.learner.chain.units:
            if type(each) is BasicBlock:
                each.__class__ = Talking
    engine = compiled(other, "eager")
    assert_close(stepped(eager, eager.engine), stepped(other, engine), 1e-9)
    said = capsys.readouterr().err.count("a layer Talking cannot be compiled")
    assert said == len(
        {str(each) for each in other.learner.chain.units if isinstance(each, Talking)}
    )
    assert engine.name == "compiled"
    assert not any(
        "forward" in vars(each) for each in other.learner.modules() if isinstance(each, nn.Module)
    )


# Compiled layers within graphs


class CountingBackend:
    """Runs traced layers as they are; counts the layers compiled, and runs of them."""

    def __init__(self) -> None:
        self.compiled = self.runs = 0

    def __call__(self, graph: Any, inputs: Any) -> Any:
        self.compiled += 1

        def run(*arguments: Any) -> Any:
            self.runs += 1
            return graph(*arguments)

        return run


class WatchedGraphs(RecordedGraphs):
    """Notes what a backend has counted before every capture and after it."""

    def __init__(self, backend: CountingBackend) -> None:
        super().__init__()
        self.backend = backend
        self.notes: list[tuple[int, int]] = []

    def capture(self, call: Call) -> Call:
        self.notes.append((self.backend.compiled, self.backend.runs))
        try:
            return super().capture(call)
        finally:
            self.notes.append((self.backend.compiled, self.backend.runs))


@pytest.mark.parametrize("name", METHODS)
def test_graphs_of_compiled_layers_are_eager_steps(name: str) -> None:
    if name == "lean":
        return  # such steps are not compiled
    eager, other = run_of(name), run_of(name)
    expected, engine = stepped(eager, eager.engine), graphed(other, backend="eager")
    assert_close(expected, stepped(other, engine), 1e-9)
    assert engine.name == "compiled+graphed"


def test_compiled_layers_are_what_is_captured() -> None:
    """All are compiled before the first capture, and run once in each on a whole batch.

    They are the stem, three blocks and the classifier of ResNet-8, and the auxiliary nets of four
    modules, but for the last batch, which nothing is compiled for.
    """
    torch._dynamo.reset()
    run, backend = run_of("dgl"), CountingBackend()
    graphs = WatchedGraphs(backend)
    engine = graphed(run, graphs, backend)
    stepped(run, engine)
    layers = len(compiled_layers(run.learner))
    (before, after, last, end) = graphs.notes
    assert before[0] == after[0] == last[0] == end[0] > 0
    assert before[1] == 3 * layers  # warm-up
    assert after[1] - before[1] == layers > 5
    assert last == end == after
    assert backend.runs == after[1]  # replays run no Python


def test_seconds_of_compiling_count_once() -> None:
    torch._dynamo.reset()
    run = run_of("dgl")
    engine = graphed(run, backend="eager")
    begun = time.perf_counter()
    engine.step(*given(8, 0), guided=False)
    spent = time.perf_counter() - begun
    assert engine.compiled is not None
    assert 0 < engine.compiled.compile_seconds < engine.compile_seconds < spent


def test_without_graphs_layers_stay_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    eager, other = run_of("dgl"), run_of("dgl")
    engine = graphed(other, FailingGraphs(), "eager")
    expected, found = stepped(eager, eager.engine), stepped(other, engine)
    assert_close(expected, {name: found[name] for name in expected}, 1e-9)
    assert engine.name == "compiled"
    assert capsys.readouterr().err.count("operation not permitted") == 1


def test_graphs_of_layers_that_do_not_compile_are_graphs_alone() -> None:
    def no_compiler(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler")

    torch._dynamo.reset()
    eager, other = run_of("dgl"), run_of("dgl")
    engine = graphed(other, backend=no_compiler)
    assert_close(stepped(eager, eager.engine), stepped(other, engine), 0)
    assert engine.name == "graphed"


# cuDNN's search


class SearchedGraphs(RecordedGraphs):
    """Notes whether cuDNN may search."""

    def __init__(self) -> None:
        super().__init__()
        self.warming: list[bool] = []
        self.capturing: list[bool] = []

    def warm_up(self, call: Call) -> None:
        self.warming.append(torch.backends.cudnn.benchmark)
        super().warm_up(call)

    def capture(self, call: Call) -> Call:
        self.capturing.append(torch.backends.cudnn.benchmark)
        return super().capture(call)


@pytest.mark.parametrize("switch", [None, "0", "1"])
def test_cudnn_searches_before_a_capture_and_never_else(
    switch: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SEARCH_SWITCH, raising=False)
    if switch is not None:
        monkeypatch.setenv(SEARCH_SWITCH, switch)
    run, graphs = run_of("dgl"), SearchedGraphs()
    stepped(run, graphed(run, graphs))
    assert graphs.warming == [switch == "1", switch == "1", False] * 2
    assert graphs.capturing == [False] * 2
    assert not torch.backends.cudnn.benchmark


def test_a_search_of_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SEARCH_SWITCH, "on")
    with pytest.raises(UsageError, match="LOCBENCH_CUDNN_SEARCH is 'on'"):
        graphed(run_of("dgl"))


# Which engine


def test_auto_is_the_fastest_that_is_safe() -> None:
    plain, lean, several = recipe("dgl"), recipe("lean"), ProcessGroup(0, 2)
    checkpointed = recipe_of("bp+checkpointed", {})
    assert choose_engine("auto", plain, CPU, SINGLE_PROCESS) == "eager"
    assert choose_engine("auto", plain, CUDA, SINGLE_PROCESS) == "graphed"
    assert choose_engine("auto", lean, CUDA, SINGLE_PROCESS) == "eager"
    assert choose_engine("auto", plain, CUDA, several) == "eager"
    assert choose_engine("auto", checkpointed, CUDA, SINGLE_PROCESS) == "eager"
    assert choose_engine("graphed", lean, CUDA, SINGLE_PROCESS) == "graphed"
    assert choose_engine("compiled", plain, CPU, SINGLE_PROCESS) == "compiled"
    assert choose_engine("compiled+graphed", plain, CUDA, SINGLE_PROCESS) == "compiled+graphed"


@pytest.mark.parametrize(
    ("name", "which", "device", "world", "why"),
    [
        ("graphed", "dgl", CPU, SINGLE_PROCESS, "needs a CUDA device, this one is cpu"),
        ("graphed", "dgl", CUDA, ProcessGroup(0, 2), "is for one process, not for 2"),
        ("compiled", "dgl", CPU, ProcessGroup(0, 2), "is for one process, not for 2"),
        ("compiled", "lean", CPU, SINGLE_PROCESS, "lean memory"),
        ("compiled+graphed", "dgl", CPU, SINGLE_PROCESS, "needs a CUDA device, this one is cpu"),
        ("compiled+graphed", "dgl", CUDA, ProcessGroup(0, 2), "is for one process, not for 2"),
        ("compiled+graphed", "lean", CUDA, SINGLE_PROCESS, "lean memory"),
        ("graped", "dgl", CPU, SINGLE_PROCESS, "Did you mean 'graphed' or"),
    ],
)
def test_what_cannot_be_is_refused(
    name: str, which: str, device: torch.device, world: ProcessGroup, why: str
) -> None:
    with pytest.raises(UsageError) as refused:
        choose_engine(name, recipe(which), device, world)
    assert why in str(refused.value)


def test_checkpointing_is_not_captured() -> None:
    for name in ("graphed", "compiled+graphed"):
        with pytest.raises(UsageError, match="keeps the random state on the host"):
            choose_engine(name, recipe_of("bp+checkpointed", {}), CUDA, SINGLE_PROCESS)


def test_an_engine_is_no_part_of_a_recipe() -> None:
    assert not {"engine", "engines"} & set(Recipe.__struct_fields__)
    settings = {
        "network": "resnet8",
        "dataset": "digits",
        "method": "dgl",
        "epochs": 1,
        "batch_size": 8,
        "lr": 0.05,
    }
    with pytest.raises(UsageError, match="unknown recipe setting 'engine'"):
        make_recipe({**settings, "engine": "eager"})


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


RUN = (
    "run",
    "--network",
    "resnet8",
    "--method",
    "dgl",
    "--limit",
    "40",
    "--epochs",
    "1",
    "--device",
    "cpu",
)


def test_the_command_line_refuses_before_it_trains(bench: Bench) -> None:
    for name in ("graphed", "compiled+graphed"):
        refused = bench.call(*RUN, "--engine", name)
        assert refused.code == 2
        assert f"{name!r} needs a CUDA device, this one is cpu" in refused.err
        assert "--engine auto" in refused.err
    unknown = bench.call(*RUN, "--engine", "fast")
    assert unknown.code == 2
    assert "graphed" in unknown.err


def test_a_record_says_what_ran(bench: Bench) -> None:
    assert bench.call(*RUN).code == 0
    assert [record.provenance.engine for record in bench.records()] == ["eager"]


# Memory of the CPU


LIBC = platform.libc_ver()[0]
CHILD = "from locbench.training.device import keep_blocks; print(keep_blocks())"


@pytest.mark.skipif(LIBC != "glibc", reason="another C library")
@pytest.mark.parametrize(("switch", "expected"), [("1", "True"), ("0", "False")])
def test_blocks_are_kept_unless_it_is_switched_off(switch: str, expected: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env={SWITCH: switch},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(name: str | None) -> Any:
        raise AssertionError("looked for mallopt")

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", no_library)
    keep_blocks.cache_clear()
    assert not keep_blocks()
    keep_blocks.cache_clear()


def test_batches_of_test_images() -> None:
    """On CUDA 2000 images of 32 pixels, as many pixels of other sides, never fewer than here."""
    assert [eval_batch_size(side, CPU) for side in (16, 32, 96, 224)] == [250, 250, 250, 50]
    assert [eval_batch_size(side, CUDA) for side in (16, 32, 64, 96, 224)] == [
        8000,
        2000,
        500,
        250,
        50,
    ]


def test_all_graphs_on_a_device_share_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuBLAS keeps workspaces for every stream, which a later run's peak would contain."""
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: object())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    capture_stream.cache_clear()
    first, second, other = (CudaGraphs(torch.device("cuda", index)) for index in (0, 0, 1))
    assert first.stream is second.stream
    assert first.stream is not other.stream
    assert first.pool is not second.pool
    capture_stream.cache_clear()
