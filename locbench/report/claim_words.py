"""Judged claims in words, before a format escapes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from locbench.report.formatting import DAGGER
from locbench.report.model import ClaimVerdict, JudgedClaim
from locbench.report.text import some

CLAIM_MEANING: dict[ClaimVerdict, str] = {
    "holds": "all comparisons of the claim come out as claimed, by more than two standard errors",
    "does not hold": "at least one comes out otherwise, by more than two standard errors",
    "undecided": "some lie within two standard errors, have one seed and no deviation to take, or are at chance",
    "not run": "numbers are missing, and those that there are do not refute it",
}

SO_FAR = "so far: judged by the comparisons that have their numbers, while others are not run"


def claim_verdict_text(claim: JudgedClaim) -> str:
    """Return the verdict, or that of what was run, with a dagger if a number is of a reduced run."""
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
    """Return what contradicts claims, in our numbers and in the paper's own, and how many were not
    run.
    """
    lines = [
        f"{claim.text}: otherwise for {some(claim.against)}." for claim in claims if claim.against
    ]
    lines += [remark for claim in claims if is_begun(claim) and (remark := paper_remark(claim))]
    left = sum(not is_begun(claim) for claim in claims)
    if left:
        lines.append(
            f"Nothing was run of {left} claim{'s' if left > 1 else ''}; see locbench report --claims."
        )
    return lines


def paper_remark(claim: JudgedClaim) -> str:
    """Return that the paper's own numbers contradict its claim; empty if they do not."""
    agreeing, printed = claim.published_as_claimed, claim.published_comparisons
    if agreeing == printed:
        return ""
    return f"{claim.text}: the paper's own numbers say so in {agreeing} of {printed} comparisons. {claim.note}".strip()


def claim_legend(claims: Iterable[JudgedClaim]) -> str:
    """Return the meaning of the verdicts that occur."""
    begun = [claim for claim in claims if is_begun(claim)]
    found = {claim.so_far for claim in begun}
    meanings = [f"{verdict}: {text}" for verdict, text in CLAIM_MEANING.items() if verdict in found]
    return "; ".join(
        [*meanings, *([SO_FAR] if any(claim.verdict == "not run" for claim in begun) else [])]
    )
