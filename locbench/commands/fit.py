"""What `locbench fit` does."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from locbench.commands.costs import traceable
from locbench.console import Output
from locbench.errors import FailureError, UsageError
from locbench.spec.arguments import cost_recipe
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe

CANDIDATES: tuple[tuple[str, dict[str, object]], ...] = (
    ("bp", {}),
    ("bp+checkpointed", {"segments": 8}),
    ("bp+checkpointed", {"segments": 0}),
    ("predsim", {}),
    ("dgl", {}),
    ("head", {}),
    ("infopro", {}),
    ("auglocal", {"depth": 2}),
    ("auglocal", {"depth": 3}),
    ("auglocal", {"depth": 4}),
    ("auglocal", {"depth": 5}),
    ("auglocal", {"depth": 6}),
    ("hpff+dgl", {}),
    ("hpff+predsim", {}),
)
"""Methods that `locbench fit` chooses among."""


def show_fit(memory: str, settings: Mapping[str, Any], output: Output) -> None:
    """Show the largest batch of a method, or the methods by what they cost at a batch.

    Args:
        memory: a size such as ``11GB``.
        settings: of `make_recipe`; without a method, methods are ranked.
        output: where to print.

    Raises:
        UsageError: a setting does not fit, or both a method and a batch size are given.
    """
    from locbench.costs.memory.fit import parse_bytes, rank_for_batch
    from locbench.terminal.fit import candidate_entry, print_candidates

    size = parse_bytes(memory)
    if "method" not in settings:
        with traceable():
            ranked = rank_for_batch(_candidates(settings), size)
        output.show(
            lambda: [candidate_entry(candidate) for candidate in ranked],
            lambda console: print_candidates(console, ranked, size),
        )
        return
    if "batch_size" in settings:
        raise UsageError(
            "--batch-size is given, and the largest batch of --method is looked for",
            "Leave out one of them; without --method the cheapest method for a batch is found.",
        )
    _show_largest_batch(cost_recipe(settings), size, output)


def _show_largest_batch(recipe: Recipe, size: int, output: Output) -> None:
    from locbench.costs.memory.device_overhead import overhead_of
    from locbench.costs.memory.fit import largest_batch, on_device
    from locbench.terminal.fit import print_batches

    overhead, device = overhead_of(recipe), None
    with traceable():
        tensors = largest_batch(recipe, size)
        with suppress(FailureError):  # tensors may fit where nothing else does
            device = largest_batch(recipe, size, need=on_device(overhead))
    batch, needs = device or (None, None)
    entry = {
        "batch_size": tensors[0],
        "memory_peak_bytes": tensors[1],
        "memory_bytes": size,
        "device_batch_size": batch,
        "device_bytes": needs,
        "device_how": overhead.how,
    }
    output.show(
        lambda: entry,
        lambda console: print_batches(console, recipe, size, tensors, device, overhead.how),
    )


def _candidates(settings: Mapping[str, Any]) -> list[Recipe]:
    """Return the recipes that `locbench fit` chooses among."""
    network = NETWORKS[settings["network"]]
    candidates = [each for each in CANDIDATES if network.copied or each[0] != "auglocal"]
    if network.transformer is not None:
        candidates += [("swin-reconstruction", {}), ("swin-infopro", {})]
    return [
        cost_recipe({**settings, "method": method, "options": options})
        for method, options in candidates
    ]
