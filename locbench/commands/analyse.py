"""What `locbench analyse` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from locbench.console import Output, Terminal
from locbench.errors import UsageError
from locbench.files import write_atomically
from locbench.results.named import named_record
from locbench.results.record import Record
from locbench.results.store import Store
from locbench.spec.arguments import value_words
from locbench.spec.choices import AnalysisKind
from locbench.spec.validation import refuse_count
from locbench.terminal.analyses import analysis_entry, print_analysis
from locbench.terminal.lines import say

if TYPE_CHECKING:
    import pandas as pd

    from locbench.analysis.analyses import Settings

MOST_IMAGES = 100_000


def analyse_records(
    kind: AnalysisKind,
    names: Sequence[str],
    settings: Settings,
    results: Path,
    output: Output,
    *,
    out: Path | None = None,
    data: Path | None = None,
) -> None:
    """Analyse recorded runs, show the numbers and draw them.

    Args:
        kind: which analysis; CKA compares all further records with the first one.
        names: see `named_record`.
        settings: of the analysis.
        results: folder of the records.
        output: where to print.
        out: file of the picture.
        data: file of the numbers, CSV.

    Raises:
        LocbenchError: see `named_record` and `analyses.analyse`; a file cannot be written.
    """
    refuse_count("--images", settings.images, MOST_IMAGES)
    if kind == "cka" and len(names) < 2:
        raise UsageError(
            "CKA compares networks, and one record is named",
            "Name the reference first, then others: locbench analyse cka REFERENCE RECORD...",
        )
    own = Store(results)
    found = [named_record(name, own) for name in names]
    own.set_aside.report()
    from locbench.analysis.analyses import Subject, analyse, caption
    from locbench.analysis.drawing import TITLES, draw

    labels = record_labels([record for record, _ in found])
    subjects = [
        Subject(label, record, store) for label, (record, store) in zip(labels, found, strict=True)
    ]
    if kind == "cka":
        reference, *others = subjects
        subjects = [replace(each, reference=reference) for each in others]
    frame = analyse(kind, subjects, settings)
    words = caption(kind, subjects, settings)
    if data is not None:
        write_frame(frame, data)
    if out is not None:
        draw(kind, frame, out, title=TITLES[kind], note=words)

    def view(console: Terminal) -> None:
        print_analysis(console, kind, frame, words)
        for path in (data, out):
            if path is not None:
                say(console, str(path))

    output.show(lambda: analysis_entry(kind, frame, words), view)


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a data frame as CSV; see `write_atomically` for errors."""
    write_atomically(path, frame.to_csv(index=False).encode())


def record_labels(records: Sequence[Record]) -> list[str]:
    """Return what tells records apart: the method, and the settings in which they differ.

    Runs that differ in the seed alone share a label.
    """
    flat = [_flat(msgspec.to_builtins(record.described)) for record in records]
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


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        items = [(str(name), each) for name, each in value.items()]
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        items = [(str(index), each) for index, each in enumerate(value)]
    else:
        return {prefix: value}
    return {
        name: each
        for key, inner in items
        for name, each in _flat(inner, f"{prefix}.{key}" if prefix else key).items()
    }
