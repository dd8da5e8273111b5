"""One kind of step by one engine, ready to be timed in this process."""

from __future__ import annotations

from typing import Protocol

import torch

from locbench.bench.baseline import Reference
from locbench.bench.cases import REFERENCE, Case
from locbench.datasets.catalogue import info
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import build_learner
from locbench.training.distributed import SINGLE_PROCESS
from locbench.training.engine import choose_engine
from locbench.training.probe import ProbeStep, random_batch, resident_bytes


class Subject(Protocol):
    """Takes steps of one kind on one batch."""

    def step(self) -> None:
        """Take a step, with what a training loop reads or adds up after it."""

    def resident_bytes(self) -> int:
        """Free the gradients, and return the bytes of the tensors that live between steps."""

    @property
    def engine(self) -> str:
        """What really runs."""

    @property
    def compile_seconds(self) -> float:
        """Seconds spent so far on compiling or capturing."""


def make_subject(case: Case, engine: str, device: torch.device) -> Subject:
    """Build a case's learner on a device and an engine for it.

    Raises:
        UsageError: the engine cannot run the recipe there.
    """
    return _Plain(case, device) if engine == REFERENCE else _Engined(case, engine, device)


class _Plain:
    """The reference: contiguous memory, every module's loss and accuracy read back."""

    engine, compile_seconds = REFERENCE, 0.0

    def __init__(self, case: Case, device: torch.device) -> None:
        recipe, classes = case.recipe, info(case.recipe.dataset).classes
        self.case, self.learner = (
            case,
            build_learner(recipe, classes, case.recipe.side).to(device).train(),
        )
        self.reference = Reference(self.learner, recipe, device)
        self.batch = random_batch(
            self.learner, recipe, classes, device, layout=torch.contiguous_format
        )

    def step(self) -> None:
        targets = Targets(self.batch.labels, self.batch.pixels)
        self.reference.step(self.batch, targets, guided=self.case.guided)

    def resident_bytes(self) -> int:
        for optimizer in self.reference.optimizers:
            optimizer.zero_grad(set_to_none=True)
        return resident_bytes(self.learner, self.reference.optimizers, self.batch)


class _Engined:
    """An engine of the training loop, with the loop's running sums."""

    def __init__(self, case: Case, engine: str, device: torch.device) -> None:
        name = choose_engine(engine, case.recipe, device, SINGLE_PROCESS)
        self.probe = ProbeStep(case.recipe, device, name, guided=case.guided)
        self.losses = torch.zeros(self.probe.learner.modules_count, device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)

    def step(self) -> None:
        output, labels = self.probe(), self.probe.batch.labels
        self.losses += output.losses * len(labels)
        self.correct += (output.logits.argmax(dim=1) == labels).sum()

    def resident_bytes(self) -> int:
        return self.probe.resident_bytes()

    @property
    def engine(self) -> str:
        return self.probe.engine.name

    @property
    def compile_seconds(self) -> float:
        return self.probe.engine.compile_seconds
