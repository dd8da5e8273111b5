"""What `locbench analyse` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from locbench.console import Output, Terminal
from locbench.files import write_atomically
from locbench.results.named import named_record
from locbench.results.store import Store
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
    own = Store(results)
    found = [named_record(name, own) for name in names]
    own.report()
    from locbench.analysis.analyses import analyse, caption
    from locbench.analysis.drawing import TITLES, draw
    from locbench.analysis.recorded import subjects_of

    subjects = subjects_of(kind, found)
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
