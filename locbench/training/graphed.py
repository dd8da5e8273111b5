"""Whole training steps as CUDA graphs.

The host makes one call per step instead of one per operation. A step of a local method queues
several times as many small operations as backpropagation; on a fast device the host cannot keep up.
A graph records them once, forward and backward passes of all modules and the optimizer's step, and
replays them on the same memory. That memory, a step's peak, belongs to the graph until the run
ends, beside what evaluation takes. Its layers may be compiled: the graph spares the host calls, and
fused operations spare the device passes over maps. (Overlapping independent modules on several
streams within a graph is left out.)
"""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from locbench.console import remark
from locbench.data.batches import Batch
from locbench.errors import FailureError
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.routing import StepOutput
from locbench.training.device import algorithm_search, searches_algorithms
from locbench.training.eager import EagerEngine
from locbench.training.faults import does_not_fit
from locbench.training.snapshot import Snapshot, rates_in_tensors

if TYPE_CHECKING:
    from locbench.training.compiled import CompiledEngine

Call = Callable[[], None]

SIZES = 2
"""Different numbers of images in the captured batches: of all, and of an epoch's last one."""

WARM_UP = 2
"""Steps before the one that a graph is compared with.

In them libraries choose their algorithms and take their workspaces, and layers are compiled.
"""


class Graphs(Protocol):
    """What a device must be able to do.

    Attributes:
        most_bytes: that a capture has taken at a time, on top of what was there.
    """

    most_bytes: int

    def warm_up(self, call: Call) -> None:
        """Run what is to be captured, apart from the stream of other work."""

    def capture(self, call: Call) -> Call:
        """Record what a call queues, without running it.

        Return what runs it again, on the same memory.
        """

    def recover(self) -> None:
        """Make the device usable after a capture that failed, or raise RuntimeError."""


