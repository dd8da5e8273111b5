"""Times as a person says them."""

from __future__ import annotations

from locbench.printable import duration


def test_durations() -> None:
    times = {5: "5 s", 720: "12 min", 3 * 3600 + 300: "3 h 05 min", 52 * 3600: "2 d 4 h"}
    assert {seconds: duration(seconds) for seconds in times} == times
