"""One kind of step by one engine, ready to be timed in this process."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from locbench.bench.baseline import Reference
from locbench.bench.cases import REFERENCE, Case
from locbench.costs.measured.allocator import storage_bytes
from locbench.data.batches import Batch
from locbench.datasets.catalogue import info
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import Learner, build_learner
from locbench.learning.routing import StepOutput
from locbench.training.distributed import SINGLE_PROCESS
from locbench.training.engine import choose_engine, make_engine
from locbench.training.optimizer import make_optimizer


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
    data = info(case.recipe.dataset)
    learner = build_learner(case.recipe, data.classes, case.recipe.side)
    return (_Plain if engine == REFERENCE else _Engined)(case, engine, learner, device)


class _Plain:
    """The reference: contiguous memory, every module's loss and accuracy read back."""

    engine, compile_seconds = REFERENCE, 0.0

    def __init__(self, case: Case, _: str, learner: Learner, device: torch.device) -> None:
        self.case, self.learner = case, learner.to(device).train()
        self.reference = Reference(self.learner, case.recipe, device)
        self.batch = random_batch(case, device, torch.contiguous_format)

    def step(self) -> None:
        targets = Targets(self.batch.labels, self.batch.pixels)
        self.reference.step(self.batch, targets, guided=self.case.guided)

    def resident_bytes(self) -> int:
        return _resident(self.learner, self.reference.optimizers, self.batch)


class _Engined:
    """An engine of the training loop, with the loop's running sums."""

    def __init__(self, case: Case, engine: str, learner: Learner, device: torch.device) -> None:
        self.case = case
        self.learner = learner.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.optimizer = make_optimizer(self.learner, case.recipe)
        name = choose_engine(engine, case.recipe, device, SINGLE_PROCESS)
        self.runner = make_engine(name, self.learner, self.optimizer, case.recipe, SINGLE_PROCESS, device)
        self.batch = random_batch(case, device, torch.channels_last)
        self.losses = torch.zeros(self.learner.modules_count, device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)

    def step(self) -> None:
        output = self._output()
        self.losses += output.losses * len(self.batch.labels)
        self.correct += (output.logits.argmax(dim=1) == self.batch.labels).sum()

    def _output(self) -> StepOutput:
        targets = Targets(self.batch.labels, self.batch.pixels)
        return self.runner.step(self.batch, targets, guided=self.case.guided)

    def resident_bytes(self) -> int:
        return _resident(self.learner, [self.optimizer], self.batch)

    @property
    def engine(self) -> str:
        return self.runner.name

    @property
    def compile_seconds(self) -> float:
        return self.runner.compile_seconds


def random_batch(case: Case, device: torch.device, layout: torch.memory_format) -> Batch:
    """Return a batch of random images in a memory layout, the same for every engine."""
    recipe, draws = case.recipe, torch.Generator().manual_seed(0)
    pixels = torch.rand(recipe.batch_size, 3, recipe.side, recipe.side, generator=draws)
    labels = torch.randint(info(recipe.dataset).classes, (recipe.batch_size,), generator=draws)
    pixels = pixels.to(device).contiguous(memory_format=layout)
    return Batch(images=(pixels - 0.5) / 0.25, labels=labels.to(device), pixels=pixels)


def _resident(learner: nn.Module, optimizers: list[torch.optim.Optimizer], batch: Batch) -> int:
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    state = [value for each in optimizers for one in each.state.values() for value in one.values()]
    return storage_bytes(
        [
            *learner.parameters(),
            *learner.buffers(),
            *(each for each in state if isinstance(each, Tensor)),
            *(batch.images, batch.labels, batch.pixels),
        ]
    )
