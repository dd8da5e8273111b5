"""Steps that are timed: an engine's, the reference's, and the official code's."""

from __future__ import annotations

from typing import Protocol

import torch

from locbench.bench.baseline import Reference
from locbench.bench.cases import REFERENCE, Case
from locbench.bench.official import OFFICIAL, OfficialCode, OfficialStep
from locbench.datasets.catalogue import info
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import build_learner
from locbench.training.distributed import SINGLE_PROCESS
from locbench.training.engine import choose_engine
from locbench.training.graphed import GraphedEngine
from locbench.training.probe import ProbeStep, random_batch, resident_bytes


class TimedStep(Protocol):
    """Takes steps of one kind on one batch."""

    def __call__(self) -> None:
        """Take a step, with what a training loop reads or adds up after it."""

    def resident_bytes(self) -> int:
        """Free the gradients, and return the bytes of the tensors that live between steps."""

    @property
    def engine(self) -> str:
        """Engine that really runs."""

    @property
    def compile_seconds(self) -> float:
        """Seconds spent so far on compiling or capturing."""

    @property
    def captured_bytes(self) -> int:
        """Bytes that a step takes, at its peak, from the memory of its graph; 0 without one."""


def make_step(
    case: Case, engine: str, device: torch.device, official: OfficialCode | None = None
) -> TimedStep:
    """Build a case's learner on a device and an engine for it.

    Raises:
        UsageError: the engine cannot run the recipe there.
    """
    if engine == OFFICIAL:
        assert official is not None
        return OfficialStep(case.recipe, official, device)
    return _BaselineStep(case, device) if engine == REFERENCE else _EngineStep(case, engine, device)


class _BaselineStep:
    """The reference: contiguous memory, every module's loss and accuracy read back."""

    engine, compile_seconds, captured_bytes = REFERENCE, 0.0, 0

    def __init__(self, case: Case, device: torch.device) -> None:
        recipe, classes = case.recipe, info(case.recipe.dataset).classes
        self.guided = case.guided
        self.learner = build_learner(recipe, classes, recipe.side).to(device).train()
        self.reference = Reference(self.learner, recipe, device)
        layout = torch.contiguous_format
        self.batch = random_batch(self.learner, recipe, classes, device, layout=layout)

    def __call__(self) -> None:
        targets = Targets(self.batch.labels, self.batch.pixels)
        self.reference.step(self.batch, targets, guided=self.guided)

    def resident_bytes(self) -> int:
        for optimizer in self.reference.optimizers:
            optimizer.zero_grad(set_to_none=True)
        return resident_bytes(self.learner, self.reference.optimizers, self.batch)


class _EngineStep:
    """An engine of the training loop, with the loop's running sums."""

    def __init__(self, case: Case, engine: str, device: torch.device) -> None:
        name = choose_engine(engine, case.recipe, device, SINGLE_PROCESS)
        self.probe = ProbeStep(case.recipe, device, name, guided=case.guided)
        self.resident_bytes = self.probe.resident_bytes
        self.losses = torch.zeros(self.probe.learner.modules_count, device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)

    def __call__(self) -> None:
        output, labels = self.probe(), self.probe.batch.labels
        self.losses += output.losses * len(labels)
        self.correct += (output.logits.argmax(dim=1) == labels).sum()

    @property
    def engine(self) -> str:
        return self.probe.engine.name

    @property
    def compile_seconds(self) -> float:
        return self.probe.engine.compile_seconds

    @property
    def captured_bytes(self) -> int:
        engine = self.probe.engine
        return engine.captured_bytes if isinstance(engine, GraphedEngine) else 0
