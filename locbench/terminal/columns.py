"""Columns of numbers, in as many grids as the width needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

LABELS = (16, 30)
"""Characters that labels have at least, and that they have before they are wrapped."""

WIDE = 100
"""Columns of the terminal from which on a table has all its columns."""

_GAP = 2


@dataclass(frozen=True)
class Column:
    """One column of texts, which are never wrapped.

    Attributes:
        head: two lines.
        texts: one per row.
        left: justified left, as words are.
    """

    head: tuple[str, str]
    texts: tuple[Text, ...]
    left: bool = False

    @property
    def filled(self) -> bool:
        """Whether there is anything in it."""
        return any(text.plain for text in self.texts)

    @property
    def width(self) -> int:
        """Characters that it takes, with the gap before it."""
        return _GAP + max(*map(len, self.head), *(text.cell_len for text in self.texts))


@dataclass(frozen=True)
class Group:
    """Columns that stay together.

    Attributes:
        columns: from left to right; empty ones are left out.
        before: columns of another group that stand before them where the group begins a grid.
    """

    columns: tuple[Column, ...]
    before: tuple[Column, ...] = ()


@dataclass(frozen=True)
class Labels:
    """The first column of every grid.

    Attributes:
        head: above it.
        groups: the heading that each row stands under; empty for none.
        own: each row's label.
    """

    head: str
    groups: tuple[str, ...]
    own: tuple[str, ...]

    def width(self, room: int) -> int:
        """Return the characters that they take where there is room for so many.

        Longer labels are wrapped.
        """
        least, most = LABELS
        longest = max(map(len, (self.head, *self.groups, *(f"  {each}" for each in self.own))))
        return min(longest, max(least, min(most, room)))


def empty_table(
    header: Sequence[str], align: str, *, title: str = "", ruled: bool = False
) -> Table:
    """Return a table without rows.

    Args:
        header: one text per column.
        align: one letter per column: words (``l``) are folded where there is no room, numbers
            (``r``) never are.
        title: above it.
        ruled: whether there is a line below the header.
    """
    table = Table(
        title=Text(title) if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD if ruled else None,
        pad_edge=False,
        padding=(0, 1 if ruled else _GAP, 0, 0),
        header_style="bold",
    )
    for head, letter in zip(header, align, strict=True):
        if letter == "l":
            table.add_column(Text(head), overflow="fold")
        else:
            table.add_column(Text(head), justify="right", no_wrap=True)
    return table


def print_grids(console: Console, labels: Labels, groups: Sequence[Group]) -> None:
    """Print columns beside their labels. No number is wrapped, however narrow the terminal."""
    label = labels.width(
        console.width - max(_width([*group.before, *group.columns]) for group in groups)
    )
    for columns in pack(groups, console.width - label):
        grid = Table(box=None, pad_edge=False, padding=(0, 0, 0, _GAP), header_style="bold")
        grid.width = label + _width(columns)
        above = any(column.head[0] for column in columns)
        grid.add_column(Text("\n" * above + labels.head), width=label)
        for each in columns:
            head = Text("\n".join(each.head) if above else each.head[1])
            grid.add_column(
                head,
                justify="left" if each.left else "right",
                no_wrap=True,
                width=each.width - _GAP,
            )
        for name, index in _lines(labels):
            grid.add_row(name, *(() if index is None else (each.texts[index] for each in columns)))
        console.print(grid, crop=False)
        console.print()


def pack(groups: Sequence[Group], width: int) -> list[list[Column]]:
    """Return the columns of every grid: as many groups as have room, and at least one."""
    grids: list[list[Column]] = []
    for group in groups:
        columns, before = _filled(group.columns), _filled(group.before)
        if columns and grids and _width([*grids[-1], *columns]) <= width:
            grids[-1] += columns
        elif columns:
            grids.append([*before, *columns])
    return grids


def _width(columns: Sequence[Column]) -> int:
    return sum(each.width for each in _filled(columns))


def _filled(columns: Sequence[Column]) -> list[Column]:
    return [each for each in columns if each.filled]


def _lines(labels: Labels) -> Iterator[tuple[Text, int | None]]:
    """Yield the first cell of every line, and which row it is of; a heading is of none."""
    current = ""
    for index, (group, own) in enumerate(zip(labels.groups, labels.own, strict=True)):
        if group and group not in (current, labels.head):
            yield Text(group, style="bold"), None
        current = group
        yield Text(f"  {own}" if group and group != labels.head else own), index


def grouped_labels(labels: Sequence[tuple[str, str]]) -> Labels:
    """Return (group, own) labels; a group that all rows share is the head."""
    groups = tuple(group for group, _ in labels)
    head = groups[0] if len(set(groups)) == 1 else ""
    return Labels(head, groups, tuple(own for _, own in labels))


def full_label(labels: Labels, index: int) -> str:
    """Return a row's label with its group."""
    return " / ".join(filter(None, (labels.groups[index], labels.own[index])))
