"""What ``locbench report --layout`` does: tables for a paper."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from locbench.commands.report import ENDINGS, Selection, compared, print_reports, selected
from locbench.errors import UsageError
from locbench.printable import printable
from locbench.report.latex_text import fault_of_fragment
from locbench.report.model import TableComparisons
from locbench.report.render import PaperStyle, render_paper, write_reports
from locbench.spec.table_files import load_table

EXAMPLE = "For example: locbench report pgl-period --layout ours --label tab:period"


def paper_tables(
    table_ids: Sequence[str],
    formats: Sequence[str],
    out: Path | None,
    folders: Sequence[Path],
    selection: Selection,
    style: PaperStyle,
) -> None:
    """Print or write tables in their published layout; without ids, all that have records.

    Published numbers need no record.

    Raises:
        UsageError: a format has no layout, or caption or label do not fit; or see `compared`.
    """
    formats = formats or ["latex"]
    _refuse(style, formats, table_ids)
    found: Sequence[TableComparisons]
    if style.layout == "paper" and table_ids:
        tables = [load_table(each) for each in table_ids]
        found = [(table, ()) for table in selected(tables, selection, given=True)]
    else:
        found = compared(table_ids, folders, selection, written=out is not None)
    endings = [ENDINGS[each] for each in formats]
    if out is None:
        print_reports(found, endings, partial(render_paper, style))
        return
    for path in (path for each in found for path in write_reports(*each, out, endings, style)):
        print(printable(str(path)))


def _refuse(style: PaperStyle, formats: Sequence[str], table_ids: Sequence[str]) -> None:
    if not set(formats) <= {"latex", "markdown"}:
        raise UsageError(
            "--layout is of LaTeX and Markdown", "Use --format latex, or leave it out."
        )
    if (style.caption or style.label) and (set(formats) != {"latex"} or len(table_ids) != 1):
        raise UsageError("--caption and --label are of one table in LaTeX", EXAMPLE)
    if fault := fault_of_fragment(style.caption):
        raise UsageError(f"--caption is no LaTeX: {fault}", "A percent sign is written \\%.")
    if not re.fullmatch(r"[\w:.+/-]*", style.label, re.ASCII):
        raise UsageError(
            f"--label {style.label!r} is no label", "Use letters, digits and the signs : . + / - _."
        )
