"""Graphs of compiled layers on a CUDA device, observed on the stand-in; one JSON object a line."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from cuda_standin import counts, reset
from cuda_steps import observed, recipe_named
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.utils import counters

from locbench.training.compiled import CompiledEngine, compiled_layers
from locbench.training.graphed import Call, CudaGraphs, GraphedEngine
from locbench.training.probe import ProbeStep

DEVICE = torch.device("cuda", 0)

RECIPES = {
    "dgl": "traced",
    "pgl": "traced",
    "hpff": "traced",
    "bf16": "traced",
    "vgg13": "traced",
    "bp": "inductor",
}
"""Which recipes, and how their layers are compiled: traced forwards and backwards and run as they
are, or to code of the device.
"""


class TracedLayers:
    """A backend of torch.compile that counts which of its functions run in a capture."""

    def __init__(self) -> None:
        self.captured = 0

    def backend(self) -> Callable[..., Any]:
        return aot_autograd(fw_compiler=self.compile)  # type: ignore[no-any-return]

    def compile(self, graph: Any, inputs: Any) -> Any:
        def run(*arguments: Any) -> Any:
            self.captured += torch.cuda.is_current_stream_capturing()
            return graph(*arguments)

        return make_boxed_func(run)


class ObservedGraphs(CudaGraphs):
    """Writes down what a capture asks of the device, and how many layers it compiles."""

    def __init__(self) -> None:
        super().__init__(DEVICE)
        self.captures: list[dict[str, Any]] = []

    def capture(self, call: Call) -> Call:
        compiled = counters["stats"]["unique_graphs"]
        reset()
        replay = super().capture(call)
        asked = counts()
        asked["layers compiled before"] = compiled
        asked["layers compiled in it"] = counters["stats"]["unique_graphs"] - compiled
        self.captures.append(asked)
        return replay


def observe(name: str, how: str) -> dict[str, Any]:
    """Return what is captured of a recipe's steps, local and guided, and what replays ask for."""
    torch._dynamo.reset()
    counters.clear()
    step, layers = ProbeStep(recipe_named(name), DEVICE), TracedLayers()
    plain: Any = step.engine
    compiled = CompiledEngine(plain, "inductor" if how == "inductor" else layers.backend())
    graphs, replay = ObservedGraphs(), dict[str, Any]()
    step.engine = GraphedEngine(plain, graphs, compiled)
    with warnings.catch_warnings(record=True) as warned:
        for step.guided in (False, True)[: 1 + (name == "pgl")]:
            step()
    step()
    with observed(replay):
        step()
    return {
        "name": name,
        "engine": step.engine.name,
        "layers": len(compiled_layers(step.learner)),
        "functions captured": layers.captured,
        "captures": graphs.captures,
        "replay": replay,
        "warned": [str(warning.message) for warning in warned],
    }


if __name__ == "__main__":
    for name in sys.argv[1:] or RECIPES:
        print(json.dumps(observe(name, RECIPES[name])), flush=True)
