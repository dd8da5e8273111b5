"""How numbers are written in reports, before a format escapes them."""

from __future__ import annotations

from locbench.report.model import Comparison, DerivedValue, Entry, Rank, Verdict
from locbench.spec.tables import Published

DAGGER = "†"
"""Stands on every number of a reduced run."""

OWN = "‡"
"""Stands on the label of a row or column of one's own beside published ones."""

NOTHING = "—"
"""Stands where nothing was run."""

_DECIMALS = 2


def measured_text(entry: Entry) -> str:
    """Return ``88.52 ± 0.10 (3)``: mean, spread, number of seeds, and a dagger if reduced.

    Empty without a number.
    """
    return number_text(entry) + _mark(entry.verdict == "reduced" and entry.measured is not None)


def number_text(entry: Entry, *, seeds: bool = True, decimals: int | None = None) -> str:
    """Return mean, spread and, unless it is left to a caption, the number of seeds.

    Empty without a number. Without ``decimals`` there are as many as the paper prints, of trained
    numbers at least two.
    """
    if entry.measured is None:
        return ""
    if isinstance(entry.measured, str):
        return entry.measured
    decimals = _decimals(entry) if decimals is None else decimals
    spread = "" if entry.std is None else f" ± {entry.std:.{decimals}f}"
    counted = f" ({entry.n})" if entry.n and seeds else ""
    return f"{entry.measured:.{decimals}f}{spread}{counted}"


def ours_text(entry: Entry) -> str:
    """Return what was measured and its verdict, or why there is nothing.

    As in ``87.90 ± 0.10 (3) off by -0.67``. A predicted cost stands beside its distance from the
    paper's and its ratio to it: ``0.51 (-1.11, 31 %)``.
    """
    if entry.measured is None:
        return NOTHING if entry.verdict == "missing" else entry.verdict
    words = {
        "match": "match",
        "off": f"off by {difference_text(entry)}" if entry.difference is not None else "off",
        "predicted": f"({difference_text(entry)}, {ratio_text(entry)})"
        if entry.ratio is not None
        else "",
        "unconfirmed": f"unconfirmed, {difference_text(entry)}"
        if entry.difference is not None
        else "unconfirmed",
    }
    return " ".join(filter(None, [measured_text(entry), words.get(entry.verdict, "")]))


def difference_text(entry: Entry) -> str:
    """Return measured - published with its sign; empty where it is not taken."""
    return "" if entry.difference is None else f"{entry.difference:+.{_decimals(entry)}f}"


def ratio_text(entry: Entry) -> str:
    """Return measured / published in percent; empty where it is not taken."""
    return "" if entry.ratio is None else f"{100 * entry.ratio:.0f} %"


def best_text(entry: Entry) -> str:
    """Return the best epoch's mean, with a dagger if reduced; empty where there is none."""
    return (
        ""
        if entry.best is None
        else f"{entry.best:.{_decimals(entry)}f}{_mark(entry.verdict == 'reduced')}"
    )


def derived_texts(value: DerivedValue) -> tuple[str, str, str]:
    """Return a derived value as printed, from the paper's numbers, and from ours."""
    decimals = (
        value.printed.decimals if value.printed and value.printed.value is not None else _DECIMALS
    )
    own = "" if value.from_published is None else f"{value.from_published:.{decimals}f}"
    ours = (
        ""
        if value.from_measured is None
        else f"{value.from_measured:.{decimals}f}{_mark(value.reduced)}"
    )
    return published_text(value.printed), own, ours or NOTHING


def published_text(published: Published | None) -> str:
    """Return a published value as the paper prints it; empty where it prints nothing."""
    return "" if published is None else published.text


def gigabytes(count: float | None) -> str:
    """Return bytes in GB, those of small networks in hundred-thousandths; empty for None."""
    return "" if count is None else f"{count / 1e9:.{3 if count >= 1e8 else 5}f}"


def decimal(number: float | None, digits: int) -> str:
    """Return a number with so many decimals; empty for None."""
    return "" if number is None else f"{number:.{digits}f}"


def tau_text(rank: Rank, reduced: bool) -> str:
    """Return a tau with its interval and number of cells, or why there is none."""
    cells = f"{rank.n} cell{'' if rank.n == 1 else 's'}"
    if rank.why == "at chance":
        return (
            f"all {cells} at chance, not ranked" if rank.n > 1 else f"{cells} at chance, not ranked"
        )
    if rank.tau is None or rank.low is None or rank.high is None:
        return f"{cells} not ranked: {rank.why}"
    guessed = f", {rank.at_chance} of them at chance" if rank.at_chance else ""
    # No minus zero.
    tau, low, high = (f"{round(each, 2) + 0.0:.2f}" for each in (rank.tau, rank.low, rank.high))
    return f"{tau}{_mark(reduced)} ({low} to {high}) over {cells}{guessed}"


def verdict_words(comparison: Comparison) -> str:
    """Return ``12 values: 3 match, 1 off, 8 missing``.

    What the paper prints in words is counted apart.
    """
    counted = (("value", comparison.counts), ("text", comparison.text_counts))
    words = "; ".join(_counted(kind, counts) for kind, counts in counted if counts) or "no values"
    hidden = (
        f"; {comparison.hidden:,} more in rows and columns of which nothing was run are left out"
    )
    return words + (hidden if comparison.hidden else "")


def _counted(kind: str, counts: dict[Verdict, int]) -> str:
    total = sum(counts.values())
    listed = ", ".join(f"{count:,} {verdict}" for verdict, count in counts.items())
    return f"{total:,} {kind}{'' if total == 1 else 's'}: {listed}"


def _decimals(entry: Entry) -> int:
    """Return the decimals to show: as the paper prints, and at least two where seeds spread."""
    printed = _DECIMALS if entry.published is None else entry.published.decimals
    return max(printed, _DECIMALS) if entry.kind == "trained" else printed


def _mark(reduced: bool) -> str:
    return DAGGER if reduced else ""
