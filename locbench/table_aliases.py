"""Names that stand for one of several published tables, told apart by initial weights. Imports no torch."""

from __future__ import annotations

from locbench.errors import UsageError
from locbench.registry import suggestion

ALIASES: dict[str, dict[str, str]] = {
    "swin-tiny": {"pretrained": "swin-tiny-pretrained", "scratch": "swin-tiny-scratch"},
}
"""Table ids by name and by initial weights; the first initial weights are meant where none are named."""


def aliased(table_id: str, init: str | None = None) -> str:
    """Return the id of the table that a name means; every other id is returned as it is.

    Args:
        table_id: an id or a name.
        init: the initial weights asked for; None leaves the choice to the name or the id.

    Raises:
        UsageError: the table has no choice of initial weights, or not these.
    """
    if init is None:
        return next(iter(ALIASES[table_id].values())) if table_id in ALIASES else table_id
    name, variants = _family(table_id)
    if init not in variants:
        raise UsageError(f"table {name!r} knows no initial weights {init!r}", suggestion(init, variants))
    if table_id not in (name, variants[init]):
        raise UsageError(f"table {table_id!r} has other initial weights than {init!r}", f"Ask for table {name!r}.")
    return variants[init]


def _family(table_id: str) -> tuple[str, dict[str, str]]:
    for name, variants in ALIASES.items():
        if table_id in (name, *variants.values()):
            return name, variants
    raise UsageError(
        f"table {table_id!r} has no choice of initial weights",
        f"Leave it out, or ask for one of: {', '.join(ALIASES)}.",
    )
