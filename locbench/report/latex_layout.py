"""Tabulars that fit a page of LaTeX's article class.

Smaller type, broken heads, and else columns in several blocks. Widths are estimated from those of
Computer Modern, so that nothing but booktabs is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from locbench.report.latex_text import escaped, longest_word, text_width

_ROOM = 340.0  # points; \textwidth of article at 10 pt is 345
_TALL = 430.0  # points; \textheight is 550, with a caption above and remarks below
_GAP = 8.0  # points between columns: twice \tabcolsep
# Points, of a label, all labels and a value; wider ones are broken.
_LABEL, _LABELS, _VALUE = (
    130.0,
    220.0,
    150.0,
)
_BOLD = 1.16

SETTINGS = "\\setlength{\\tabcolsep}{4pt}"


@dataclass(frozen=True)
class _Type:
    """A size of type: command, widths in relation to 10 pt, distance of lines."""

    command: str
    scale: float
    line: float


_SMALL, _SMALLER = _Type("\\small", 0.925, 11.0), _Type("\\footnotesize", 0.85, 9.5)


@dataclass(frozen=True)
class Cell:
    """A cell: LaTeX, its width and that of its longest word, in points at 10 pt."""

    latex: str
    width: float
    longest: float


def cell(text: str, mark: str = "", *, strong: bool = False) -> Cell:
    """Return the cell of a text.

    Args:
        text: what it shows; blanks at its ends stay.
        mark: LaTeX of the width of a superscript.
        strong: whether it is in bold.
    """
    extra = 5.0 if mark else 0.0
    before, after = " " * text.startswith(" "), " " * text.endswith(" ")
    latex = escaped(text) + mark
    width, longest = text_width(text) + extra, longest_word(text) + extra
    if strong:
        return Cell(f"{before}\\textbf{{{latex}}}{after}", _BOLD * width, _BOLD * longest)
    return Cell(before + latex + after, width, longest)


def joined(cells: Iterable[Cell]) -> Cell:
    """Return one cell that shows all of them, in order."""
    parts = list(cells)
    return Cell(
        "".join(part.latex for part in parts),
        sum(part.width for part in parts),
        max(part.longest for part in parts),
    )


@dataclass(frozen=True)
class Line:
    """A line of a sheet: the heading of a group, or cells.

    ``begins`` is whether a page may end before it.
    """

    cells: tuple[Cell, ...]
    heading: bool = False
    begins: bool = True


@dataclass(frozen=True)
class Sheet:
    """A head, lines, and how many of the first columns are labels.

    Every block of columns repeats the labels.
    """

    header: tuple[Cell, ...]
    labels: int
    lines: tuple[Line, ...]


def floats(sheet: Sheet) -> list[str]:
    """Return the content of every float: tabulars that are no wider and no higher than a page."""
    kind, widths, blocks = _fitted(sheet)
    pages = [
        (block, page)
        for block in blocks
        for page in _pages(sheet.header, _in_block(sheet, block), kind, widths)
        if page
    ]
    tabulars = [
        _tabular(sheet.header, page, block, sheet.labels, kind, widths) for block, page in pages
    ]
    if not pages:
        return []
    together = sum(_height(sheet.header, page, kind, widths) for _, page in pages) <= _TALL
    return [_sized(kind, tabulars)] if together else [_sized(kind, [each]) for each in tabulars]


def _in_block(sheet: Sheet, block: Sequence[int]) -> list[Line]:
    """Return the lines that have a value in a block of columns, and the headings of these."""
    values = [index for index in block if index >= sheet.labels]
    kept: list[Line] = []
    for chunk in _chunks(sheet.lines):
        rows = [line for line in chunk if not line.heading]
        held = any(line.cells[index].latex for line in rows for index in values)
        kept += chunk if held or not (rows and values) else [line for line in chunk if line.heading]
    following = [*kept, None][1:]
    return [
        line
        for line, after in zip(kept, following, strict=True)
        if not (line.heading and _ends(after))
    ]


def _ends(line: Line | None) -> bool:
    return line is None or line.heading


def _sized(kind: _Type, tabulars: Sequence[str]) -> str:
    return f"{kind.command}{SETTINGS}\n" + "\n\n\\medskip\n".join(tabulars)


def _fitted(sheet: Sheet) -> tuple[_Type, list[float], list[list[int]]]:
    """Return the type, each column's width in points, and the columns of each block."""
    every = list(range(len(sheet.header)))
    if sheet.labels == len(every):  # words alone
        room = _ROOM - _GAP * (len(every) - 1)
        return _SMALL, _shared(_widths(sheet, _SMALL, room), room), [every]
    for kind in (_SMALL, _SMALLER):
        for broken in (False, True):
            most = min(_LABEL, _LABELS / sheet.labels) if broken else _VALUE
            widths = _widths(sheet, kind, most, broken=broken)
            if _total(widths) <= _ROOM:
                return kind, widths, [every]
    labels, values = every[: sheet.labels], every[sheet.labels :]
    rest = _ROOM - _total([widths[each] for each in labels]) - _GAP
    widths = [width if index in labels else min(width, rest) for index, width in enumerate(widths)]
    blocks: list[list[int]] = [[]]
    most = _balanced([widths[each] for each in values], rest)
    for each in values:
        if blocks[-1] and (
            len(blocks[-1]) == most or _total([widths[i] for i in [*blocks[-1], each]]) > rest
        ):
            blocks.append([])
        blocks[-1].append(each)
    return kind, widths, [labels + block for block in blocks]


