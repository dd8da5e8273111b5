"""The rule for verdicts, with values worked by hand."""

from __future__ import annotations

import pytest

from locbench.report.verdicts import equal_as_printed, judge_computed, judge_trained, tolerance
from locbench.spec.tables import parse_published


def printed(text: str, kind: str = "trained"):
    return parse_published(text, kind)


@pytest.mark.parametrize(
    ("std", "n", "published_std", "expected"),
    [
        (0.0, 3, None, 0.1),  # never below 0.1
        (0.08, 4, None, 0.1),  # 2 * 0.08 / 2 = 0.08
        (0.3, 4, None, 0.3),  # 2 * 0.3 / 2
        (0.6, 4, 0.4, 1.0),  # 2 * sqrt(0.09 + 0.16)
    ],
)
def test_tolerance(std, n, published_std, expected):
    assert tolerance(std, n, published_std) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mean", "std", "n", "text", "verdict"),
    [
        (90.10, 0.0, 3, "90.00", "match"),  # the bound itself, in spite of binary fractions
        (89.90, 0.0, 3, "90.00", "match"),
        (90.11, 0.0, 3, "90.00", "off"),
        (90.30, 0.3, 4, "90.00", "match"),
        (90.31, 0.3, 4, "90.00", "off"),
        (91.00, 0.6, 4, "90.00 ± 0.4", "match"),
        (91.01, 0.6, 4, "90.00 ± 0.4", "off"),
        (90.00, 0.0, 2, "90.00", "unconfirmed"),
        (50.00, 0.0, 2, "90.00", "unconfirmed"),
        (90.00, None, 1, "90.00", "unconfirmed"),
    ],
)
def test_trained(mean, std, n, text, verdict):
    assert judge_trained(mean, std, n, printed(text)) == verdict


@pytest.mark.parametrize(
    ("value", "text", "equal"),
    [
        (0.864, "0.86", True),
        (0.8651, "0.86", False),
        (0.865, "0.86", True),  # a half may be rounded either way
        (0.865, "0.87", True),
        (0.855, "0.86", True),
        (0.8549, "0.86", False),
        (3.5, "4", True),
        (3.49, "4", False),
    ],
)
def test_exact_after_the_papers_rounding(value, text, equal):
    assert equal_as_printed(value, printed(text)) is equal
    assert judge_computed(value, "exact", printed(text)) == ("match" if equal else "off")


def test_text_is_equal_or_not():
    assert judge_computed("AP-10FC", "text", printed("AP-10FC", "text")) == "match"
    assert judge_computed("AP-11FC", "text", printed("AP-10FC", "text")) == "off"


def test_costs_of_devices_are_not_judged():
    assert judge_computed(1.62, "predicted", printed("1.62")) == "predicted"
    assert judge_computed(9.9, "measured", printed("1.62")) == "measured"
