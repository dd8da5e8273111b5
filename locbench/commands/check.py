"""What ``locbench report --check`` does: say what fails, and fail."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from locbench.commands.report import Selection, compared
from locbench.console import Output, Terminal
from locbench.errors import FailureError, UsageError
from locbench.report.check import Check, checked
from locbench.report.compare import unmeasured
from locbench.report.model import Verdict
from locbench.terminal.lines import say


def check_tables(
    table_ids: Sequence[str],
    folders: Sequence[Path],
    selection: Selection,
    *,
    also: Sequence[Verdict],
    tolerance: float,
    as_json: bool,
) -> None:
    """Check the numbers of tables; without ids, of all that have records.

    Raises:
        FailureError: a number fails.
        UsageError: the tolerance is no distance; or see `compared`.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise UsageError(f"--tolerance is {tolerance}", "Give a distance, such as 0.5.")
    found = [
        (table, comparisons or [unmeasured(table)])
        for table, comparisons in compared(table_ids, folders, selection)
    ]
    check = checked(found, also, tolerance)
    summary = _summary(check, len(found))

    def view(console: Terminal) -> None:
        for failure in check.failures:
            say(console, failure.words)
        if check.passed:
            say(console, summary)

    Output(as_json).show(lambda: _entry(check), view)
    if not check.passed:
        counts = Counter(failure.entry.verdict for failure in check.failures)
        listed = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        raise FailureError(f"the check failed: {listed}. {summary}")


def _summary(check: Check, tables: int) -> str:
    values = f"{check.judged} value{'' if check.judged == 1 else 's'}"
    where = f"{tables} table{'' if tables == 1 else 's'}"
    off = sum(failure.entry.verdict == "off" for failure in check.failures)
    words = [f"{values} judged in {where}, {off} off"]
    if check.tolerated:
        words.append(f"{check.tolerated} within the tolerance")
    if check.explained:
        words.append(f"{check.explained} off as notes of their tables explain")
    return f"{', '.join(words)}."


def _entry(check: Check) -> dict[str, object]:
    return {"passed": check.passed} | msgspec.structs.asdict(check)
