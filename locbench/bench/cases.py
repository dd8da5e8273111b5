"""What is timed: recipes with their phases, and by which engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import torch

from locbench.bench.baseline import refuse_reference
from locbench.bench.results import Skipped
from locbench.costs.measured.table import OVERHEAD, phase_settings
from locbench.errors import UsageError
from locbench.registry import suggestion
from locbench.spec.arguments import assignments, cost_recipe
from locbench.spec.phases import global_share
from locbench.spec.recipe import Recipe, canonical
from locbench.spec.table_files import load_tables
from locbench.training.distributed import SINGLE_PROCESS
from locbench.training.engine import choose_engine
from locbench.training.probe import PROBE_RATE

REFERENCE = "reference"

ENGINES = (REFERENCE, "eager", "compiled", "graphed")
"""All that can be timed, the plain way first."""

STANDARD: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("resnet32", "bp", {}),
    ("resnet32", "dgl", {}),
    ("resnet32", "auglocal", {"depth": 2}),
    ("resnet32", "infopro", {}),
    ("resnet32", "hpff+dgl", {}),
    ("resnet32", "pgl+head", {"net": "adapt"}),
    ("resnet110", "bp", {}),
    ("resnet110", "auglocal", {"depth": 2}),
)
"""Network, method and its options: what is timed where nothing is named."""

BATCH = {"cpu": 128, "cuda": 1024}
"""Images per step, by type of device."""


class Case(msgspec.Struct, frozen=True):
    """A kind of training step.

    Attributes:
        recipe: what is trained.
        options: the method's, as the user wrote them.
        phase: ``local`` or ``global`` with PGL's phases, else empty.
    """

    recipe: Recipe
    options: str = ""
    phase: str = ""

    @property
    def guided(self) -> bool:
        """Whether it is a step of PGL's global phase."""
        return self.phase == "global"

    @property
    def method(self) -> str:
        """The method with its options, without the phase."""
        return " ".join(filter(None, [self.recipe.method, self.options]))

    @property
    def global_share(self) -> float:
        """Share of global steps in the recipe's epochs."""
        return global_share(self.recipe.composition.phases, self.recipe.epochs)


def standard_cases(shared: Mapping[str, object]) -> list[Case]:
    """Return the standard list, every recipe with ``shared`` settings (those that are None left
    out).
    """
    return [
        case
        for network, method, options in STANDARD
        for case in _cases({**shared, "network": network, "method": method}, options)
    ]


def cases_of(wanted: Mapping[str, object], words: Sequence[str]) -> list[Case]:
    """Return the steps of one recipe, after backpropagation on the same network to hold them
    against.

    Args:
        wanted: settings of a recipe; those that are None take their usual values.
        words: ``name=value`` for the method's options.

    Raises:
        UsageError: a setting or an option is unknown or does not fit.
    """
    own = _cases(wanted, assignments(words, "--set"))
    if own[0].recipe.composition.end_to_end and wanted["method"] == "bp":
        return own
    return [*_cases({**wanted, "method": "bp", "modules": None, "memory": None}, {}), *own]


def _cases(wanted: Mapping[str, object], options: Mapping[str, Any]) -> list[Case]:
    given = {name: value for name, value in wanted.items() if value is not None}
    recipe = cost_recipe({"lr": PROBE_RATE, **given, "options": options})
    words = " ".join(f"{name}={_word(value)}" for name, value in options.items())
    phases = [("global" if each.guided else "local") for each in phase_settings(recipe)]
    return [Case(recipe, words, phase if len(phases) > 1 else "") for phase in phases]


def _word(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def parse_engines(text: str | None) -> tuple[str, ...]:
    """Read ``reference,eager``; None is all of them.

    Raises:
        UsageError: an engine is unknown, or none is named.
    """
    names = (
        ENGINES
        if text is None
        else tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    )
    for name in names:
        if name not in ENGINES:
            raise UsageError(f"unknown engine {name!r}", suggestion(name, ENGINES))
    if not names:
        raise UsageError("--engines names none", f"Known: {', '.join(ENGINES)}.")
    return names


def published_overheads() -> dict[tuple[str, int | None, bytes], str]:
    """Return the wall-clock overheads over backpropagation that tables print, as printed, by
    `overhead_key`.
    """
    return {
        overhead_key(cell.recipe): cell.published[OVERHEAD].text
        for table in load_tables([])
        if OVERHEAD in table.metrics
        for cell in table.cells
        if cell.recipe is not None and OVERHEAD in cell.published
    }


def overhead_key(recipe: Recipe) -> tuple[str, int | None, bytes]:
    """Return what a published overhead belongs to: network, K and method, whatever the batch."""
    return (
        recipe.network,
        recipe.modules,
        msgspec.json.encode(canonical(recipe.composition), order="deterministic"),
    )


def refuse_unnamed(network: str | None, own: Mapping[str, object], words: Sequence[str]) -> None:
    """Refuse a method or its options without a network: the standard list has its own.

    Raises:
        UsageError: they are given and no network is.
    """
    given = [f"--{name}" for name, value in own.items() if value not in (None, "bp")] + [
        "--set"
    ] * bool(words)
    if network is None and given:
        raise UsageError(
            f"{given[0]} needs --network", "Name one, or leave it out for the standard list."
        )


SLOW_COMPILING = "takes about a minute of compiling for every kind of step on a CPU; name it in --engines to have it"


def runnable(
    cases: Sequence[Case], engines: Sequence[str], device: torch.device, *, asked: bool
) -> tuple[list[tuple[Case, str]], list[Skipped]]:
    """Return what can be timed on a device, and what cannot, with the reason.

    Args:
        cases, engines: every combination is wanted.
        device: where.
        asked: the engines were named; else compiling is left out on the CPU.

    Raises:
        UsageError: nothing can be timed.
    """
    able: list[tuple[Case, str]] = []
    reasons: dict[tuple[str, str], list[str]] = {}
    for case in cases:
        for engine in engines:
            why = obstacle(case.recipe, engine, device, asked=asked)
            if why:
                reasons.setdefault((engine, why), []).append(f"{case.recipe.network} {case.method}")
            else:
                able.append((case, engine))
    if not able:
        raise UsageError(next(why for _, why in reasons), "Use --engines reference,eager.")
    everything = len(dict.fromkeys(f"{case.recipe.network} {case.method}" for case in cases))
    skipped = []
    for (engine, why), places in reasons.items():
        of = dict.fromkeys(places)
        skipped.append(
            Skipped(engine if len(of) == everything else f"{engine} for {', '.join(of)}", why)
        )
    return able, skipped


def obstacle(recipe: Recipe, engine: str, device: torch.device, *, asked: bool) -> str:
    """Return why an engine does not take a recipe's steps on a device, or nothing."""
    if engine == "compiled" and device.type == "cpu" and not asked:
        return SLOW_COMPILING
    try:
        if engine == REFERENCE:
            refuse_reference(recipe)
        else:
            choose_engine(engine, recipe, device, SINGLE_PROCESS)
    except UsageError as error:
        return error.message
    return ""
