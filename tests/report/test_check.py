"""Which values fail a check, by hand."""

from __future__ import annotations

import msgspec
from report_builders import make_record, make_table, recipe_at, reduced

from locbench.report.check import checked
from locbench.report.compare import compare, unmeasured
from locbench.report.model import Comparison
from locbench.spec.tables import Metric, Note, Table


def example() -> tuple[Table, list[Comparison]]:
    """DGL matches 90.00, Head is off by -3.50, PredSim failed, and all else was not run."""
    printed = {
        "DGL": ["90.00", "80.00"],
        "BP": ["90.00", ""],
        "PredSim": ["70.00", ""],
        "Head": ["90.00", "79.00"],
    }
    table = make_table({"test_acc": printed})
    records = [make_record(recipe_at(table, "DGL"), 89.9 + seed / 10, seed) for seed in range(3)]
    records += [make_record(recipe_at(table, "Head"), 86.0 + seed / 2, seed) for seed in range(3)]
    records += [make_record(recipe_at(table, "PredSim"), None)]
    records += [make_record(reduced(recipe_at(table, "BP"), "quick"), 50.0)]
    return table, compare(table, records)


def test_what_is_off_fails_in_one_line() -> None:
    check = checked([example()])
    assert not check.passed
    assert (check.judged, check.explained, check.tolerated) == (2, 0, 0)
    # The mean of 86.0, 86.5 and 87.0, which deviate by 0.5.
    assert [failure.words for failure in check.failures] == [
        "off: example: CIFAR-10 / Head, K=16: Test accuracy (%) 86.50 ± 0.50 (3), paper 90.00, "
        "ours - paper -3.50"
    ]


def test_a_tolerance_is_a_distance_that_passes() -> None:
    assert len(checked([example()], tolerance=3.4).failures) == 1
    check = checked([example()], tolerance=3.5)
    assert check.passed
    assert check.tolerated == 1


def test_runs_that_failed_fail_if_asked() -> None:
    failures = checked([example()], ("failed",), tolerance=5).failures
    assert [failure.words for failure in failures] == [
        "failed: example: CIFAR-10 / PredSim, K=16: Test accuracy (%), seed 0 failed: loss is nan"
    ]


def test_missing_is_what_no_run_has_full_or_reduced() -> None:
    failures = checked([example()], ("missing",), tolerance=5).failures
    assert [(failure.entry.row, failure.entry.column) for failure in failures] == [
        ("CIFAR-10 / DGL", "K=8"),
        ("CIFAR-10 / Head", "K=8"),
    ]
    table = make_table()
    assert len(checked([(table, [unmeasured(table)])], ("missing",)).failures) == 8


def test_reduced_runs_are_never_off() -> None:
    table = make_table()
    record = make_record(reduced(recipe_at(table, "DGL"), "quick"), 10.0)
    check = checked([(table, compare(table, [record]))])
    assert check.passed
    assert check.judged == 0


def test_counts_fail_unless_a_note_explains_them_and_count_once() -> None:
    metrics = {"params": Metric(unit="M", kind="exact", better="lower"), "test_acc": Metric("%")}
    table = make_table(
        {"params": {"DGL": ["0.86", "0.90"]}, "test_acc": {"DGL": ["90.00", "80.00"]}},
        metrics=metrics,
    )
    values = {
        ("CIFAR-10 / DGL", "K=16"): {"params": 0.8649},
        ("CIFAR-10 / DGL", "K=8"): {"params": 0.8949},
    }
    recipe = recipe_at(table, "DGL")
    records = [make_record(reduced(recipe, how), 50.0) for how in ("quick", "smoke")]
    comparisons = compare(table, records, values)
    assert len(comparisons) == 2  # the counts stand in both
    check = checked([(table, comparisons)])
    assert check.judged == 2
    assert [failure.words for failure in check.failures] == [
        "off: example: CIFAR-10 / DGL, K=8: Parameters (M) 0.89, paper 0.90, ours - paper -0.01"
    ]
    noted = msgspec.structs.replace(table, noted=[Note("Rounded otherwise.", ["params"])])
    check = checked([(noted, comparisons)])
    assert check.passed
    assert check.explained == 1


def test_costs_of_devices_are_not_missing() -> None:
    metrics = {"wall_clock_overhead": Metric(unit="%", kind="measured", better="lower")}
    table = make_table({"wall_clock_overhead": {"DGL": ["10", "20"]}}, metrics=metrics)
    assert checked([(table, [unmeasured(table)])], ("missing",)).passed