def _shared(widths: Sequence[float], room: float) -> list[float]:
    """Cut the widest columns to one width, so that all have room."""
    for index, width in enumerate(sorted(widths)):
        share = room / (len(widths) - index)
        if width > share:
            return [min(each, share) for each in widths]
        room -= width
    return list(widths)


def _balanced(widths: Sequence[float], room: float) -> int:
    """Return into how many columns a block is best limited, so that all have about as many."""
    blocks, used = 1, -_GAP
    for width in widths:
        if used + _GAP + width > room and used > 0:
            blocks, used = blocks + 1, -_GAP
        used += _GAP + width
    return math.ceil(len(widths) / blocks)


def _widths(sheet: Sheet, kind: _Type, label: float, *, broken: bool = False) -> list[float]:
    """Return the width of every column: labels have at most ``label``, heads may be broken."""
    rows = [line.cells for line in sheet.lines if not line.heading]
    widths = []
    for index, head in enumerate(sheet.header):
        widest = max((row[index].width for row in rows), default=0.0)
        own = max(widest, head.longest if broken else head.width)
        widths.append(min(kind.scale * own + 1, label if index < sheet.labels else _VALUE))
    return widths


def _total(widths: Sequence[float]) -> float:
    return sum(widths) + _GAP * (len(widths) - 1)


def _pages(
    header: Sequence[Cell], lines: Sequence[Line], kind: _Type, widths: Sequence[float]
) -> list[list[Line]]:
    """Split lines that no page holds into about equal parts.

    A group that goes on is named again.
    """
    count = math.ceil(_height(header, lines, kind, widths) / _TALL)
    most = min(_TALL, _height(header, lines, kind, widths) / max(count, 1) + 4 * kind.line)
    pages: list[list[Line]] = [[]]
    heading: Line | None = None
    for chunk in _chunks(lines):
        if pages[-1] and _height(header, [*pages[-1], *chunk], kind, widths) > most:
            pages.append([heading] if heading and not chunk[0].heading else [])
        heading = next((line for line in chunk if line.heading), heading)
        pages[-1] += chunk
    return pages


def _chunks(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Yield lines that stay together: a heading and its first row, ours and the paper's."""
    chunk: list[Line] = []
    for line in lines:
        if chunk and line.begins and not all(each.heading for each in chunk):
            yield chunk
            chunk = []
        chunk.append(line)
    if chunk:
        yield chunk


def _height(
    header: Sequence[Cell], lines: Sequence[Line], kind: _Type, widths: Sequence[float]
) -> float:
    return kind.line * (
        2 + sum(_rows(line, kind, widths) for line in [Line(tuple(header)), *lines])
    )


def _rows(line: Line, kind: _Type, widths: Sequence[float]) -> int:
    if line.heading:
        return math.ceil(line.cells[0].width * kind.scale * _BOLD / _ROOM) or 1
    # A line of several words is not filled to its end.
    fills = (
        1 if each.width * kind.scale <= width else math.ceil(1.3 * each.width * kind.scale / width)
        for each, width in zip(line.cells, widths, strict=True)
    )
    return max(fills)


def _tabular(
    header: Sequence[Cell],
    lines: Sequence[Line],
    block: Sequence[int],
    labels: int,
    kind: _Type,
    widths: Sequence[float],
) -> str:
    align = "".join("l" if index < labels else "r" for index in block)
    head = " & ".join(
        _set(header[index], widths[index], kind, left=index < labels, top=False) for index in block
    )
    body = [_line(line, block, labels, kind, widths) for line in lines]
    rows = "".join(f"{row} \\\\\n" for row in body)
    rules = f"\\toprule\n{head} \\\\\n\\midrule\n{rows}\\bottomrule"
    return f"\\begin{{tabular}}{{@{{}}{align}@{{}}}}\n{rules}\n\\end{{tabular}}"


def _line(
    line: Line, block: Sequence[int], labels: int, kind: _Type, widths: Sequence[float]
) -> str:
    if not line.heading:
        return " & ".join(
            _set(line.cells[i], widths[i], kind, left=i < labels, top=True) for i in block
        )
    text = f"\\textbf{{{line.cells[0].latex}}}"
    room = max(_total([widths[index] for index in block]), _ROOM / 2)
    if line.cells[0].width * kind.scale * _BOLD > room:
        text = f"\\parbox[t]{{{room:.0f}pt}}{{\\raggedright {text}\\strut}}"
    return f"\\multicolumn{{{len(block)}}}{{@{{}}l@{{}}}}{{{text}}}"


def _set(each: Cell, width: float, kind: _Type, *, left: bool, top: bool) -> str:
    if each.width * kind.scale <= width:
        return each.latex
    sides = ("t" if top else "b", "right" if left else "left")
    return f"\\parbox[{sides[0]}]{{{width:.0f}pt}}{{\\ragged{sides[1]} {each.latex}\\strut}}"
