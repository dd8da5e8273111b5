"""The benchmark of the data path, of evaluation and of training steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Concatenate, ParamSpec

import msgspec
import torch

from locbench.bench.cases import REFERENCE, Case, published_overheads
from locbench.bench.official import OFFICIAL
from locbench.bench.results import BenchmarkResult, Bound, Result, Skipped, Speeds
from locbench.bench.roofline import Ceiling, bound_of
from locbench.bench.summary import Timed, summarize
from locbench.bench.worker import StepServer, WorkerPair
from locbench.costs.measured.step_meter import DOES_NOT_FIT, meter_of
from locbench.errors import FailureError, LocbenchError
from locbench.spec.recipe import Recipe

P = ParamSpec("P")

DATA_ROUNDS = 3
"""Rounds of the data path and of evaluation, after one in which the reference's workers start."""

MOST_IMAGES = 32_768
"""In a round of the data path."""


class BenchLimits(msgspec.Struct, frozen=True):
    """How long is measured.

    Attributes:
        rounds: in which everything takes its turn.
        steps: of each engine in a round; None fits them into ``seconds``.
        seconds: for all rounds of one kind of step by one engine; a round has one step at least.
    """

    rounds: int = 5
    steps: int | None = None
    seconds: float = 10.0

    def steps_per_round(self, step_seconds: float) -> int:
        """Return how many steps of a length fill a round."""
        return self.steps or max(1, int(self.seconds / self.rounds / max(step_seconds, 1e-9)))


class Benchmark:
    """One command's measurements, added to a result as they are made.

    Args:
        steps: which steps by which engines, those of one network together.
        limits: how long.
        workers: the processes that take the steps.
        device: theirs.
        result: gets the lines; whatever ends the command, those of timed networks are in it.
        announce: hears what is going on.
    """

    def __init__(
        self,
        steps: Sequence[tuple[Case, str]],
        limits: BenchLimits,
        workers: WorkerPair,
        device: torch.device,
        result: BenchmarkResult,
        announce: Callable[[str], None],
    ) -> None:
        self.steps, self.limits, self.workers, self.device = steps, limits, workers, device
        self.result, self.announce = result, announce
        self.overheads = published_overheads()
        self.sides = [workers.engines]
        engines = {engine for _, engine in steps}
        self.official = OFFICIAL in engines
        if engines & {REFERENCE, OFFICIAL}:
            self.sides.append(workers.reference)

    def run(self) -> None:
        """Measure everything; a step that fails leaves a line with its error.

        Beside the official code it is training steps alone.
        """
        self.announce("bandwidth and products")
        ceiling = self.workers.engines.call(StepServer.ceiling)
        self.result.bandwidth, self.result.peak = ceiling.bytes_per_second, ceiling.flops_per_second
        self.result.threads = self.workers.engines.call(StepServer.threads)
        recipe = self.steps[0][0].recipe
        standard = recipe.augmentation == "standard" and recipe.image_size is None
        if standard and not self.official:
            self._data(recipe, dict.fromkeys(case.recipe.network for case, _ in self.steps))
        for network, group in groupby(self.steps, key=lambda step: step[0].recipe.network):
            self._network(network, list(group), ceiling)

    def _data(self, recipe: Recipe, networks: Iterable[str]) -> None:
        self.result.images = min(32 * recipe.batch_size, MOST_IMAGES)
        try:
            self._time_data(recipe, networks)
        except LocbenchError as error:  # such as too little shared memory; steps can be timed
            self.result.skipped.append(Skipped("data path", error.message))

    def _time_data(self, recipe: Recipe, networks: Iterable[str]) -> None:
        self.announce("data path")
        for worker in self.sides:
            worker.call(StepServer.load_images, recipe, self.result.images)
        self.result.data = self._speeds(StepServer.train_epoch)
        for network in networks:
            self.announce(f"{network}: evaluation")
            self.result.evaluation[network] = self._speeds(StepServer.evaluation, network)
        for worker in self.sides:
            worker.call(StepServer.drop_images)

    def _speeds(
        self,
        method: Callable[Concatenate[StepServer, P], float],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Speeds:
        rounds = [
            [worker.call(method, *args, **kwargs) for worker in self.sides]
            for _ in range(DATA_ROUNDS + 1)
        ]
        return Speeds(*zip(*rounds[1:], strict=True))

    def _network(self, network: str, group: Sequence[tuple[Case, str]], ceiling: Ceiling) -> None:
        done = len(self.result.lines)
        timed: list[Timed] = []
        try:
            timed += self._untimed(group, ceiling)
            self._prepare(timed)
            self._rounds(network, [result for _, result in timed])
        finally:
            self.result.lines[done:] = summarize(
                [step for step in timed if step.result.rounds or step.result.error],
                self.result.data or Speeds(),
                self.result.evaluation.get(network, Speeds()),
                self.overheads,
            )
        for worker in self.sides:
            worker.call(StepServer.forget)

    def _untimed(self, group: Sequence[tuple[Case, str]], ceiling: Ceiling) -> Iterator[Timed]:
        bounds: dict[Case, Bound] = {}
        for case, engine in group:
            if case not in bounds:
                self.announce(f"{case.label}: counting operations")
                bounds[case] = bound_of(case, ceiling)
            result = Result(
                network=case.recipe.network,
                method=case.method,
                phase=case.phase,
                engine=engine,
                ran=engine,
                batch_size=case.recipe.batch_size,
                bound=bounds[case],
                meter=meter_of(self.device).name,
            )
            yield Timed(case, result)

    def _prepare(self, timed: Sequence[Timed]) -> None:
        for key, (case, result) in enumerate(timed):
            self.announce(f"{case.label}: {result.engine}, first steps")
            with _noting_failure(result):
                assert result.bound is not None
                _refuse_beyond(result.bound.predicted_peak_bytes, self.device)
                worker = self.workers.of(result.engine)
                prepared = worker.call(StepServer.prepare, key, case, result.engine)
                result.prepared, result.ran = prepared, prepared.engine
                result.steps = self.limits.steps_per_round(prepared.step_seconds)

    def _rounds(self, network: str, results: Sequence[Result]) -> None:
        """Let every engine take its turn once per round, until it fails."""
        for number in range(1, self.limits.rounds + 1):
            self.announce(f"{network}: round {number} of {self.limits.rounds}")
            for key, result in enumerate(results):
                if not result.error:
                    with _noting_failure(result):
                        worker = self.workers.of(result.engine)
                        result.rounds.append(worker.call(StepServer.time, key, result.steps))


@contextmanager
def _noting_failure(result: Result) -> Iterator[None]:
    """Note why a step cannot be timed, and go on."""
    try:
        yield
    except LocbenchError as error:
        result.error = error.message


def _refuse_beyond(predicted: int, device: torch.device) -> None:
    """Refuse a step that needs more than is free, before the system ends the process for it."""
    available = available_bytes() if device.type == "cpu" else None
    if available is not None and predicted > available:
        sizes = f"{predicted / 1e9:.2f} GB of tensors, {available / 1e9:.2f} GB are free"
        raise FailureError(f"{DOES_NOT_FIT}: {sizes}")


def available_bytes() -> int | None:
    """Return the bytes that the system could give to a process; None where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next(
        (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None
    )
