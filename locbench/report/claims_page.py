"""All claims of all tables on one page, in Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from locbench.files import indented_json
from locbench.report.claim_words import (
    CLAIM_MEANING,
    SO_FAR,
    claim_verdict_text,
    comparisons_text,
    paper_remark,
)
from locbench.report.claims import is_computed
from locbench.report.document import Block, Bullets, Cell, Grid, Heading, Row
from locbench.report.machine_formats import as_cell
from locbench.report.model import ClaimVerdict, Comparison, JudgedClaim
from locbench.report.text import heading, some
from locbench.spec.tables import Table

Found = tuple[Table, Sequence[Comparison]]

TITLE = "Claims of the papers"


class ClaimLine(msgspec.Struct, frozen=True):
    """A claim judged by one kind of runs.

    ``runs`` is empty if there are none, ``how`` in full runs.
    """

    table: str
    claim: JudgedClaim
    runs: str
    how: str = ""


def claim_lines(table: Table, comparisons: Sequence[Comparison]) -> list[ClaimLine]:
    """Return a table's claims in its order, each once for every kind of runs that it has numbers
    of.

    Args:
        table: the published table.
        comparisons: at least one, by each of which all claims are judged.
    """
    return [
        line for index in range(len(table.claims)) for line in _lines(table, comparisons, index)
    ]


def _lines(table: Table, comparisons: Sequence[Comparison], index: int) -> Iterator[ClaimLine]:
    if is_computed(table, table.claims[index]):
        claim = comparisons[0].claims[index]
        yield ClaimLine(table.id, claim, "computed" if claim.not_run < claim.comparisons else "")
        return
    begun = [
        each for each in comparisons if each.claims[index].not_run < each.claims[index].comparisons
    ]
    for comparison in begun:
        runs = "reduced" if comparison.reduced else "full"
        yield ClaimLine(table.id, comparison.claims[index], runs, comparison.how)
    if not begun:
        yield ClaimLine(table.id, comparisons[0].claims[index], "")


def summary(lines: Sequence[ClaimLine]) -> list[str]:
    """Return how many claims there are, and how many verdicts of each kind by each kind of runs."""
    claims = len({(line.table, line.claim.text) for line in lines})
    tables = len({line.table for line in lines})
    texts = [f"{claims} claim{'s' * (claims != 1)} of {tables} table{'s' * (tables != 1)}"]
    names = {
        "computed": "by computed costs",
        "full": "by full runs",
        "reduced": "by reduced runs",
        "": "not run",
    }
    for runs, name in names.items():
        own = [line.claim for line in lines if line.runs == runs]
        whole = Counter(claim.verdict for claim in own if not claim.not_run)
        part = Counter(
            claim.so_far for claim in own if claim.not_run and claim.not_run < claim.comparisons
        )
        if own and runs:
            words = [_counted(whole), f"run in part, so far {_counted(part)}" if part else ""]
            texts.append(f"{name}: {'; '.join(filter(None, words))}")
        elif own:
            texts.append(f"{name}: {len(own)}")
    return texts


def _counted(verdicts: Counter[ClaimVerdict]) -> str:
    return ", ".join(f"{verdicts[each]} × {each}" for each in CLAIM_MEANING if verdicts[each])


def claims_blocks(found: Sequence[Found]) -> Iterator[Block]:
    """Yield the page, a section for each table."""
    tables = [(table, claim_lines(table, comparisons)) for table, comparisons in found]
    yield Heading(1, TITLE)
    yield Bullets(tuple(summary([line for _, lines in tables for line in lines])))
    meanings = [f"{verdict}: {meaning}" for verdict, meaning in CLAIM_MEANING.items()]
    yield Bullets((*meanings, SO_FAR), "quiet")
    for table, lines in tables:
        yield Heading(2, heading(table))
        yield Grid(
            title=f"{heading(table)}. {TITLE}",
            caption="",
            label=f"{table.id}-claims",
            header=("claim", "section", "runs", "verdict", "comparisons"),
            align="lllll",
            rows=tuple(_rows(lines)),
            remarks=tuple(_remarks(lines)),
        )


def claims_csv(found: Sequence[Found]) -> str:
    """Return one line per claim and kind of runs as CSV."""
    import pandas as pd  # takes a second to import

    lines = [line for table, comparisons in found for line in claim_lines(table, comparisons)]
    rows = [_flat(line) for line in lines]
    names = ["table", *JudgedClaim.__struct_fields__, "runs", "how"]
    frame = pd.DataFrame(rows, columns=names)
    return str(frame.map(as_cell).to_csv(index=False, lineterminator="\n"))


def claims_json(found: Sequence[Found]) -> str:
    """Return a list of tables with their claims, each with its judgements, as indented JSON."""
    documents = [
        {"table": table.id, "heading": heading(table), "claims": _claims(table, comparisons)}
        for table, comparisons in found
    ]
    return indented_json(documents).decode()


_OF_CLAIM = (
    "text",
    "section",
    "metrics",
    "expect",
    "note",
    "published_as_claimed",
    "published_comparisons",
)


def _claims(table: Table, comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    documents: list[dict[str, Any]] = []
    for line in claim_lines(table, comparisons):
        values = msgspec.to_builtins(line.claim)
        known = {name: values.pop(name) for name in _OF_CLAIM}
        if not documents or documents[-1]["text"] != known["text"]:
            documents.append(known | {"judged": []})
        documents[-1]["judged"].append({"runs": line.runs, "how": line.how} | values)
    return documents


def _flat(line: ClaimLine) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(line.claim)
    joined = {name: "; ".join(values[name]) for name in ("metrics", "expect", "against")}
    return values | joined | {"table": line.table, "runs": line.runs, "how": line.how}


def _rows(lines: Sequence[ClaimLine]) -> Iterator[Row]:
    marks, previous = _marks(lines), ""
    for line in lines:
        claim = line.claim
        named = ("", "") if claim.text == previous else (claim.text, claim.section)
        previous = claim.text
        runs = f"{line.runs} {marks[line.how]}" if line.how else line.runs
        verdict = Cell(claim_verdict_text(claim), verdict=claim.verdict)
        yield Row((*map(Cell, (*named, runs)), verdict, Cell(comparisons_text(claim))))


def _marks(lines: Sequence[ClaimLine]) -> dict[str, str]:
    """Return a letter, or two, for every way of reducing."""
    ways = dict.fromkeys(line.how for line in lines if line.how)
    return {how: _letters(index) for index, how in enumerate(ways)}


def _letters(index: int) -> str:
    return (_letters(index // 26 - 1) if index >= 26 else "") + chr(ord("a") + index % 26)


def _remarks(lines: Sequence[ClaimLine]) -> list[str]:
    marks = _marks(lines)
    remarks = [f"reduced {mark}: {how}." for how, mark in marks.items()]
    for line in lines:
        if line.claim.against:
            runs = f", {line.runs} {marks.get(line.how, '')}".rstrip()
            remarks.append(f"{line.claim.text}{runs}: otherwise for {some(line.claim.against)}.")
    return [*remarks, *dict.fromkeys(filter(None, (paper_remark(line.claim) for line in lines)))]
