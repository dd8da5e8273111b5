"""The document model: what a report shows, before a format writes it."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, TypeAlias

import msgspec

from locbench.report.model import ClaimVerdict, Entry, Verdict

Tone: TypeAlias = Literal["plain", "quiet", "reduced"]
"""How loud a text is: quiet ones explain and name sources, and reduced ones warn."""


class Heading(msgspec.Struct, frozen=True):
    """The title of a report (level 1) or of a section (level 2)."""

    level: int
    text: str
    tone: Tone = "plain"


class Paragraph(msgspec.Struct, frozen=True):
    """One or more sentences."""

    text: str
    tone: Tone = "plain"


class Bullets(msgspec.Struct, frozen=True):
    """A list."""

    texts: tuple[str, ...]
    tone: Tone = "plain"


class Cell(msgspec.Struct, frozen=True):
    """A cell of a grid.

    Attributes:
        text: what it shows in words.
        entry: the value that it shows, with spread, seeds and published value; None of other texts.
        verdict: of that value, or of a claim; None of other texts.
        strong: parts of the text that stand out, each as start and end.
    """

    text: str
    entry: Entry | None = None
    verdict: Verdict | ClaimVerdict | None = None
    strong: tuple[tuple[int, int], ...] = ()

    @property
    def parts(self) -> tuple[tuple[str, bool], ...]:
        """The text in pieces, each with whether it stands out."""
        edges = [0, *(edge for span in self.strong for edge in span), len(self.text)]
        pieces = [self.text[start:end] for start, end in pairwise(edges)]
        return tuple((text, index % 2 == 1) for index, text in enumerate(pieces) if text)


class Row(msgspec.Struct, frozen=True):
    """A row of a grid.

    ``group`` rows have one cell, the heading of the rows below; ``paper`` rows have the published
    numbers of the row above.
    """

    cells: tuple[Cell, ...]
    kind: Literal["group", "ours", "paper"] = "ours"


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """Rows and columns with what belongs to them.

    Attributes:
        title: which published table it is of.
        caption: what it shows of that; empty if the title says it.
        label: its name for references, unique over all reports.
        header: one text per column.
        align: one letter per column: ``l`` for words, ``r`` for numbers.
        rows: from top to bottom.
        runs: which runs on which data its numbers are of; empty if they are of none.
        metrics: (name, label) of the metrics of its entries; empty without entries.
        remarks: what follows from its numbers.
        reading: what a reader must know of its numbers, in sentences without full stops; empty if
            a format finds it by the entries.
        own: labels of rows and columns of one's own, which the paper does not have.
    """

    title: str
    caption: str
    label: str
    header: tuple[str, ...]
    align: str
    rows: tuple[Row, ...]
    runs: str = ""
    metrics: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    reading: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The values that it shows, row by row."""
        return tuple(
            cell.entry for row in self.rows for cell in row.cells if cell.entry is not None
        )


Block: TypeAlias = Heading | Paragraph | Bullets | Grid
