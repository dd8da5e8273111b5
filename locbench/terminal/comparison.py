"""Reports on the terminal: ours and the paper's side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from locbench.report.document import Block, Bullets, Grid, Heading, Paragraph, Tone
from locbench.report.formatting import (
    NOTHING,
    OWN,
    best_text,
    difference_text,
    measured_text,
    published_text,
    ratio_text,
)
from locbench.report.model import ClaimVerdict, Entry, Verdict
from locbench.report.text import split_label
from locbench.terminal.columns import WIDE, empty_table

STYLES: dict[Verdict | ClaimVerdict, str] = {
    "match": "green",
    "off": "red",
    "unconfirmed": "yellow",
    "predicted": "",
    "measured": "",
    "reduced": "cyan",
    "own": "",
    "missing": "dim",
    "failed": "bold red",
    "blocked": "magenta",
    "holds": "green",
    "does not hold": "red",
    "undecided": "yellow",
    "not run": "dim",
}
"""Colour of each verdict; the word is beside it, so that nothing depends on colour."""

TONES: dict[Tone, str] = {"plain": "", "quiet": "dim", "reduced": "cyan"}


def print_blocks(console: Console, blocks: Iterable[Block]) -> None:
    """Print blocks of a report; values are listed one per line, with what is known of each."""
    for block in blocks:
        match block:
            case Heading():
                console.print(Text("\n" * (block.level > 1) + block.text, _heading(block.tone)))
            case Paragraph():
                console.print(Text(block.text, TONES[block.tone]))
            case Bullets():
                _print_bullets(console, block.texts, TONES[block.tone])
            case Grid():
                for metric, label in block.metrics:
                    _print_values(console, block, metric, label)
                if not block.metrics:
                    _print_grid(console, block)
                _print_bullets(console, block.remarks)


def _heading(tone: Tone) -> str:
    return f"bold {TONES[tone]}".rstrip()


def _print_bullets(console: Console, texts: Iterable[str], style: str = "") -> None:
    for text in texts:
        console.print(Text(f"- {text}", style))


def _print_grid(console: Console, grid: Grid) -> None:
    header = [
        _two_lines(head) if letter == "r" else head
        for head, letter in zip(grid.header, grid.align, strict=True)
    ]
    table = empty_table(header, grid.align, title=grid.caption, ruled=True)
    for row in grid.rows:
        bold = "bold" if row.kind == "group" else ""
        table.add_row(
            *(Text(cell.text, STYLES[cell.verdict] if cell.verdict else bold) for cell in row.cells)
        )
    console.print(Padding(table, (1, 0, 0, 0)))


def _two_lines(name: str) -> str:
    """Return a column's head broken where its second half begins."""
    for mark in (", ", " / ", " "):
        if mark in name:
            return name.replace(mark, f"{mark.rstrip()}\n", 1)
    return name


def _marked(text: str, label: str, grid: Grid) -> str:
    return text + OWN if label in grid.own else text


_COLUMNS: tuple[tuple[str, Callable[[Entry], str], bool], ...] = (
    ("ours ± std (n)", lambda entry: measured_text(entry) or NOTHING, True),
    ("paper", lambda entry: published_text(entry.published), True),
    ("at best epoch", best_text, False),
    ("ours - paper", difference_text, True),
    ("ours / paper", ratio_text, False),
)
"""Head and text of the columns of values, and whether narrow terminals have them too."""


def _print_values(console: Console, grid: Grid, metric: str, label: str) -> None:
    """Print the values of one metric, without the rows of which nothing was run if others were."""
    entries = [entry for entry in grid.entries if entry.metric == metric]
    started = {entry.row for entry in entries if entry.verdict not in ("missing", "blocked")}
    shown = [entry for entry in entries if entry.row in started] or entries
    columns = [
        (head, text)
        for head, text, narrow in _COLUMNS
        if (narrow or console.width >= WIDE) and any(map(text, shown))
    ]
    header = (grid.header[0] or "row", "column", *(head for head, _ in columns), "verdict")
    table = empty_table(header, f"ll{'r' * len(columns)}l", title=label, ruled=True)
    previous = (grid.header[0], "")
    for entry in shown:
        group, name = split_label(entry.row)
        if group not in ("", previous[0]):
            table.add_row(Text(group, "bold"))
        style = STYLES[entry.verdict]
        texts = [Text(text(entry)) for _, text in columns]
        texts[0].stylize(style)
        shown_name = Text(_marked(name, entry.row, grid) if (group, name) != previous else "")
        column = Text(_marked(entry.column, entry.column, grid))
        table.add_row(shown_name, column, *texts, Text(entry.verdict, style))
        previous = (group, name)
    console.print(Padding(table, (1, 0, 0, 0)))
    if hidden := len(entries) - len(shown):
        words = f"{label}: {hidden} values in rows of which nothing was measured are not listed."
        console.print(Text(words, "dim"))
