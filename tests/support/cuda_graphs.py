"""What graphs of steps hold and leave behind, observed on the stand-in; one JSON object."""

from __future__ import annotations

import gc
import json
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

import torch
from cuda_standin import counts, reset
from cuda_steps import recipe_named

from locbench.bench.cases import Case
from locbench.bench.worker import Side, StepServer
from locbench.costs.measured.measure import measure
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.trace import peak_bytes
from locbench.data.batches import Batch
from locbench.learning.auxiliary.branch import Targets
from locbench.training.graphed import GraphedEngine
from locbench.training.probe import ProbeStep

DEVICE = torch.device("cuda", 0)


def graphed(name: str = "dgl") -> tuple[ProbeStep, GraphedEngine]:
    step = ProbeStep(recipe_named(name), DEVICE, "graphed")
    assert isinstance(step.engine, GraphedEngine)
    return step, step.engine


def smaller(batch: Batch, size: int) -> tuple[Batch, Targets]:
    pixels = None if batch.pixels is None else batch.pixels[:size]
    part = Batch(batch.images[:size], batch.labels[:size], pixels)
    return part, Targets(part.labels, part.pixels)


def spoil(engine: GraphedEngine, how: str) -> None:
    """Let steps do in a capture what no graph can hold."""
    take = engine.plain.accumulate_and_step

    def spoilt(*arguments: Any, **named: Any) -> Any:
        output = take(*arguments, **named)
        if torch.cuda.is_current_stream_capturing():
            if how == "read":
                output.losses.sum().item()
            if how == "memory":
                torch.empty(100 << 30, dtype=torch.uint8, device=DEVICE)
            if how == "copy":
                torch.zeros(3).to(DEVICE)
        return output

    engine.plain.accumulate_and_step = spoilt  # type: ignore[method-assign]


def broken_off(how: str) -> dict[str, Any]:
    """Take steps that no graph can hold; return what was said and what works afterwards."""
    step, engine = graphed()
    spoil(engine, how)
    before, said = torch.cuda.current_stream(), StringIO()
    with redirect_stderr(said):
        step()
    same = torch.cuda.current_stream() == before
    torch.rand(3, device=DEVICE)
    torch.cuda.empty_cache()
    ran = engine.name
    del step, engine
    again, next_engine = graphed()
    again()
    return {"ran": ran, "said": said.getvalue(), "same stream": same, "next": next_engine.name}


def last_batch() -> dict[str, Any]:
    """Take steps of two sizes and a third; return what the second takes besides."""
    torch.cuda.empty_cache()
    step, engine = graphed()
    step()
    reserved = torch.cuda.memory_reserved()
    engine.step(*smaller(step.batch, 100), guided=False)
    found: dict[str, Any] = {"grown": torch.cuda.memory_reserved() - reserved}
    for size in (256, 100, 50):
        reset()
        engine.step(*smaller(step.batch, size), guided=False)
        found[str(size)] = counts()["graph_launches"]
    return found


def last_batch_spoilt(how: str) -> dict[str, Any]:
    """Take steps of two sizes, of which no graph can hold the second."""
    step, engine = graphed("hpff")
    step()
    spoil(engine, how)
    said = StringIO()
    with redirect_stderr(said):
        engine.step(*smaller(step.batch, 100), guided=False)
        engine.step(*smaller(step.batch, 100), guided=False)
    found: dict[str, Any] = {"ran": engine.name, "said": said.getvalue()}
    for size in (256, 100, 50):
        reset()
        engine.step(*smaller(step.batch, size), guided=False)
        found[str(size)] = counts()["graph_launches"]
    return found


def memory_of_a_graph(name: str) -> dict[str, int]:
    """Return the peak of a graphed step, as predicted and as `locbench bench` reads it."""
    server = StepServer(Side(reference=False, device=DEVICE, precision="fp32", threads=None))
    recipe = recipe_named(name)
    prepared = server.prepare(0, Case(recipe), "graphed")
    found = {
        "peak": prepared.peak_bytes,
        "inputs": recipe.batch_size * (3 * recipe.side**2 * 4 + 8),
        "predicted": peak_bytes(recipe, TraceOptions(keep_gradients=False)),
    }
    server.forget()
    return found


def left_behind() -> list[int]:
    """Return the bytes that are allocated after each of three graphed runs."""
    found = []
    for _ in range(3):
        step, engine = graphed()
        step()
        del step, engine
        gc.collect()
        found.append(torch.cuda.memory_allocated())
    return found


def measured_after_a_run() -> list[int]:
    """Return what measurements find occupied before and after a graphed run."""
    found = []
    for _ in range(2):
        found.append(measure(recipe_named("bp"), DEVICE, steps=1, warmup=1).occupied_bytes)
        graphed()[0]()
    return found


if __name__ == "__main__":
    report = {
        "occupied": measured_after_a_run(),
        "left": left_behind(),
        "last batch": last_batch(),
        "broken off": {how: broken_off(how) for how in ("read", "memory", "copy")},
        "last batch spoilt": {how: last_batch_spoilt(how) for how in ("read", "memory")},
        "memory": {name: memory_of_a_graph(name) for name in ("bp", "dgl", "vgg19")},
    }
    print(json.dumps(report))
