"""Reports in Markdown, as GitHub shows it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from tabulate import tabulate

from locbench.printable import printable
from locbench.report.document import Block, Bullets, Grid, Heading, Paragraph

_ALIGN = {"l": "left", "r": "right"}


def markdown(blocks: Iterable[Block]) -> str:
    """Return blocks as Markdown."""
    return "\n\n".join(text for block in blocks for text in _written(block)) + "\n"


def _written(block: Block) -> Iterator[str]:
    match block:
        case Heading():
            yield f"{'#' * block.level} {escaped(block.text)}"
        case Paragraph():
            yield escaped(block.text)
        case Bullets():
            yield _bullets(block.texts)
        case Grid():
            if block.caption:
                yield f"**{escaped(block.caption)}**"
            yield _table(block)
            if block.reading:
                yield escaped(" ".join(f"{text}." for text in block.reading))
            if block.remarks:
                yield _bullets(block.remarks)


def _table(grid: Grid) -> str:
    rows = []
    for row in grid.rows:
        texts = ["".join(_piece(*part) for part in cell.parts) for cell in row.cells]
        rows.append([f"**{texts[0]}**"] if row.kind == "group" else texts)
    return tabulate(
        rows,
        headers=[escaped(text) for text in grid.header],
        tablefmt="github",
        disable_numparse=True,
        colalign=[_ALIGN[letter] for letter in grid.align],
    )


def _piece(text: str, strong: bool) -> str:
    before, after = " " * text.startswith(" "), " " * text.endswith(" ")
    return f"{before}**{escaped(text)}**{after}" if strong else before + escaped(text) + after


def _bullets(texts: Sequence[str]) -> str:
    return "\n".join(f"- {escaped(text)}" for text in texts)


_MARKS = re.compile(r"([\\`*_<|~\[\]$])")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_LINK = re.compile(r"(?<=\w):(?=//)|(?<=\S)@(?=\S)|(?<=\bwww)\.", re.IGNORECASE)
_BLOCK = re.compile(r"^(?:(?=#+(?:\s|$)|>|[-+=](?:\s|$)|-+$|=+$)|(\d+)(?=[.)](?:\s|$)))")


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line.

    No emphasis, link, picture, formula, HTML or list.
    """
    shown = _MARKS.sub(r"\\\1", printable(" ".join(text.split())))
    shown = _LINK.sub(lambda found: f"\\{found[0]}", _ENTITY.sub(r"\&", shown))
    return _BLOCK.sub(lambda found: f"{found[1] or ''}\\", shown)
