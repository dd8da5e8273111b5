"""How training steps are run.

Engines give the same numbers up to rounding, at different speeds. So they are no part of a recipe's
key.

* ``eager``: Python queues one operation after the other. On the CPU freed memory stays in the
  process (`keep_blocks`).
* ``compiled``: layers are compiled by torch.compile, once per distinct shape (`CompiledEngine`).
* ``graphed``: a whole step is one CUDA graph, which the host starts with a single call
  (`GraphedEngine`).
* ``compiled+graphed``: a graph of steps whose layers are compiled.

``auto`` is ``graphed`` on a CUDA device wherever that is safe, and ``eager`` elsewhere. It never
compiles: that takes its time before the first step, and whether steps are faster afterwards depends
on network, method and device (``locbench bench --engines eager,compiled`` times both, and the
compiling). Compiled layers within a graph have not been timed on a GPU yet.
"""

from __future__ import annotations

from typing import Protocol, get_args

import torch

from locbench.data.batches import Batch
from locbench.errors import UsageError
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import Learner
from locbench.learning.routing import StepOutput
from locbench.registry import suggestion
from locbench.spec.choices import EngineName
from locbench.spec.components import Checkpointed
from locbench.spec.recipe import Recipe
from locbench.training.device import keep_blocks, refuse_precision
from locbench.training.distributed import ProcessGroup
from locbench.training.eager import EagerEngine

ENGINES: tuple[EngineName, ...] = get_args(EngineName)


class Engine(Protocol):
    """Takes training steps.

    Attributes:
        name: of what really runs; ``eager`` too where another engine had to give up.
        compile_seconds: spent so far on compiling or capturing, within steps.
    """

    @property
    def name(self) -> str:
        """Name of what really runs."""

    @property
    def compile_seconds(self) -> float:
        """Seconds spent on preparing steps."""

    def step(
        self, batch: Batch, targets: Targets, *, guided: bool, global_batch: int | None = None
    ) -> StepOutput:
        """Take one whole step.

        That is the gradients of all modules, clipped and averaged over processes, and the
        optimizer's step. The learning rate is what the optimizer's groups hold. Nothing is read
        back from the device, but for the first step of a kind in an engine that prepares it.

        Args:
            batch: this process's share of a batch, on the device.
            targets: its labels and images.
            guided: a step of PGL's global phase.
            global_batch: images of the whole batch; without a number the share is all of it.
        """


def choose_engine(
    name: str, recipe: Recipe, device: torch.device, world: ProcessGroup
) -> EngineName:
    """Return the engine of a name; ``auto`` is the fastest that is safe for the recipe there.

    Raises:
        UsageError: there is no such engine, or it cannot run the recipe there.
    """
    refuse_precision(recipe.precision, device)
    if name == "auto":
        return "eager" if why_not_graphed(recipe, device, world) else "graphed"
    engine = next((engine for engine in ENGINES if engine == name), None)
    if engine is None:
        raise UsageError(f"unknown engine {name!r}", suggestion(name, [*ENGINES, "auto"]))
    if obstacle := _obstacle(engine, recipe, device, world):
        raise UsageError(f"the engine {name!r} {obstacle}", "Use --engine auto, or eager.")
    return engine


def why_not_graphed(recipe: Recipe, device: torch.device, world: ProcessGroup) -> str:
    """Return why ``auto`` runs a recipe's steps eagerly; empty where it makes graphs of them."""
    if recipe.memory == "lean":
        return "would hold a step's memory for good"
    return _obstacle("graphed", recipe, device, world)


def _obstacle(name: EngineName, recipe: Recipe, device: torch.device, world: ProcessGroup) -> str:
    """Return why an engine cannot run a recipe, or nothing."""
    if name == "eager":
        return ""
    if recipe.detection is not None:
        return "is for classifiers, a detector's steps are eager"
    if world.size > 1:
        return f"is for one process, not for {world.size} that share every batch"
    if compiles(name) and recipe.memory == "lean":
        return "keeps other maps than lean memory is to keep"
    if captures(name) and device.type != "cuda":
        return f"needs a CUDA device, this one is {device.type}"
    if captures(name) and isinstance(recipe.composition.routing, Checkpointed):
        return "cannot capture checkpointing, which keeps the random state on the host"
    return ""


def compiles(name: str) -> bool:
    """Return whether an engine's layers are compiled."""
    return "compiled" in name.split("+")


def captures(name: str) -> bool:
    """Return whether an engine's steps are CUDA graphs."""
    return "graphed" in name.split("+")


def make_engine(
    name: EngineName,
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    world: ProcessGroup,
    device: torch.device,
) -> Engine:
    """Return an engine that `choose_engine` has allowed.

    On the CPU freed memory is kept in the process from now on.

    Args:
        name: which.
        learner: what is trained.
        optimizer: of all its parameters.
        recipe: precision and clipping of the step.
        world: the processes that share every batch.
        device: of the learner.
    """
    if device.type == "cpu":
        keep_blocks()
    plain, compiled = EagerEngine(learner, optimizer, recipe, world, device), None
    if compiles(name):
        from locbench.training.compiled import CompiledEngine

        compiled = CompiledEngine(plain)
    if captures(name):
        from locbench.training.graphed import CudaGraphs, GraphedEngine

        return GraphedEngine(plain, CudaGraphs(device), compiled)
    return compiled or plain
