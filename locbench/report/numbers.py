"""How numbers are written in reports, before a format escapes them. Imports no torch."""

from __future__ import annotations

from locbench.report.comparison import DerivedValue, Entry, Verdict
from locbench.tables import Published

DAGGER = "†"
"""Stands on every number of a reduced run."""

NOTHING = "—"
"""Stands where nothing was run."""

_DECIMALS = 2


def measured_text(entry: Entry) -> str:
    """Return ``88.52 ± 0.10 (3)``: mean, spread, number of seeds, and a dagger if reduced; empty without a number."""
    if entry.measured is None:
        return ""
    if isinstance(entry.measured, str):
        return entry.measured
    decimals = _decimals(entry)
    spread = "" if entry.std is None else f" ± {entry.std:.{decimals}f}"
    seeds = f" ({entry.n})" if entry.n else ""
    return f"{entry.measured:.{decimals}f}{spread}{seeds}{_mark(entry.verdict == 'reduced')}"


def ours_text(entry: Entry) -> str:
    """Return what was measured and its verdict, or why there is nothing: ``87.90 ± 0.10 (3) off by -0.67``."""
    if entry.measured is None:
        return NOTHING if entry.verdict == "missing" else entry.verdict
    words = {
        "match": "match",
        "off": f"off by {difference_text(entry)}" if entry.difference is not None else "off",
        "unconfirmed": f"unconfirmed, {difference_text(entry)}" if entry.difference is not None else "unconfirmed",
    }
    return " ".join(filter(None, [measured_text(entry), words.get(entry.verdict, "")]))


def difference_text(entry: Entry) -> str:
    """Return measured - published with its sign; empty where it is not taken."""
    return "" if entry.difference is None else f"{entry.difference:+.{_decimals(entry)}f}"


def best_text(entry: Entry) -> str:
    """Return the best epoch's mean, with a dagger if reduced; empty where there is none."""
    return "" if entry.best is None else f"{entry.best:.{_decimals(entry)}f}{_mark(entry.verdict == 'reduced')}"


def derived_texts(value: DerivedValue) -> tuple[str, str, str]:
    """Return a derived value as printed, from the paper's own numbers, and from the measured ones."""
    decimals = value.printed.decimals if value.printed and value.printed.value is not None else _DECIMALS
    own = "" if value.from_published is None else f"{value.from_published:.{decimals}f}"
    ours = "" if value.from_measured is None else f"{value.from_measured:.{decimals}f}{_mark(value.reduced)}"
    return published_text(value.printed), own, ours or NOTHING


def published_text(published: Published | None) -> str:
    """Return a published value as the paper prints it; empty where it prints nothing."""
    return "" if published is None else published.text


def tau_text(tau: float | None, n: int, reduced: bool) -> str:
    """Return a rank correlation and over how many cells it is taken."""
    cells = f"{n} cell{'' if n == 1 else 's'}"
    return f"not defined over {cells}" if tau is None else f"{tau:.2f}{_mark(reduced)} over {cells}"


def time_text(seconds: float) -> str:
    """Return a duration in its two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def verdict_words(counts: dict[Verdict, int]) -> str:
    """Return ``12 values: 3 match, 1 off, 8 missing``."""
    total = sum(counts.values())
    listed = ", ".join(f"{count:,} {verdict}" for verdict, count in counts.items())
    return f"{total:,} value{'' if total == 1 else 's'}: {listed}" if total else "no values"


def _decimals(entry: Entry) -> int:
    """Return the decimals to show: as the paper prints, and at least two where seeds spread."""
    printed = _DECIMALS if entry.published is None else entry.published.decimals
    return printed if entry.kind == "exact" else max(printed, _DECIMALS)


def _mark(reduced: bool) -> str:
    return DAGGER if reduced else ""
