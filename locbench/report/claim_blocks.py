"""Judged claims as blocks: of one table, and of all tables on one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from locbench.report.claims import is_computed
from locbench.report.document import Block, Bullets, Cell, Grid, Heading, Row
from locbench.report.formatting import DAGGER
from locbench.report.model import ClaimVerdict, Comparison, JudgedClaim, TableComparisons
from locbench.report.text import heading, some, what_runs
from locbench.spec.tables import Table

TITLE = "Claims of the papers"

CLAIM_MEANING: dict[ClaimVerdict, str] = {
    "holds": "all comparisons of the claim come out as claimed, by more than two standard errors",
    "does not hold": "at least one comes out otherwise, by more than two standard errors",
    "undecided": "some lie within two standard errors, have one seed and no deviation to take, "
    "or are at chance",
    "not run": "numbers are missing, and those that there are do not refute it",
}

SO_FAR = "so far: judged by the comparisons that have their numbers, while others are not run"


def claim_verdict_text(claim: JudgedClaim) -> str:
    """Return the verdict, or that of what was run; a dagger marks reduced runs."""
    part = claim.verdict == "not run" and is_begun(claim)
    words = f"so far {claim.so_far}" if part else claim.verdict
    return f"{words}{DAGGER if claim.reduced else ''}"


def comparisons_text(claim: JudgedClaim) -> str:
    """Return how a claim's comparisons came out: ``7 of 8 as claimed, 3 decided``."""
    run = claim.comparisons - claim.not_run
    seen = claim.as_claimed + claim.undecided_as_claimed
    words = [f"{seen} of {run} as claimed"] if run else []
    if claim.undecided:
        words.append(
            f"{claim.as_claimed + len(claim.against)} decided"
            if run > claim.undecided
            else "none decided"
        )
    if claim.at_chance:
        words.append(f"{claim.at_chance} at chance")
    if claim.not_run:
        words.append(f"{claim.not_run} of {claim.comparisons} not run")
    return ", ".join(words)


def is_begun(claim: JudgedClaim) -> bool:
    """Whether a claim has a comparison with all its numbers."""
    return claim.not_run < claim.comparisons


def claim_remarks(claims: Sequence[JudgedClaim]) -> list[str]:
    """Return what contradicts claims, and of how many nothing was run."""
    lines = [
        f"{claim.text}: otherwise for {some(claim.against)}." for claim in claims if claim.against
    ]
    lines += [remark for claim in claims if is_begun(claim) and (remark := paper_remark(claim))]
    left = sum(not is_begun(claim) for claim in claims)
    if left:
        lines.append(
            f"Nothing was run of {left} claim{'s' if left > 1 else ''}; "
            "see locbench report --claims."
        )
    return lines


def paper_remark(claim: JudgedClaim) -> str:
    """Return that the paper's own numbers contradict its claim; empty if they do not."""
    agreeing, printed = claim.published_as_claimed, claim.published_comparisons
    if agreeing == printed:
        return ""
    share = f"{agreeing} of {printed} comparisons"
    return f"{claim.text}: the paper's own numbers say so in {share}. {claim.note}".strip()


def claim_legend(claims: Iterable[JudgedClaim]) -> str:
    """Return the meaning of the verdicts that occur."""
    begun = [claim for claim in claims if is_begun(claim)]
    found = {claim.so_far for claim in begun}
    meanings = [f"{verdict}: {text}" for verdict, text in CLAIM_MEANING.items() if verdict in found]
    return "; ".join(
        [*meanings, *([SO_FAR] if any(claim.verdict == "not run" for claim in begun) else [])]
    )


def claim_blocks(table: Table, comparison: Comparison, label: str) -> Iterator[Block]:
    """Yield a table's claims judged by one comparison."""
    rows = tuple(
        Row((Cell(claim.text), Cell(claim.section), *_verdict_cells(claim)))
        for claim in comparison.claims
        if is_begun(claim)
    )
    remarks = claim_remarks(comparison.claims)
    if rows:
        yield Grid(
            title=heading(table),
            caption="Claims of the paper",
            label=f"{label}-claims",
            header=("claim", "section", "verdict", "comparisons"),
            align="llll",
            rows=rows,
            runs=what_runs(comparison) if any(claim.reduced for claim in comparison.claims) else "",
            remarks=(f"Verdicts on claims. {claim_legend(comparison.claims)}.", *remarks),
        )
    elif remarks:
        yield Bullets(tuple(remarks))


def _verdict_cells(claim: JudgedClaim) -> tuple[Cell, Cell]:
    verdict = Cell(claim_verdict_text(claim), verdict=claim.verdict)
    return verdict, Cell(comparisons_text(claim))


class ClaimLine(msgspec.Struct, frozen=True):
    """A claim judged by one kind of runs.

    ``runs`` is empty if there are none, ``how`` in full runs.
    """

    table: str
    claim: JudgedClaim
    runs: str
    how: str = ""


def claim_lines(table: Table, comparisons: Sequence[Comparison]) -> list[ClaimLine]:
    """Return a table's claims in its order, once for each kind of runs with numbers.

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


def page_blocks(found: Sequence[TableComparisons]) -> Iterator[Block]:
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


def _rows(lines: Sequence[ClaimLine]) -> Iterator[Row]:
    marks, previous = _marks(lines), ""
    for line in lines:
        claim = line.claim
        named = ("", "") if claim.text == previous else (claim.text, claim.section)
        previous = claim.text
        runs = f"{line.runs} {marks[line.how]}" if line.how else line.runs
        yield Row((*map(Cell, (*named, runs)), *_verdict_cells(claim)))


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
