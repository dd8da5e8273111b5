"""Which numbers of a report are not the paper's, for programs that must not go on then."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

from locbench.report.formatting import difference_text, measured_text
from locbench.report.model import Entry, TableComparisons, Verdict
from locbench.report.text import metric_label
from locbench.spec.tables import Table


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A value that fails a check.

    Attributes:
        table: the table's id.
        words: what it is and why it fails, in one line.
        entry: the value.
    """

    table: str
    words: str
    entry: Entry


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What a check has looked at.

    Attributes:
        judged: how many values match or are off; one that stands in several comparisons counts
            once.
        explained: how many of them are off as a note of their table explains, which is no failure.
        tolerated: how many are off by no more than the tolerance.
        failures: the others that are off, and what else was asked for.
    """

    judged: int
    explained: int
    tolerated: int
    failures: tuple[Failure, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing fails."""
        return not self.failures


def checked(
    found: Sequence[TableComparisons], also: Collection[Verdict] = (), tolerance: float = 0.0
) -> Check:
    """Check the comparisons of tables: a value fails if it is off.

    Reduced runs are never off. Neither is a counted value that a note of its table explains.

    Args:
        found: tables with their comparisons.
        also: further verdicts that fail. ``failed`` does in any comparison, and ``missing`` where
            no comparison has a number; costs that only a device tells are never missing.
        tolerance: largest difference from the paper, in the unit of each number, that passes.
    """
    judged = explained = tolerated = 0
    failures: list[Failure] = []
    for table, comparisons in found:
        entries = [entry for comparison in comparisons for entry in comparison.entries]
        offs = {_place(entry): entry for entry in entries if entry.verdict in ("match", "off")}
        judged += len(offs)
        for entry in offs.values():
            if entry.verdict == "off":
                if entry.kind != "trained" and table.notes_of(entry.metric):
                    explained += 1
                elif entry.difference is not None and abs(entry.difference) <= tolerance:
                    tolerated += 1
                else:
                    failures.append(_failure(table, entry))
        failures += [_failure(table, entry) for entry in _others(entries, also)]
    return Check(judged=judged, explained=explained, tolerated=tolerated, failures=tuple(failures))


def _others(entries: Sequence[Entry], also: Collection[Verdict]) -> Iterator[Entry]:
    if "failed" in also:
        yield from (entry for entry in entries if entry.verdict == "failed")
    if "missing" in also:
        there = {_place(entry) for entry in entries if entry.verdict != "missing"}
        lacking = {
            _place(entry): entry
            for entry in entries
            if _place(entry) not in there and entry.kind != "measured"
        }
        yield from lacking.values()


def _place(entry: Entry) -> tuple[str, str, str]:
    return entry.row, entry.column, entry.metric


def _failure(table: Table, entry: Entry) -> Failure:
    words = f"{entry.verdict}: {table.id}: {entry.row}, {entry.column}: "
    words += metric_label(table, entry.metric)
    if entry.measured is not None:
        words += f" {measured_text(entry)}"
        words += f", paper {entry.published.text}" if entry.published else ""
        words += f", ours - paper {difference_text(entry)}" if entry.difference is not None else ""
    elif entry.detail:
        words += f", {entry.detail}"
    return Failure(table=table.id, words=" ".join(words.split()), entry=entry)
