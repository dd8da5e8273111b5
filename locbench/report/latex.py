"""Reports in LaTeX: ``table`` environments to include with ``\\input``; they need the package
booktabs only.

Every one fits the text of the article class at 10 pt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from locbench.printable import printable
from locbench.report.claim_words import CLAIMS_TITLE, claim_remarks, claim_rows
from locbench.report.formatting import derived_texts, number_text, published_text, verdict_words
from locbench.report.grid import Grid, GridLine, grids
from locbench.report.latex_layout import Line, Sheet, cell, floats
from locbench.report.latex_text import escaped
from locbench.report.model import Comparison, Entry, Verdict
from locbench.report.text import (
    heading,
    short_label,
    source_lines,
    split_label,
    tau_lines,
    what_runs,
)
from locbench.spec.tables import Table

MARKS: dict[Verdict, tuple[str, str]] = {
    "match": ("$^=$", "within the tolerance, or equal after the paper's rounding"),
    "off": ("$^{\\neq}$", "outside it"),
    "unconfirmed": ("$^?$", "fewer than 3 seeds, or nothing legible printed"),
    "reduced": ("$^\\dagger$", "of a reduced run: compared by rank alone"),
    "missing": ("---", "not run"),
    "failed": ("$\\times$", "ended in an error"),
    "blocked": ("$\\circ$", "cannot be run yet"),
}
"""What stands at a number, or in its place, and what it means.

The caption explains those that occur.
"""


def latex(table: Table, comparisons: Sequence[Comparison]) -> str:
    """Return ``table`` environments for every grid, each with caption and label.

    Costs without runs stand once.
    """
    blocks = ["% Needs \\usepackage{booktabs}."]
    for number, comparison in enumerate(comparisons, start=1):
        blocks.append(_comment(comparison))
        blocks += _tables(table, comparison, number)
    return "\n\n".join(blocks) + "\n"


def _tables(table: Table, comparison: Comparison, number: int) -> Iterator[str]:
    for grid in grids(table, comparison):
        if number > 1 and all(entry.kind != "trained" for entry in grid.entries):
            continue
        label = "-".join(filter(None, [table.id, str(number), grid.metric]))
        own = msgspec.structs.replace(comparison, entries=grid.entries)
        below = [
            *tau_lines(table, comparison, {each.metric for each in grid.entries}),
            verdict_words(own),
        ]
        yield from _environments(
            f"{heading(table)}. {grid.caption}",
            _reading(grid, comparison),
            label,
            _sheet(grid),
            below,
        )
    for name in dict.fromkeys(value.label for value in comparison.derived):
        yield from _derived(table, comparison, number, name)
    yield from _claims(table, comparison, number)


def _sheet(grid: Grid) -> Sheet:
    counts = {entry.n for entry in grid.entries if entry.n}
    lines = [_line(line, seeds=len(counts) > 1) for line in grid.lines]
    return Sheet(tuple(cell(text) for text in grid.header), 2, tuple(lines))


def _line(line: GridLine, *, seeds: bool) -> Line:
    if line.kind == "group":
        return Line((cell(line.cells[0]),), heading=True)
    labels = (cell(line.cells[0]), cell(line.cells[1]))
    if line.kind == "paper":
        printed = (published_text(each.published) if each else "" for each in line.entries)
        return Line((*labels, *map(cell, printed)), begins=False)
    return Line((*labels, *(cell(*_marked(each, seeds=seeds)) for each in line.entries)))


def _marked(entry: Entry | None, *, seeds: bool) -> tuple[str, str]:
    if entry is None:
        return "", ""
    mark = MARKS[entry.verdict][0] if entry.verdict in MARKS else ""
    return number_text(entry, seeds=seeds), mark


def _reading(grid: Grid, comparison: Comparison) -> list[str]:
    """Return what a reader must know of a grid's numbers, in LaTeX."""
    entries = grid.entries
    sentences = []
    if any(entry.epochs is not None for entry in entries):
        data = ", ".join(label for label in comparison.data_labels if label not in comparison.how)
        sentences.append(what_runs(comparison) + (f", on {data}" if data else ""))
    counts = sorted({entry.n for entry in entries if entry.n})
    if counts:
        seeds = (
            "one seed"
            if counts == [1]
            else f"{counts[0]} seeds"
            if len(counts) == 1
            else "(n) seeds"
        )
        spread = "" if counts == [1] else "mean ± sample standard deviation over "
        sentences.append(f"Ours, above the paper's: {spread}{seeds}")
    else:
        kinds = {
            "exact": "counted",
            "predicted": "predicted without a device, tensors alone, not judged",
        }
        words = dict.fromkeys(
            kinds[entry.kind]
            for entry in entries
            if entry.measured is not None and entry.kind in kinds
        )
        sentences.append(f"Ours, above the paper's{': ' if words else ''}{' or '.join(words)}")
    used = {entry.verdict for entry in entries}
    meaning = "; ".join(
        f"{mark} {escaped(text)}" for verdict, (mark, text) in MARKS.items() if verdict in used
    )
    return [f"{escaped(each)}." for each in sentences] + ([f"{meaning}."] if meaning else [])


