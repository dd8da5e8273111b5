"""Kendall's tau and derived values, with numbers worked by hand."""

from __future__ import annotations

import pytest
from report_builders import make_record, make_table, recipe_at, reduced

from locbench.report.compare import compare
from locbench.report.derived import derive
from locbench.report.ranks import tau_b
from locbench.spec.tables import Derived, Metric


def test_tau_by_hand():
    # pairs (1,2) (1,3) (1,4) (2,4) (3,4) agree, (2,3) does not: (5 - 1) / 6
    assert tau_b([1.0, 3.0, 2.0, 4.0], [1.0, 2.0, 3.0, 4.0]) == pytest.approx(4 / 6)
    assert tau_b([3.0, 2.0, 1.0], [1.0, 2.0, 3.0]) == pytest.approx(-1.0)
    # one tie among the measured: (2 - 0) / sqrt((3 - 1) * 3)
    assert tau_b([1.0, 1.0, 2.0], [1.0, 2.0, 3.0]) == pytest.approx(2 / 6**0.5)


def test_tau_needs_three_cells_that_differ():
    assert tau_b([1.0, 2.0], [1.0, 2.0]) is None
    assert tau_b([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None


PRINTED = {"DGL": ["84", "86"], "BP": ["93", ""], "PredSim": ["80", "82"], "Head": ["88", "89"]}


def test_ranks_over_the_table_and_along_columns_with_three_cells():
    table = make_table({"test_acc": PRINTED})
    measured = {
        ("DGL", "K=16"): 50.0,
        ("Head", "K=16"): 45.0,
        ("PredSim", "K=16"): 40.0,
        ("Head", "K=8"): 60.0,
    }
    records = [
        make_record(reduced(recipe_at(table, row, column), "quick"), accuracy)
        for (row, column), accuracy in measured.items()
    ]
    (comparison,) = compare(table, records, fewest=3)
    found = {(rank.scope, rank.label): (rank.tau, rank.n) for rank in comparison.ranks}
    # table: only DGL and Head at K=16 stand the wrong way round: (5 - 1) / 6; column K=16: (2 - 1)
    # / 3
    assert found == {
        ("table", ""): (pytest.approx(4 / 6), 4),
        ("column", "K=16"): (pytest.approx(1 / 3), 3),
    }


def test_two_cells_have_no_tau():
    table = make_table({"test_acc": PRINTED})
    records = [make_record(recipe_at(table, row), 50.0) for row in ("DGL", "Head")]
    (comparison,) = compare(table, records, fewest=3)
    assert [(rank.scope, rank.tau, rank.n) for rank in comparison.ranks] == [("table", None, 2)]


def test_failed_and_missing_cells_are_not_ranked_and_metrics_never_mix():
    metrics = {
        "test_acc": Metric(unit="%"),
        "params": Metric(unit="M", kind="exact", better="lower"),
    }
    table = make_table({"test_acc": PRINTED, "params": {"DGL": ["0.9", "0.8"]}}, metrics=metrics)
    records = [make_record(recipe_at(table, row), None) for row in ("DGL", "Head", "PredSim")]
    (comparison,) = compare(table, records, {("CIFAR-10 / DGL", "K=16"): {"params": 0.9}})
    assert comparison.ranks == ()


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
