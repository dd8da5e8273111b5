"""Which steps can be timed here, by which engines."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from locbench.bench.cases import REFERENCE, Case
from locbench.bench.reference import refuse_reference
from locbench.bench.result import Skipped
from locbench.errors import UsageError
from locbench.recipe import Recipe
from locbench.training.distributed import ALONE
from locbench.training.engine import choose_engine

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
        skipped.append(Skipped(engine if len(of) == everything else f"{engine} for {', '.join(of)}", why))
    return able, skipped


def obstacle(recipe: Recipe, engine: str, device: torch.device, *, asked: bool) -> str:
    """Return why an engine does not take a recipe's steps on a device, or nothing."""
    if engine == "compiled" and device.type == "cpu" and not asked:
        return SLOW_COMPILING
    try:
        if engine == REFERENCE:
            refuse_reference(recipe)
        else:
            choose_engine(engine, recipe, device, ALONE)
    except UsageError as error:
        return error.message
    return ""
