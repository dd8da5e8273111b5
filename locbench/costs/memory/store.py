"""Predicted memory, kept on disk: a trace takes seconds, a report none.

Each trace is one JSON file below ``<results>/costs``, named by what was traced. It says by which
version of the rules and with which torch it was made. One of an older version counts as missing and
is made anew by the next command that may trace; see `costs.trace_store`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from locbench.costs.memory.options import TraceOptions, phase_options, step_words
from locbench.costs.trace_store import Bytes, TraceStore, made_with
from locbench.files import file_name
from locbench.spec.networks import NETWORKS
from locbench.spec.phases import global_share, weighted
from locbench.spec.recipe import Recipe, without_schedule

TRACE_VERSION = 3
"""Version of the rules by which steps are traced: raised by hand when a peak changes, for whatever
reason.

A test traces a dozen steps anew and fails where one differs from what is stored for this version.
Raise it then, make those that differ anew, and carry the others over.
"""


class TracedStep(msgspec.Struct, frozen=True, kw_only=True):
    """What a traced step says, in bytes.

    Attributes:
        recipe, setting: what was traced; the recipe without its schedule.
        made_with: versions of locbench, torch and timm, which are told and compared with nothing,
            and of the plugins, of which another version voids it.
        trace_version: of the rules; see `TRACE_VERSION`. Files without it are of version 1.
        peak: largest number of live tensor bytes in the second step.
        kinds: what was live then, by what it holds.
        backwards: live bytes after the first backward pass of each shape of convolution, in the
            first step; none of a transformer.
    """

    recipe: Recipe
    setting: TraceOptions
    made_with: str
    trace_version: int = 1
    peak: Bytes
    kinds: dict[str, Bytes]
    backwards: dict[str, Bytes]

    def __post_init__(self) -> None:
        if self.kinds and sum(self.kinds.values()) != self.peak:
            raise ValueError("what is live at the peak does not add up to it")


class Footprint(msgspec.Struct, frozen=True):
    """The predicted memory of a training run.

    Attributes:
        local: a step of local learning, or of any method without phases.
        guided: a step of PGL's global phase; None without phases.
        share: of the epochs that are global.
    """

    local: TracedStep
    guided: TracedStep | None = None
    share: float = 0.0

    @property
    def mean(self) -> float:
        """Bytes at the peak of a step, averaged over epochs: what PGL's Table 2 prints.

        Elsewhere the peak itself.
        """
        return self.averaged(lambda step: step.peak)

    def averaged(self, of: Callable[[TracedStep], float]) -> float:
        """Return something of both kinds of steps, weighted by their shares of the epochs."""
        local = of(self.local)
        return local if self.guided is None else weighted(local, of(self.guided), self.share)


class PredictionStore(TraceStore[TracedStep]):
    """The traced steps of a results folder, and those of further ones; see `TraceStore`."""

    def __init__(
        self, results: Path, *others: Path, trace: bool = False, version: int = TRACE_VERSION
    ) -> None:
        super().__init__(results, TracedStep, version, trace=trace, others=others)

    def footprint(self, recipe: Recipe, setting: TraceOptions = TraceOptions()) -> Footprint | None:
        """Return a recipe's predicted memory; None if a trace of it is not there."""
        steps = [self.step(recipe, options) for options in phase_options(recipe, setting)]
        known = [step for step in steps if step is not None]
        if len(known) < len(steps):
            return None
        share = global_share(recipe.composition.phases, recipe.epochs)
        return Footprint(known[0], known[1] if len(known) > 1 else None, share)

    def has_traced(self, recipe: Recipe, setting: TraceOptions = TraceOptions()) -> bool:
        """Return whether this store has traced a step of a recipe, since it was not kept."""
        return any(
            self.path(recipe, options) in self.added for options in phase_options(recipe, setting)
        )

    def step(self, recipe: Recipe, setting: TraceOptions = TraceOptions()) -> TracedStep | None:
        """Return a traced step; None if it is not there and may not be traced."""
        recipe = without_schedule(recipe)
        step = self.find(self.path(recipe, setting), recipe)
        return self._traced(recipe, setting) if step is None and self.trace else step

    def path(self, recipe: Recipe, setting: TraceOptions) -> Path:
        """Return the file of a trace."""
        return self.folder / file_name(step_words(recipe, setting), ".json")

    def _traced(self, recipe: Recipe, setting: TraceOptions) -> TracedStep:
        from locbench.costs.memory.trace import trace_step
        from locbench.costs.memory.tracker import ConvolutionBytes

        # The workspaces that calibrations add are taken in the first step, and no transformer's
        # table has such.
        primed = NETWORKS[recipe.network].transformer is not None
        live = ConvolutionBytes()
        step = trace_step(recipe, setting, live, primed=primed)
        traced = TracedStep(
            recipe=recipe,
            setting=setting,
            made_with=made_with(recipe),
            trace_version=self.version,
            peak=step.peak,
            kinds=step.by_kind(),
            backwards={} if primed else live.first_backwards(),
        )
        self.add(self.path(recipe, setting), traced)
        return traced
