"""Write a table's report in the formats that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from locbench.errors import UsageError
from locbench.files import write_atomically
from locbench.registry import suggestion
from locbench.report.claim_blocks import page_blocks
from locbench.report.compare import unmeasured
from locbench.report.latex import latex
from locbench.report.machine_formats import claims_csv, claims_json, json_text, tidy_csv
from locbench.report.markdown import markdown
from locbench.report.model import Comparison, TableComparisons
from locbench.report.paper_tables import paper_blocks
from locbench.report.sections import report_blocks
from locbench.spec.choices import Layout
from locbench.spec.tables import Table

DOCUMENTS = ("csv", "json")
"""Formats that programs read: several tables are one document."""

FORMATS: dict[str, Callable[[Sequence[TableComparisons]], str]] = {
    "md": lambda found: "\n".join(markdown(report_blocks(*each)) for each in found),
    "tex": lambda found: "\n".join(latex(report_blocks(*each)) for each in found),
    "csv": tidy_csv,
    "json": json_text,
}
"""How tables are written, by the ending of files."""

CLAIM_FORMATS: dict[str, Callable[[Sequence[TableComparisons]], str]] = {
    "md": lambda found: markdown(page_blocks(found)),
    "tex": lambda found: latex(page_blocks(found)),
    "csv": claims_csv,
    "json": claims_json,
}
"""Likewise of the page of claims."""


def render(table: Table, comparisons: Sequence[Comparison], ending: str) -> str:
    """Return a table's report in one format; see `render_all`."""
    return render_all([(table, comparisons)], ending)


def render_all(found: Sequence[TableComparisons], ending: str) -> str:
    """Return the reports of several tables in one format, which can be read back as a whole.

    Args:
        found: tables with what `compare` returned for them; those without comparisons show the
            published values alone.
        ending: a key of `FORMATS`.

    Raises:
        UsageError: there is no such format.
    """
    if ending not in FORMATS:
        raise UsageError(f"unknown report format {ending!r}", suggestion(ending, FORMATS))
    return FORMATS[ending](with_published(found))


def render_claims(found: Sequence[TableComparisons], ending: str) -> str:
    """Return the claims of several tables on one page; see `render_all`."""
    return CLAIM_FORMATS[ending](with_published([each for each in found if each[0].claims]))


class PaperStyle(msgspec.Struct, frozen=True):
    """How tables for a paper are written.

    Attributes:
        layout: what the cells hold.
        caption, label: of `latex`; empty takes the table's own.
    """

    layout: Layout
    caption: str = ""
    label: str = ""


def render_paper(style: PaperStyle, found: Sequence[TableComparisons], ending: str) -> str:
    """Return tables in their published layout, in LaTeX (``tex``) or Markdown (``md``)."""
    blocks = [
        block
        for table, comparisons in with_published(found)
        for number, comparison in enumerate(
            [unmeasured(table)] if style.layout == "paper" else comparisons, start=1
        )
        for block in paper_blocks(table, comparison, style.layout, number)
    ]
    if ending == "tex":
        return latex(blocks, style.caption, style.label)
    return markdown(blocks)


def with_published(found: Sequence[TableComparisons]) -> list[TableComparisons]:
    """Return tables with at least one comparison each, of the published values if of no other."""
    return [(table, comparisons or [unmeasured(table)]) for table, comparisons in found]


def write_claims(
    found: Sequence[TableComparisons], out: Path, formats: Iterable[str]
) -> list[Path]:
    """Write ``<out>/claims.<format>`` for every format and return the paths.

    See `write_reports`.
    """
    texts = {out / f"claims.{ending}": render_claims(found, ending) for ending in formats}
    for path, text in texts.items():
        write_atomically(path, text.encode("utf-8"))
    return list(texts)


def write_reports(
    table: Table,
    comparisons: Sequence[Comparison],
    out: Path,
    formats: Iterable[str] = tuple(FORMATS),
    style: PaperStyle | None = None,
) -> list[Path]:
    """Write ``<out>/<table id>.<format>`` for every format and return the paths.

    With a style the files are ``<table id>-<layout>.<format>``.

    Raises:
        UsageError: a format is unknown; nothing is written then.
        FailureError: a file cannot be written.
    """
    name, write = (
        (table.id, render_all)
        if style is None
        else (f"{table.id}-{style.layout}", partial(render_paper, style))
    )
    texts = {out / f"{name}.{ending}": write([(table, comparisons)], ending) for ending in formats}
    for path, text in texts.items():
        write_atomically(path, text.encode("utf-8"))
    return list(texts)
