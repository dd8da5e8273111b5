"""Derived values, with numbers worked by hand."""

from __future__ import annotations

import pytest
from report_builders import make_record, make_table, recipe_at, reduced

from locbench.report.compare import compare
from locbench.report.derived import derive
from locbench.spec.tables import Derived, Metric


def test_formulas():
    assert derive("difference", 8.08, 11.63) == pytest.approx(3.55)
    assert derive("reduction", 1.5, 2.0) == pytest.approx(25.0)
    assert derive("reduction", 1.5, 0.0) is None
    assert derive("difference", None, 2.0) is None


def derived_table(printed: list[str]):
    metrics = {"test_err": Metric(unit="%", better="lower")}
    derived = Derived(
        label="drop",
        metric="test_err",
        unit="pp",
        formula="difference",
        against={"CIFAR-10 / DGL": "CIFAR-10 / PredSim"},
        printed={"CIFAR-10 / DGL": printed},
    )
    published = {"test_err": {"DGL": ["8.08", "7.0"], "PredSim": ["11.63", "10.0"]}}
    return make_table(published, metrics=metrics, derived=[derived])


def test_derived_from_the_papers_numbers_and_from_ours():
    table = derived_table(["3.55", "3.1"])
    records = [
        make_record(recipe_at(table, "DGL"), 92.0),
        make_record(recipe_at(table, "PredSim"), 89.0),
    ]
    (comparison,) = compare(table, records)
    first, second = comparison.derived
    assert first.from_published == pytest.approx(3.55)
    assert first.from_measured == pytest.approx(3.0)
    assert (first.agrees, first.reduced, first.reference) == (True, False, "CIFAR-10 / PredSim")
    assert (second.from_measured, second.agrees) == (None, False)
    assert comparison.notes == (
        "drop of CIFAR-10 / DGL (K=8): the paper prints 3.1, its own numbers give 3.0.",
    )


def test_derived_of_reduced_runs_is_marked_and_unprinted_ones_need_a_measurement():
    table = derived_table(["", ""])
    rows = {"DGL": 40.0, "PredSim": 30.0}
    records = [
        make_record(reduced(recipe_at(table, row), "quick"), accuracy)
        for row, accuracy in rows.items()
    ]
    (comparison,) = compare(table, records)
    (value,) = comparison.derived
    assert value.from_measured == pytest.approx(10.0)
    assert (value.reduced, value.printed, value.agrees) == (True, None, None)
    assert comparison.notes == ()