def _derived(table: Table, comparison: Comparison, number: int, name: str) -> Iterator[str]:
    values = [value for value in comparison.derived if value.label == name]
    several = len({value.column for value in values}) > 1
    lines, group = [], ""
    for value in values:
        above, own = split_label(value.row)
        if above and above != group:
            lines.append(Line((cell(above),), heading=True))
        group = above
        same = split_label(value.reference)[0] == above
        reference = split_label(value.reference)[1] if same else short_label(table, value.reference)
        labels = (own, reference, *([value.column] if several else []))
        lines.append(Line(tuple(map(cell, (*labels, *derived_texts(value))))))
    header = (
        "",
        "against",
        *(["column"] if several else []),
        "printed",
        "from the paper's",
        "from ours",
    )
    sheet = Sheet(tuple(map(cell, header)), 3 if several else 2, tuple(lines))
    unit = f" ({values[0].unit})" if values[0].unit else ""
    reading = (
        [f"{escaped(what_runs(comparison))}."] if any(value.reduced for value in values) else []
    )
    if reading:
        reading.append(f"{MARKS['reduced'][0]} {MARKS['reduced'][1]}.")
    index = list(dict.fromkeys(value.label for value in comparison.derived)).index(name)
    label = f"{table.id}-{number}-derived" + (f"-{index + 1}" if index else "")
    caption = f"{heading(table)}. Derived: {name}{unit}"
    yield from _environments(caption, reading, label, sheet, comparison.notes if index == 0 else ())


def _claims(table: Table, comparison: Comparison, number: int) -> Iterator[str]:
    rows = [
        (f"{text} (section {section})", f"{verdict}: {found}")
        for text, section, verdict, found in claim_rows(comparison.claims)
    ]
    if rows:
        reduced = any(claim.reduced for claim in comparison.claims)
        reading = [f"{escaped(what_runs(comparison))}."] if reduced else []
        caption, label = f"{heading(table)}. {CLAIMS_TITLE}", f"{table.id}-{number}-claims"
        yield from text_floats(
            caption, reading, label, ("claim", "verdict"), rows, claim_remarks(comparison.claims)
        )


def text_floats(
    caption: str,
    reading: Sequence[str],
    label: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    below: Sequence[str],
) -> Iterator[str]:
    """Yield the floats of columns of words.

    Args:
        caption: without a full stop.
        reading: sentences in LaTeX that follow it.
        label: what follows ``tab:``.
        header: the head of every column.
        rows: the cells, row by row.
        below: remarks.
    """
    lines = tuple(Line(tuple(map(cell, row))) for row in rows)
    yield from _environments(
        caption, reading, label, Sheet(tuple(map(cell, header)), len(header), lines), below
    )


def _environments(
    caption: str, reading: Sequence[str], label: str, sheet: Sheet, below: Sequence[str]
) -> Iterator[str]:
    """Yield the floats of one sheet: the first explains the marks, and the remarks stand below the
    last.
    """
    name = re.sub(r"[^A-Za-z0-9-]+", "-", label)
    found = floats(sheet)
    for index, body in enumerate(found):
        part = f", part {index + 1} of {len(found)}" if len(found) > 1 else ""
        words = [f"{escaped(caption + part)}."] + (list(reading) if index == 0 else [])
        remarks = below if index == len(found) - 1 else ()
        own = f"tab:{name}-{index + 1}" if index else f"tab:{name}"
        yield (
            f"\\begin{{table}}[tbp]\n\\centering\\sloppy\n\\caption{{{' '.join(words)}}}\n"
            f"\\label{{{own}}}\\smallskip\n{body}{_below(remarks)}\n\\end{{table}}"
        )


def _below(remarks: Sequence[str]) -> str:
    if not remarks:
        return ""
    lines = "\\par ".join(f"{escaped(text.rstrip('.'))}." for text in remarks)
    return f"\n\n\\medskip\n\\parbox{{\\textwidth}}{{\\footnotesize\\raggedright {lines}}}"


def _comment(comparison: Comparison) -> str:
    lines = [
        what_runs(comparison),
        *(f"{name}: {value}" for name, value in source_lines(comparison)),
    ]
    return "\n".join(f"% {printable(' '.join(line.split()))}" for line in lines)
