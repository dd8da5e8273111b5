"""Whether a run that was made again has the numbers of its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from locbench.results.record import Record

_TIMES = ("seconds",)
"""What no two runs have in common."""


class Difference(msgspec.Struct, frozen=True):
    """A number that is another one in the second run; None where a run has none."""

    name: str
    before: float | None
    after: float | None


class Repetition(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs of one recipe.

    Attributes:
        equal: whether all numbers that both records have are the same, to the last bit.
        differences: of metrics, losses of the last epoch, and numbers of parameters.
        first_epoch: the first epoch whose numbers differ; None if none does.
        circumstances: with what the runs were made, first and then, where that differs.
    """

    equal: bool
    differences: tuple[Difference, ...]
    first_epoch: int | None
    circumstances: dict[str, tuple[str, str]]


def repetition(before: Record, after: Record) -> Repetition:
    """Compare a run with its earlier record, which may lack numbers that are recorded by now.

    Args:
        before: the earlier record.
        after: the record of the same recipe, made again.
    """
    differences = tuple(_differences(_numbers(before), _numbers(after)))
    epoch = _first_epoch(before, after)
    alike = before.status == after.status and len(before.history) == len(after.history)
    return Repetition(
        equal=alike and not differences and epoch is None,
        differences=differences,
        first_epoch=epoch,
        circumstances=_circumstances(before, after),
    )


def _numbers(record: Record) -> dict[str, float]:
    losses = {
        f"loss of module {number}": loss for number, loss in enumerate(record.local_losses, 1)
    }
    counts = {f"{name} parameters": float(count) for name, count in record.parameters.items()}
    return record.metrics | losses | counts


def _differences(
    before: Mapping[str, float | None], after: Mapping[str, float | None]
) -> Iterator[Difference]:
    for name in before:
        if name in after and name not in _TIMES and not _same(before[name], after[name]):
            yield Difference(name, before[name], after[name])


def _same(one: float | None, other: float | None) -> bool:
    return one == other or (one != one and other != other)  # no number equals itself not


def _first_epoch(before: Record, after: Record) -> int | None:
    rows = zip(before.history, after.history, strict=False)
    return next(
        (number for number, pair in enumerate(rows, 1) if any(_differences(*pair))),
        None,
    )


def _circumstances(before: Record, after: Record) -> dict[str, tuple[str, str]]:
    first, second = _described(before), _described(after)
    return {name: (first[name], second[name]) for name in first if first[name] != second[name]}


def _described(record: Record) -> dict[str, str]:
    made = record.provenance
    return {
        "device": made.device,
        "engine": made.engine,
        "threads": str(made.threads),
        "versions": ", ".join(f"{name} {version}" for name, version in made.versions.items()),
        "plugins": ", ".join(f"{name} {text[:12]}" for name, text in made.plugin_digests.items()),
        "code": made.code or "outside a checkout",
        "data": record.data.fingerprint if record.data else "none",
    }
