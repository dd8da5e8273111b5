"""The whole benchmark: which engines can run, data, evaluation, and the rounds of every network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import msgspec
import torch

from locbench.bench.cases import REFERENCE, Case, published_overheads
from locbench.bench.results import (
    Bound,
    DroppedError,
    Found,
    Prepared,
    Skipped,
    Speeds,
    interleaved,
    steps_per_round,
)
from locbench.bench.roofline import Ceiling, trace
from locbench.bench.summary import Context, Timed, lines_of
from locbench.bench.worker import Crew, NoFitError, Worker
from locbench.errors import LocbenchError
from locbench.spec.recipe import Recipe

DATA_ROUNDS = 3
"""Rounds of the data path and of evaluation, after one in which the reference's workers start."""


MOST_IMAGES = 32_768
"""In a round of the data path."""


class Lengths(msgspec.Struct, frozen=True):
    """How long is measured.

    Attributes:
        rounds: in which everything takes its turn.
        steps: of each engine in a round; None fits them into ``seconds``.
        seconds: for all rounds of one kind of step by one engine; a round has one step at least.
    """

    rounds: int = 5
    steps: int | None = None
    seconds: float = 10.0


class Benchmark:
    """One command's measurements, added to what is found as they are made.

    Args:
        able: which steps by which engines.
        lengths: how long.
        crew: the processes.
        device: theirs.
        found: gets the lines; whatever ends the command, those of networks that are through are in
            it.
        tell: hears what is going on.
    """

    def __init__(
        self,
        able: Sequence[tuple[Case, str]],
        lengths: Lengths,
        crew: Crew,
        device: torch.device,
        found: Found,
        tell: Callable[[str], None],
    ) -> None:
        self.able, self.lengths, self.crew, self.device = able, lengths, crew, device
        self.found, self.tell = found, tell
        self.overheads = published_overheads()
        self.plain = any(engine == REFERENCE for _, engine in able)

    def run(self) -> None:
        """Measure everything; a step that fails leaves a line with its error."""
        self.tell("bandwidth and matrix product")
        ceiling: Ceiling = self.crew.engines("ceiling")
        self.found.bandwidth, self.found.peak = ceiling.bytes_per_second, ceiling.flops_per_second
        self.found.threads = self.crew.engines("threads")
        recipe = self.able[0][0].recipe
        if recipe.augmentation == "standard" and recipe.image_size is None:
            self._data(recipe, dict.fromkeys(case.recipe.network for case, _ in self.able))
        for network, group in groupby(self.able, key=lambda each: each[0].recipe.network):
            self._network(network, list(group), ceiling)

    def _worker(self, engine: str) -> Worker:
        return self.crew.reference if engine == REFERENCE else self.crew.engines

    def _data(self, recipe: Recipe, networks: Iterable[str]) -> None:
        self.found.images = min(32 * recipe.batch_size, MOST_IMAGES)
        try:
            self._time_data(recipe, networks)
        except (
            LocbenchError
        ) as error:  # no room for shared memory, for one; steps can be timed all the same
            self.found.skipped.append(Skipped("data path", error.message))

    def _time_data(self, recipe: Recipe, networks: Iterable[str]) -> None:
        self.tell("data path")
        for worker in self._sides():
            worker("load_images", recipe, self.found.images)
        self.found.data = self._speeds("train_epoch")
        for network in networks:
            self.tell(f"{network}: evaluation")
            self.found.evaluation[network] = self._speeds("evaluation", network)
        for worker in self._sides():
            worker("drop_images")

    def _sides(self) -> list[Worker]:
        return [self.crew.engines, *([self.crew.reference] if self.plain else [])]

    def _speeds(self, name: str, *arguments: str) -> Speeds:
        rounds: dict[int, list[float]] = {}
        turns = {
            index: (lambda each=each: each(name, *arguments))
            for index, each in enumerate(self._sides())
        }
        interleaved(DATA_ROUNDS + 1, turns, rounds)
        return Speeds(tuple(rounds[0][1:]), tuple(rounds.get(1, [])[1:]))

    def _network(self, network: str, group: Sequence[tuple[Case, str]], ceiling: Ceiling) -> None:
        context = Context(
            dataset=group[0][0].recipe.dataset,
            overheads=self.overheads,
            meter="cuda allocator" if self.device.type == "cuda" else "cpu allocator",
            data=self.found.data,
            evaluation=self.found.evaluation.get(network),
        )
        timed = [Timed(case, engine) for case, engine in group]
        done = len(self.found.lines)
        try:
            context.bounds = {
                case: self._bound(case, ceiling)
                for case in dict.fromkeys(case for case, _ in group)
            }
            self._prepare(timed, context)
            self._rounds(network, timed)
        finally:
            self.found.lines[done:] = lines_of(
                [each for each in timed if each.rounds or each.error], context
            )
        for worker in self._sides():
            worker("forget")

    def _bound(self, case: Case, ceiling: Ceiling) -> Bound:
        self.tell(f"{_words(case)}: counting operations")
        step = trace(case)
        moved, flops = (
            sum(each.moved for each in step.operations),
            sum(each.flops for each in step.operations),
        )
        return Bound(
            len(step.operations), moved, flops, 1000 * ceiling.seconds(step.operations), step.peak
        )

    def _prepare(self, timed: Sequence[Timed], context: Context) -> None:
        for key, each in enumerate(timed):
            self.tell(f"{_words(each.case)}: {each.engine}, first steps")
            with _failing(each):
                _refuse_beyond(context.bounds[each.case].predicted_peak_bytes, self.device)
                prepared: Prepared = self._worker(each.engine)(
                    "prepare", key, each.case, each.engine
                )
                each.prepared = prepared
                wanted = steps_per_round(
                    prepared.step_seconds, self.lengths.seconds, self.lengths.rounds
                )
                each.steps = self.lengths.steps or wanted

    def _rounds(self, network: str, timed: Sequence[Timed]) -> None:
        turns = {key: self._turn(key, each) for key, each in enumerate(timed) if not each.error}
        rounds = {key: timed[key].rounds for key in turns}
        count = self.lengths.rounds
        interleaved(
            count, turns, rounds, lambda number: self.tell(f"{network}: round {number} of {count}")
        )

    def _turn(self, key: int, each: Timed) -> Callable[[], float]:
        def turn() -> float:
            with _failing(each):
                milliseconds: float = self._worker(each.engine)("time", key, each.steps)
                return milliseconds
            raise DroppedError

        return turn


@contextmanager
def _failing(each: Timed) -> Iterator[None]:
    """Note why a step cannot be timed, and go on."""
    try:
        yield
    except LocbenchError as error:
        each.error = error.message


def _refuse_beyond(predicted: int, device: torch.device) -> None:
    """Refuse a step that needs more than the system has to give, before the system ends the process
    for it.
    """
    available = available_bytes() if device.type == "cpu" else None
    if available is not None and predicted > available:
        raise NoFitError(
            f"does not fit: {predicted / 1e9:.2f} GB of tensors, {available / 1e9:.2f} GB are free"
        )


def available_bytes() -> int | None:
    """Return the bytes that the system could give to a process; None where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next(
        (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None
    )


def _words(case: Case) -> str:
    return " ".join(filter(None, [case.recipe.network, case.method, case.phase]))


def now() -> str:
    """Return the time in UTC, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
