"""Write a table's report in the formats that were asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path

from locbench.errors import UsageError
from locbench.files import write_atomically
from locbench.registry import suggestion
from locbench.report.compare import unmeasured
from locbench.report.model import Comparison
from locbench.spec.tables import Table

CLAIMS_FILE = "claims"

FORMATS = {
    "md": "locbench.report.markdown:markdown",
    "tex": "locbench.report.latex:latex",
    "csv": "locbench.report.machine_formats:tidy_csv",
    "json": "locbench.report.machine_formats:json_text",
}
"""Formats by the ending of their files; each is imported when it is first asked for."""


DOCUMENTS = ("csv", "json")
"""Formats that programs read: several tables are one document."""

Found = tuple[Table, Sequence[Comparison]]


def render(table: Table, comparisons: Sequence[Comparison], ending: str) -> str:
    """Return a table's report in one format; without comparisons it shows the published values
    alone.

    Args:
        table: the published table.
        comparisons: what `compare` returned for it.
        ending: a key of `FORMATS`.

    Raises:
        UsageError: there is no such format.
    """
    return render_all([(table, comparisons)], ending)


def render_all(found: Sequence[Found], ending: str) -> str:
    """Return the reports of several tables in one format, which can be read back as a whole.

    See `render`.
    """
    if ending not in FORMATS:
        raise UsageError(f"unknown report format {ending!r}", suggestion(ending, FORMATS))
    module, _, name = FORMATS[ending].partition(":")
    write = getattr(import_module(module), name)
    shown = [(table, comparisons or [unmeasured(table)]) for table, comparisons in found]
    return str(write(shown) if ending in DOCUMENTS else "\n".join(write(*each) for each in shown))


def render_claims(found: Sequence[Found], ending: str) -> str:
    """Return the claims of several tables on one page; see `render`."""
    from locbench.report.claims_page import PAGES

    return PAGES[ending](
        [
            (table, comparisons or [unmeasured(table)])
            for table, comparisons in found
            if table.claims
        ]
    )


def write_claims(found: Sequence[Found], out: Path, formats: Iterable[str]) -> list[Path]:
    """Write ``<out>/claims.<format>`` for every format and return the paths.

    See `write_reports`.
    """
    texts = {out / f"{CLAIMS_FILE}.{ending}": render_claims(found, ending) for ending in formats}
    for path, text in texts.items():
        write_atomically(path, text.encode("utf-8"))
    return list(texts)


def write_reports(
    table: Table,
    comparisons: Sequence[Comparison],
    out: Path,
    formats: Iterable[str] = tuple(FORMATS),
) -> list[Path]:
    """Write ``<out>/<table id>.<format>`` for every format and return the paths.

    Raises:
        UsageError: a format is unknown; nothing is written then.
        FailureError: a file cannot be written.
    """
    texts = {out / f"{table.id}.{ending}": render(table, comparisons, ending) for ending in formats}
    for path, text in texts.items():
        write_atomically(path, text.encode("utf-8"))
    return list(texts)
