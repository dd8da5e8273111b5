"""Words that a shell may complete: tables, networks, methods, data sets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from locbench.errors import LocbenchError


def table_names(incomplete: str) -> list[str]:
    """Return the ids of tables, and names that stand for several, that begin so."""
    from locbench.spec.table_files import ALIASES, table_ids

    return _beginning(incomplete, lambda: [*table_ids(), *ALIASES])


def network_names(incomplete: str) -> list[str]:
    """Return the names of networks that begin so."""
    from locbench.spec.networks import NETWORKS

    return _beginning(incomplete, lambda: NETWORKS)


def method_names(incomplete: str) -> list[str]:
    """Return the bases and modifiers of methods that begin so; what stands before a ``+`` stays."""
    from locbench.spec.methods import METHODS
    from locbench.spec.modifiers import MODIFIERS

    before, plus, last = incomplete.rpartition("+")
    return [before + plus + name for name in _beginning(last, lambda: [*METHODS, *MODIFIERS])]


def dataset_names(incomplete: str) -> list[str]:
    """Return the names of known data sets that begin so."""
    from locbench.datasets.catalogue import names

    return _beginning(incomplete, names)


def _beginning(start: str, names: Callable[[], Iterable[str]]) -> list[str]:
    """Return the names that begin so; none where they cannot be read, since nobody reads why."""
    with contextlib.suppress(LocbenchError, OSError):
        return sorted(name for name in names() if name.startswith(start))
    return []
