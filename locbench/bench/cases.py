"""What is timed: recipes with their phases, and by which engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any, TypeAlias, get_args

import msgspec
import torch

from locbench.bench.baseline import refuse_reference
from locbench.bench.official import OFFICIAL, OfficialArguments
from locbench.bench.results import Skipped
from locbench.costs.measured.table import OVERHEAD
from locbench.costs.memory.options import phase_options
from locbench.errors import UsageError
from locbench.registry import suggestion
from locbench.spec.arguments import assignments, cost_recipe
from locbench.spec.choices import EngineName
from locbench.spec.phases import global_share
from locbench.spec.recipe import Recipe, canonical
from locbench.spec.table_files import load_tables
from locbench.training.distributed import SINGLE_PROCESS
from locbench.training.engine import choose_engine
from locbench.training.probe import PROBE_RATE

REFERENCE = "reference"

ENGINES = (REFERENCE, *get_args(EngineName))
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

AGAINST = "resnet32"
"""The network whose steps are compared with the official code's where none is named."""

OFFICIAL_METHODS: tuple[tuple[str, dict[str, object]], ...] = (
    ("bp", {}),
    ("dgl", {}),
    ("predsim", {}),
    ("infopro", {}),
    ("auglocal", {"depth": 2}),
)
"""What is compared with the official code where no method is named."""

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
    def label(self) -> str:
        """The network and the method, with the phase."""
        return " ".join(filter(None, [self.recipe.network, self.method, self.phase]))

    @property
    def global_share(self) -> float:
        """Share of global steps in the recipe's epochs."""
        return global_share(self.recipe.composition.phases, self.recipe.epochs)


def standard_cases(shared: Mapping[str, object]) -> list[Case]:
    """Return the standard list, every recipe with ``shared`` settings that are not None."""
    return [
        case
        for network, method, options in STANDARD
        for case in _cases({**shared, "network": network, "method": method}, options)
    ]


def cases_of(settings: Mapping[str, object], words: Sequence[str]) -> list[Case]:
    """Return the steps of one recipe, behind those of backpropagation on the same network.

    Args:
        settings: of a recipe; those that are None take their usual values.
        words: ``name=value`` for the method's options.

    Raises:
        UsageError: a setting or an option is unknown or does not fit.
    """
    cases = _cases(settings, assignments(words, "--set"))
    if cases[0].recipe.composition.end_to_end and settings["method"] == "bp":
        return cases
    return [*_cases({**settings, "method": "bp", "modules": None, "memory": None}, {}), *cases]


def official_cases(settings: Mapping[str, object], words: Sequence[str]) -> list[Case]:
    """Return the steps that are compared with the official code: one method's, or of all it has.

    See `cases_of`; without a method, `OFFICIAL_METHODS`.

    Raises:
        UsageError: the official code does not train it, or options are for no method.
    """
    shared = {**settings, "network": settings["network"] or AGAINST}
    if shared["method"]:
        cases = cases_of(shared, words)
    else:
        if words:
            raise UsageError("--set needs --method", "Name the method whose options these are.")
        cases = [
            case
            for method, options in OFFICIAL_METHODS
            for case in _cases({**shared, "method": method}, options)
        ]
    for case in cases:
        OfficialArguments.of(case.recipe)
    return cases


def _cases(settings: Mapping[str, object], options: Mapping[str, Any]) -> list[Case]:
    given = {name: value for name, value in settings.items() if value is not None}
    recipe = cost_recipe({"lr": PROBE_RATE, **given, "options": options})
    words = " ".join(f"{name}={_word(value)}" for name, value in options.items())
    phases = ["global" if step.guided else "local" for step in phase_options(recipe)]
    return [Case(recipe, words, phase if len(phases) > 1 else "") for phase in phases]


def _word(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def parse_engines(text: str) -> tuple[str, ...]:
    """Read ``reference,eager``.

    Raises:
        UsageError: an engine is unknown, or none is named.
    """
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for name in names:
        if name not in ENGINES:
            raise UsageError(f"unknown engine {name!r}", suggestion(name, ENGINES))
    if not names:
        raise UsageError("--engines names none", f"Known: {', '.join(ENGINES)}.")
    return names


OverheadKey: TypeAlias = tuple[str, int | None, bytes]

Overheads: TypeAlias = Mapping[OverheadKey, str]
"""Published wall-clock overheads over backpropagation, as printed."""


@cache
def published_overheads() -> Overheads:
    """Return the overheads of all tables."""
    return {
        overhead_key(cell.recipe): cell.published[OVERHEAD].text
        for table in load_tables([])
        if OVERHEAD in table.metrics
        for cell in table.cells
        if cell.recipe is not None and OVERHEAD in cell.published
    }


def overhead_key(recipe: Recipe) -> OverheadKey:
    """Return what a published overhead belongs to: network, K and method, whatever the batch."""
    method = msgspec.json.encode(canonical(recipe.composition), order="deterministic")
    return recipe.network, recipe.modules, method


def beside_official(cases: Sequence[Case], device: torch.device) -> str:
    """Return the engine that trains steps where none is named, to be compared with the official."""
    return choose_engine("auto", cases[0].recipe, device, SINGLE_PROCESS)


def refuse_unnamed(
    network: str | None, settings: Mapping[str, object], words: Sequence[str]
) -> None:
    """Refuse a method or its options without a network: the standard list has its own.

    Raises:
        UsageError: they are given and no network is.
    """
    given = [f"--{name}" for name, value in settings.items() if value not in (None, "bp")]
    given += ["--set"] * bool(words)
    if network is None and given:
        raise UsageError(
            f"{given[0]} needs --network", "Name one, or leave it out for the standard list."
        )


SLOW_COMPILING = (
    "takes about a minute of compiling for every kind of step on a CPU; "
    "name it in --engines to have it"
)


def supported(
    cases: Sequence[Case], engines: Sequence[str] | None, device: torch.device
) -> tuple[list[tuple[Case, str]], list[Skipped]]:
    """Return which steps by which engines can be timed on a device, and which cannot and why.

    Args:
        cases: what is to be timed by every engine.
        engines: by name; None is all of them, but for compiling on the CPU.
        device: where.

    Raises:
        UsageError: nothing can be timed.
    """
    steps: list[tuple[Case, str]] = []
    obstacles: dict[tuple[str, str], list[str]] = {}
    for case, engine in product(cases, engines or ENGINES):
        why = _obstacle(case.recipe, engine, device)
        if engine == "compiled" and device.type == "cpu" and not engines:
            why = SLOW_COMPILING
        if why:
            obstacles.setdefault((engine, why), []).append(_method_of(case))
        else:
            steps.append((case, engine))
    if not steps:
        raise UsageError(next(why for _, why in obstacles), "Use --engines reference,eager.")
    methods = set(map(_method_of, cases))
    skipped = []
    for (engine, why), labels in obstacles.items():
        of = dict.fromkeys(labels)
        what = engine if of.keys() == methods else f"{engine} for {', '.join(of)}"
        skipped.append(Skipped(what, why))
    return steps, skipped


def _method_of(case: Case) -> str:
    return f"{case.recipe.network} {case.method}"


def _obstacle(recipe: Recipe, engine: str, device: torch.device) -> str:
    """Return why an engine does not take a recipe's steps on a device, or nothing."""
    try:
        if engine == REFERENCE:
            refuse_reference(recipe)
        elif engine == OFFICIAL:
            OfficialArguments.of(recipe)
        else:
            choose_engine(engine, recipe, device, SINGLE_PROCESS)
    except UsageError as error:
        return error.message
    return ""
