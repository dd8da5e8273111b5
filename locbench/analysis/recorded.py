"""Recorded runs as what an analysis compares, by labels that tell them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from locbench.analysis.analyses import Subject
from locbench.errors import UsageError
from locbench.results.record import Record
from locbench.results.store import Store
from locbench.spec.arguments import value_words
from locbench.spec.choices import AnalysisKind


def subjects_of(kind: AnalysisKind, found: Sequence[tuple[Record, Store]]) -> list[Subject]:
    """Return recorded runs for an analysis; for CKA the first is the others' reference.

    Raises:
        UsageError: CKA is asked for, and there is one record.
    """
    labels = record_labels([record for record, _ in found])
    subjects = [
        Subject(label, record, store) for label, (record, store) in zip(labels, found, strict=True)
    ]
    if kind != "cka":
        return subjects
    if len(subjects) < 2:
        raise UsageError(
            "CKA compares networks, and one record is named",
            "Name the reference first, then others: locbench analyse cka REFERENCE RECORD...",
        )
    reference, *others = subjects
    return [replace(each, reference=reference) for each in others]


def record_labels(records: Sequence[Record]) -> list[str]:
    """Return what tells records apart: the method, and the settings in which they differ.

    Runs that differ in the seed alone share a label.
    """
    flat = [flat_settings(msgspec.to_builtins(record.described)) for record in records]
    labels = []
    for record, settings in zip(records, flat, strict=True):
        alike = [
            other
            for each, other in zip(records, flat, strict=True)
            if each.recipe.method == record.recipe.method
        ]
        names = [
            name
            for name in dict.fromkeys(name for other in alike for name in other)
            if name != "seed" and len({repr(other.get(name)) for other in alike}) > 1
        ]
        words = [f"{name.rpartition('.')[2]}={value_words(settings.get(name))}" for name in names]
        labels.append(", ".join([record.recipe.method, *words]))
    return labels


def flat_settings(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings by their names, joined by dots; lists of plain values stay whole."""
    if isinstance(value, Mapping):
        items = [(str(name), each) for name, each in value.items()]
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        items = [(str(index), each) for index, each in enumerate(value)]
    else:
        return {prefix: value}
    return {
        name: each
        for key, inner in items
        for name, each in flat_settings(inner, f"{prefix}.{key}" if prefix else key).items()
    }
