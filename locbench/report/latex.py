"""Reports in LaTeX: ``table`` environments that need the package booktabs only.

Every one fits the text of the article class at 10 pt. What is no table becomes a comment. pandas'
`Styler.to_latex` writes one tabular of any width: widths, pages and signs would stay ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from locbench.report.document import Block, Bullets, Cell, Grid, Row
from locbench.report.formatting import DAGGER, OWN, number_text
from locbench.report.latex_layout import Cell as LatexCell
from locbench.report.latex_layout import Line, Sheet, cell, floats, joined
from locbench.report.latex_text import escaped
from locbench.report.model import Verdict
from locbench.report.text import ours_words

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


ABOVE = "Ours, above the paper's"


def latex(blocks: Iterable[Block], caption: str = "", label: str = "") -> str:
    """Return ``table`` environments for every grid, each with caption and label.

    What several sections repeat, such as costs without runs, stands once.

    Args:
        blocks: of one or several reports.
        caption: LaTeX that replaces the captions; marks are explained all the same, and several
            floats say what they have apart.
        label: replaces the labels; the second float's ends in ``-2``, and so on.
    """
    texts: list[str | Grid] = ["% Needs \\usepackage{booktabs}."]
    shown: list[Grid] = []
    for block in blocks:
        if not isinstance(block, Grid):
            lines = block.texts if isinstance(block, Bullets) else (block.text,)
            texts.append("\n".join(f"% {escaped(line)}" for line in lines))
        elif (unlabelled := msgspec.structs.replace(block, label="")) not in shown:
            shown.append(unlabelled)
            texts.append(block)
    written = _Floats(caption, label, apart=len(shown) > 1)
    parts: list[str] = []
    for text in texts:
        parts += [text] if isinstance(text, str) else written.of(text)
    return "\n\n".join(parts) + "\n"


class _Floats:
    """The floats of a document.

    Args:
        caption, label: of `latex`.
        apart: whether there are several grids, which a caption has to tell apart.
    """

    def __init__(self, caption: str, label: str, *, apart: bool) -> None:
        self.caption, self.label, self.apart, self.count = caption, label, apart, 0

    def of(self, grid: Grid) -> Iterator[str]:
        """Yield a grid's floats: the first explains the marks, and remarks are below the last."""
        bodies = floats(_sheet(grid))
        for number, body in enumerate(bodies, start=1):
            self.count += 1
            part = f"part {number} of {len(bodies)}" if len(bodies) > 1 else ""
            words = [*self._caption(grid, part), *(self._reading(grid) if number == 1 else ())]
            below = _below(grid) if number == len(bodies) and grid.remarks else ""
            yield (
                f"\\begin{{table}}[tbp]\n\\centering\\sloppy\n\\caption{{{' '.join(words)}}}\n"
                f"\\label{{{self._label(grid, number)}}}\\smallskip\n{body}{below}\n\\end{{table}}"
            )

    def _caption(self, grid: Grid, part: str) -> Iterator[str]:
        if not self.caption:
            whole = f"{grid.title}. {grid.caption}" if grid.caption else grid.title
            yield f"{escaped(', '.join(filter(None, (whole, part))))}."
            return
        yield self.caption
        if apart := ", ".join(filter(None, (grid.caption if self.apart else "", part))):
            yield f"{escaped(apart[:1].upper() + apart[1:])}."

    def _reading(self, grid: Grid) -> Iterator[str]:
        if not self.caption:
            yield from _reading(grid)
        else:
            marks = [text for text in grid.reading if text.startswith((DAGGER, OWN))]
            yield from (f"{escaped(text)}." for text in marks)

    def _label(self, grid: Grid, number: int) -> str:
        if self.label:
            return f"{self.label}-{self.count}" if self.count > 1 else self.label
        own = re.sub(r"[^A-Za-z0-9-]+", "-", grid.label)
        return f"tab:{own}-{number}" if number > 1 else f"tab:{own}"


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
    if shown.strong:
        return joined(cell(text, strong=strong) for text, strong in shown.parts)
    if shown.entry is None:
        return cell(shown.text)
    mark = MARKS.get(shown.entry.verdict, ("", ""))[0]
    return cell(number_text(shown.entry, seeds=seeds), mark)


def _reading(grid: Grid) -> Iterator[str]:
    """Yield what a reader must know of a grid's numbers, in LaTeX."""
    if grid.reading:
        yield from (f"{escaped(text)}." for text in grid.reading)
        return
    if grid.runs:
        yield f"{escaped(grid.runs)}."
    if grid.entries:
        yield f"{escaped(ours_words(grid.entries, ABOVE))}."
    used = {entry.verdict for entry in grid.entries}
    if any(DAGGER in shown.text for row in grid.rows for shown in row.cells):
        used.add("reduced")
    if meaning := [f"{mark} {escaped(text)}" for key, (mark, text) in MARKS.items() if key in used]:
        yield f"{'; '.join(meaning)}."
