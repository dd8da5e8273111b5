"""Reports in LaTeX: ``table`` environments that need the package booktabs only.

Every one fits the text of the article class at 10 pt. What is no table becomes a comment. pandas'
`Styler.to_latex` writes one tabular of any width: widths, pages and signs would stay ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from locbench.report.document import Block, Bullets, Cell, Grid, Row
from locbench.report.formatting import DAGGER, number_text
from locbench.report.latex_layout import Cell as LatexCell
from locbench.report.latex_layout import Line, Sheet, cell, floats
from locbench.report.latex_text import escaped
from locbench.report.model import Entry, Verdict

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


def latex(blocks: Iterable[Block]) -> str:
    """Return ``table`` environments for every grid, each with caption and label.

    What several sections repeat, such as costs without runs, stands once.
    """
    texts = ["% Needs \\usepackage{booktabs}."]
    shown: list[Grid] = []
    for block in blocks:
        if not isinstance(block, Grid):
            lines = block.texts if isinstance(block, Bullets) else (block.text,)
            texts.append("\n".join(f"% {escaped(line)}" for line in lines))
        elif (unlabelled := msgspec.structs.replace(block, label="")) not in shown:
            shown.append(unlabelled)
            texts += _environments(block)
    return "\n\n".join(texts) + "\n"


def _environments(grid: Grid) -> Iterator[str]:
    """Yield a grid's floats: the first explains the marks, and the remarks are below the last."""
    label = re.sub(r"[^A-Za-z0-9-]+", "-", grid.label)
    caption = f"{grid.title}. {grid.caption}" if grid.caption else grid.title
    bodies = floats(_sheet(grid))
    for number, body in enumerate(bodies, start=1):
        part = f", part {number} of {len(bodies)}" if len(bodies) > 1 else ""
        words = [f"{escaped(caption + part)}.", *(_reading(grid) if number == 1 else ())]
        own = f"{label}-{number}" if number > 1 else label
        below = _below(grid) if number == len(bodies) and grid.remarks else ""
        yield (
            f"\\begin{{table}}[tbp]\n\\centering\\sloppy\n\\caption{{{' '.join(words)}}}\n"
            f"\\label{{tab:{own}}}\\smallskip\n{body}{below}\n\\end{{table}}"
        )


def _below(grid: Grid) -> str:
    lines = "\\par ".join(f"{escaped(text.rstrip('.'))}." for text in grid.remarks)
    return f"\n\n\\medskip\n\\parbox{{\\textwidth}}{{\\footnotesize\\raggedright {lines}}}"


def _sheet(grid: Grid) -> Sheet:
    labels = len(grid.align) - len(grid.align.lstrip("l"))
    seeds = len({entry.n for entry in grid.entries if entry.n}) > 1
    lines = [_line(row, seeds=seeds) for row in grid.rows]
    return Sheet(tuple(map(cell, grid.header)), labels, tuple(lines))


def _line(row: Row, *, seeds: bool) -> Line:
    cells = tuple(_cell(each, seeds=seeds) for each in row.cells)
    return Line(cells, heading=row.kind == "group", begins=row.kind != "paper")


def _cell(shown: Cell, *, seeds: bool) -> LatexCell:
    if shown.entry is None:
        return cell(shown.text)
    mark = MARKS.get(shown.entry.verdict, ("", ""))[0]
    return cell(number_text(shown.entry, seeds=seeds), mark)


def _reading(grid: Grid) -> Iterator[str]:
    """Yield what a reader must know of a grid's numbers, in LaTeX."""
    if grid.runs:
        yield f"{escaped(grid.runs)}."
    if grid.entries:
        yield f"{escaped(_ours(grid.entries))}."
    used = {entry.verdict for entry in grid.entries}
    if any(DAGGER in shown.text for row in grid.rows for shown in row.cells):
        used.add("reduced")
    if meaning := [f"{mark} {escaped(text)}" for key, (mark, text) in MARKS.items() if key in used]:
        yield f"{'; '.join(meaning)}."


def _ours(entries: Sequence[Entry]) -> str:
    counts = sorted({entry.n for entry in entries if entry.n})
    if counts == [1]:
        return "Ours, above the paper's: one seed"
    if counts:
        seeds = f"{counts[0]} seeds" if len(counts) == 1 else "(n) seeds"
        return f"Ours, above the paper's: mean ± sample standard deviation over {seeds}"
    known = [entry.kind for entry in entries if entry.measured is not None]
    words = dict.fromkeys(_WITHOUT_SEEDS[kind] for kind in known if kind in _WITHOUT_SEEDS)
    return "Ours, above the paper's" + (f": {' or '.join(words)}" if words else "")


_WITHOUT_SEEDS = {
    "exact": "counted",
    "predicted": "predicted without a device, tensors alone, not judged",
}