@cache
def capture_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of all captures of this process on a device.

    cuBLAS keeps workspaces for every stream, some versions for good. PyTorch's own stream for
    capturing is one for the whole process, on the device that captured first.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class CudaGraphs:
    """Graphs of a CUDA device.

    All of them share a stream and a pool of memory, since no two run at a time.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.most_bytes = device, 0
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = capture_stream(device)

    def warm_up(self, call: Call) -> None:
        """Run it on the stream of captures."""
        with torch.cuda.device(self.device):
            others = torch.cuda.current_stream()
            self.stream.wait_stream(others)
            with torch.cuda.stream(self.stream):
                call()
            others.wait_stream(self.stream)

    def capture(self, call: Call) -> Call:
        """Capture it; other threads, such as those that load images, may go on using the device."""
        with torch.cuda.device(self.device):
            gc.collect()  # nothing of an earlier run may be freed in the middle
            graph = torch.cuda.CUDAGraph()
            others = torch.cuda.current_stream()
            torch.cuda.reset_peak_memory_stats()
            held = torch.cuda.memory_allocated()
            try:
                with torch.cuda.graph(
                    graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"
                ):
                    call()
            except BaseException:
                torch.cuda.set_stream(others)  # where its end fails too, a capture leaves its own
                raise
            self.most_bytes = max(self.most_bytes, torch.cuda.max_memory_allocated() - held)
        return graph.replay

    def recover(self) -> None:
        """Capture nothing, then draw a number.

        In some versions a capture broken off leaves the random generator waiting for its end, which
        that of another capture is too.
        """
        torch.cuda.synchronize(self.device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a graph of nothing is as good as an error elsewhere
            self.capture(_nothing)
        torch.cuda.set_rng_state(torch.cuda.get_rng_state(self.device), self.device)
        torch.rand((), device=self.device)


def _nothing() -> None:
    """Queue nothing."""


@dataclass(frozen=True)
class CapturedStep:
    """A step in a graph.

    Attributes:
        inputs: where the graph reads a batch.
        outputs: the one output, written anew by every replay.
        replay: runs it.
    """

    inputs: list[Tensor | None]
    outputs: list[StepOutput]
    replay: Call

    def __call__(self, tensors: list[Tensor | None]) -> StepOutput:
        """Take a step on a batch of the captured shapes."""
        for place, tensor in zip(self.inputs, tensors, strict=True):
            if place is not None and tensor is not None:
                place.copy_(tensor, non_blocking=True)
        self.replay()
        return StepOutput(self.outputs[0].losses.clone(), self.outputs[0].logits.clone())


class GraphedEngine:
    """Takes the steps of an eager engine by replaying graphs of them.

    There is one for local and one for guided steps, and the same again for a second size of batch,
    an epoch's last one, which needs no memory besides. Batches of further sizes run without. A
    graph is compared with a step without it from the same state before it is used. Where it differs
    or cannot be captured, batches of the second size run without graphs, or the whole run does if
    there is no graph of such a step yet or no memory; that is said once.

    Args:
        plain: takes the steps that are captured.
        graphs: of the device; tests put their own in its place.
        compiled: compiles the layers of those steps, and takes the steps without graphs.
    """

    def __init__(
        self, plain: EagerEngine, graphs: Graphs, compiled: CompiledEngine | None = None
    ) -> None:
        self.plain, self.graphs, self.compiled = plain, graphs, compiled
        self._seconds = 0.0
        self.gave_up = False
        self._search = searches_algorithms()
        self._steps: dict[tuple[bool, int], CapturedStep] = {}
        self._graphless: int | None = None  # size
        # The fused optimizers read a rate in a tensor as float32.
        self._rates = [torch.zeros((), device=plain.device) for _ in plain.optimizer.param_groups]
        self._written: list[float] = []

    @property
    def name(self) -> str:
        """``graphed`` or ``compiled+graphed``; after giving up ``eager`` or ``compiled``."""
        name = self._without_graphs.name
        if self.gave_up:
            return name
        return "graphed" if name == "eager" else f"{name}+graphed"

    @property
    def compile_seconds(self) -> float:
        """Seconds spent on compiling and capturing."""
        return self._seconds + self._without_graphs.compile_seconds

    @property
    def captured_bytes(self) -> int:
        """The most bytes of a step that lie in graphs, not between steps; 0 after giving up."""
        return 0 if self.gave_up else self.graphs.most_bytes

    @property
    def _without_graphs(self) -> EagerEngine | CompiledEngine:
        return self.compiled or self.plain

    def step(
        self, batch: Batch, targets: Targets, *, guided: bool, global_batch: int | None = None
    ) -> StepOutput:
        """Take a step, from a graph if the batch has one of the first two sizes."""
        kind = guided, len(batch.labels)
        if self._may_capture(kind[1]):
            self._write_rates()
            if kind in self._steps or self._prepare(batch, targets, kind):
                return self._steps[kind](self._inputs(batch, targets))
        return self._without_graphs.step(batch, targets, guided=guided, global_batch=global_batch)

    def _may_capture(self, size: int) -> bool:
        sizes = {captured for _, captured in self._steps}
        room = len(sizes) < SIZES and self._graphless is None
        return not self.gave_up and (size in sizes or room) and size != self._graphless

    def _inputs(self, batch: Batch, targets: Targets) -> list[Tensor | None]:
        """Return everything that differs from batch to batch; images as such where they count."""
        pixels = targets.pixels if self.plain.learner.restores_image else None
        return [batch.images, targets.labels, pixels, targets.mixed]

    def _write_rates(self) -> None:
        rates = [float(group["lr"]) for group in self.plain.optimizer.param_groups]
        if rates != self._written:
            for place, rate in zip(self._rates, rates, strict=True):
                place.fill_(rate)
            self._written = rates

    def _prepare(self, batch: Batch, targets: Targets, kind: tuple[bool, int]) -> bool:
        """Capture a step and check it.

        On return the learner is as it was, whether or not that worked.
        """
        begun, before, failed = self._clock(), None, False
        try:
            before = Snapshot(self.plain.learner, self.plain.optimizer, self.plain.device)
            inputs = self._inputs(batch, targets)
            self._steps[kind] = self._captured(inputs, before, guided=kind[0])
        except RuntimeError as error:  # no memory, or an operation that no graph can hold
            failed = True
            self._give_up(kind, error)
        finally:
            self.plain.optimizer.zero_grad(set_to_none=True)
            if before is not None:
                self._put_back(before, failed)
            self._seconds += self._clock() - begun
        return not failed

    def _clock(self) -> float:
        """Return the time in seconds without that of compiling layers, which is counted there."""
        return time.perf_counter() - self._without_graphs.compile_seconds

    def _give_up(self, kind: tuple[bool, int], error: RuntimeError) -> None:
        """Go without graphs of a size where others are there, else without any.

        A step without one takes as much memory again as the graphs hold.
        """
        guided, size = kind
        why = _first_line(_cause(error))
        others = any(one == guided and other != size for one, other in self._steps)
        if others and not does_not_fit(_cause(error)):
            self._graphless = size
            remark(f"no graph of steps on {size} images, which run without: {why}")
        else:
            self.gave_up = True
            self._steps.clear()
            remark(f"no graph of steps, which run without: {why}")

    def _put_back(self, before: Snapshot, failed: bool) -> None:
        """Restore the state.

        Raises:
            FailureError: the device cannot go on after a failed capture; no cell could then.
        """
        try:
            if failed:
                self.graphs.recover()
            before.restore()
        except RuntimeError as error:
            raise FailureError(
                "the device cannot be used after a graph of a step that failed: "
                f"{_first_line(error)}",
                "Use --engine eager.",
            ) from error

    def _captured(
        self, tensors: list[Tensor | None], before: Snapshot, *, guided: bool
    ) -> CapturedStep:
        inputs = [None if part is None else part.clone() for part in tensors]
        static_batch, static_targets = _as_batch(inputs)
        outputs: list[StepOutput] = []

        def call() -> None:
            # Gradients begin as None, so that they are born in the graph's memory.
            self.plain.optimizer.zero_grad(set_to_none=True)
            with self._layers_for(static_batch):
                outputs[:] = [
                    self.plain.accumulate_and_step(static_batch, static_targets, guided=guided)
                ]

        with (
            rates_in_tensors(self.plain.optimizer, self._rates),
            algorithm_search(self._search),  # what it finds is kept for these shapes
        ):
            for _ in range(WARM_UP):
                self.graphs.warm_up(call)
        before.restore()
        self.graphs.warm_up(call)
        expected = before.now(outputs[0])
        before.restore()
        self.plain.optimizer.zero_grad(set_to_none=True)
        outputs.clear()
        with rates_in_tensors(self.plain.optimizer, self._rates):
            replay = self.graphs.capture(call)
        before.restore()
        replay()
        before.refuse_difference(expected, before.now(outputs[0]))
        return CapturedStep(inputs, outputs, replay)

    def _layers_for(self, batch: Batch) -> AbstractContextManager[None]:
        return nullcontext() if self.compiled is None else self.compiled.layers_for(batch)


def _cause(error: BaseException) -> BaseException:
    """Return the error behind one that only says that an earlier one has broken a capture off."""
    while "during capture" in str(error) and error.__context__ is not None:
        error = error.__context__
    return error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _as_batch(inputs: list[Tensor | None]) -> tuple[Batch, Targets]:
    images, labels, pixels, mixed = inputs
    assert images is not None
    assert labels is not None
    return Batch(images, labels, pixels), Targets(labels, pixels, mixed=mixed)
