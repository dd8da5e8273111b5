"""How much of a table is known, counted by hand."""

from __future__ import annotations

from collections import Counter

from report_builders import make_record, make_table, recipe_at, reduced

from locbench.report.compare import compare, unmeasured
from locbench.report.scoreboard import pairs_alike, table_score, total_score
from locbench.spec.tables import Metric


def test_full_runs_come_before_reduced_ones_of_the_same_place() -> None:
    table = make_table()
    dgl, bp = recipe_at(table, "DGL"), recipe_at(table, "BP")
    records = [make_record(dgl, acc, seed) for seed, acc in enumerate((89.9, 90.0, 90.1))]
    records += [make_record(reduced(dgl, "quick"), 50.0), make_record(reduced(bp, "quick"), 60.0)]
    score = table_score(table, compare(table, records))
    # Backpropagation has one module whatever K is, so that its run is in both columns.
    assert score.extents == Counter({"full": 1, "reduced": 2, "not run": 5})
    assert (score.numbers, score.match, score.off) == (8, 1, 0)


def test_a_table_without_runs() -> None:
    table = make_table()
    score = table_score(table, [unmeasured(table)])
    assert score.extents == Counter({"not run": 8})
    assert (score.exact, score.match, score.off, score.ranks) == (0, 0, 0, ())


def test_failed_runs_are_told_from_missing_ones() -> None:
    table = make_table()
    record = make_record(recipe_at(table, "DGL"))
    assert table_score(table, compare(table, [record])).extents["failed"] == 1


def test_exact_numbers_that_equal_the_papers() -> None:
    printed = {"DGL": ["0.47", "0.60"], "BP": ["0.47", ""]}
    table = make_table({"params": printed}, metrics={"params": Metric(unit="M", kind="exact")})
    row = "CIFAR-10 / DGL"
    computed = {(row, "K=16"): {"params": 0.4669}, (row, "K=8"): {"params": 0.52}}
    score = table_score(table, compare(table, [], computed))
    assert (score.exact_equal, score.exact) == (1, 2)
    assert score.extents == Counter({"counted": 2, "not run": 1})


def test_pairs_in_the_papers_order() -> None:
    """Ours 51 to 55 beside 10 30 20 40 40: of ten pairs one is tied and one reversed."""
    accuracies = {"DGL": (51, 10), "BP": (52, 30), "PredSim": (53, 20), "Head": (54, 40)}
    printed = {name: [f"{paper:.2f}", ""] for name, (_, paper) in accuracies.items()}
    printed["Head"][1] = "40.00"
    table = make_table({"test_acc": printed})
    records = [make_record(recipe_at(table, name), ours) for name, (ours, _) in accuracies.items()]
    records += [make_record(recipe_at(table, "Head", "K=8"), 55)]
    (comparison,) = compare(table, records)
    assert pairs_alike(comparison.entries) == (8, 9)
    (rank,) = table_score(table, [comparison]).ranks
    assert rank.meaning == "8 of 9 pairs of cells in the paper's order"


def test_what_is_known_of_several_tables_together() -> None:
    table = make_table()
    record = make_record(recipe_at(table, "DGL"), 50.0)
    scores = [table_score(table, compare(table, records)) for records in ([record], [record])]
    assert total_score(scores).extents == Counter({"full": 2, "not run": 14})
    assert total_score(scores).numbers == 16


def test_computed_numbers_are_ranked_once_whatever_runs_there_are() -> None:
    """Two kinds of reduced runs, and predicted memory in the paper's order but for one pair."""
    names = ("DGL", "BP", "PredSim", "Head")
    metrics = {"test_acc": Metric(unit="%"), "gpu_memory": Metric(unit="GB", kind="predicted")}
    table = make_table(
        {
            "test_acc": {name: ["90.00", ""] for name in names},
            "gpu_memory": {name: [f"{1 + i}.0", f"{5 + i}.0"] for i, name in enumerate(names)},
        },
        metrics=metrics,
    )
    ours = {("DGL", "K=16"): 2.0, ("BP", "K=16"): 1.0, ("PredSim", "K=16"): 3.0}
    ours |= {("Head", "K=16"): 4.0, ("DGL", "K=8"): 5.0}
    computed = {
        (f"CIFAR-10 / {row}", column): {"gpu_memory": value}
        for (row, column), value in ours.items()
    }
    recipes = [reduced(recipe_at(table, "DGL"), how) for how in ("quick", "smoke")]
    comparisons = compare(table, [make_record(recipe, 50.0) for recipe in recipes], computed)
    scores = table_score(table, comparisons).ranks
    memory = [score for score in scores if score.metric == "GPU memory (GB)"]
    assert [(score.how, score.alike, score.pairs) for score in memory] == [("", 9, 10)]
    accuracy = [score for score in scores if score.metric == "Test accuracy (%)"]
    assert [score.how for score in accuracy] == [comparison.how for comparison in comparisons]
    assert all(score.reduced for score in accuracy)
