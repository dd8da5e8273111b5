"""Records held against a small table: entries, verdicts, and that kinds of runs never mix."""

from __future__ import annotations

import time

import msgspec
import pytest
from report_builders import BASE, cell_at, make_record, make_table, recipe_at, reduced

from locbench.report.compare import compare, runs_of, unmeasured
from locbench.spec.presets import SCHEDULE
from locbench.spec.recipe import Recipe
from locbench.spec.tables import Axis, Metric
from locbench.terminal.tables import list_entry


def entry_of(comparison, row, column="K=16", metric="test_acc"):
    (found,) = [
        e
        for e in comparison.entries
        if (e.row, e.column, e.metric) == (f"CIFAR-10 / {row}", column, metric)
    ]
    return found


def test_mean_and_sample_spread_by_hand():
    table = make_table()
    records = [
        make_record(recipe_at(table, "DGL"), acc, seed)
        for seed, acc in enumerate([89.9, 90.0, 90.4])
    ]
    (comparison,) = compare(table, records)
    entry = entry_of(comparison, "DGL")
    # deviations from 90.1 are -0.2, -0.1 and 0.3: 0.14 / 2 = 0.07
    assert entry.measured == pytest.approx(90.1)
    assert entry.std == pytest.approx(0.07**0.5)
    assert entry.n == 3
    assert entry.difference == pytest.approx(0.1)
    assert entry.verdict == "match"
    assert entry.best == pytest.approx(90.6)
    assert (entry.epochs, entry.published_epochs, entry.dataset) == (160, 160, "cifar10")
    assert comparison.data_labels == ("CIFAR-10",)
    assert comparison.counts == {"match": 1, "missing": 7}


def test_one_seed_has_no_spread_and_confirms_nothing():
    table = make_table()
    (comparison,) = compare(table, [make_record(recipe_at(table, "DGL"), 90.0)])
    entry = entry_of(comparison, "DGL")
    assert (entry.n, entry.std, entry.verdict) == (1, None, "unconfirmed")


def test_full_quick_and_smoke_runs_of_one_cell_never_mix():
    table = make_table()
    recipe = recipe_at(table, "DGL")
    quick, smoke = reduced(recipe, "quick"), reduced(recipe, "smoke")
    longer = msgspec.structs.replace(quick, epochs=24)
    records = [make_record(recipe, 90.0 + seed, seed) for seed in range(3)]
    records += [make_record(quick, 40.0), make_record(quick, 42.0, 1), make_record(smoke, 95.0)]
    records += [make_record(longer, 50.0)]
    comparisons = compare(table, reversed(records))
    found = {
        c.how: (c.reduced, entry_of(c, "DGL").measured, entry_of(c, "DGL").n) for c in comparisons
    }
    digits = "data set digits (scikit-learn) instead of CIFAR-10"
    assert comparisons[0].how == ""
    assert found == {
        "": (False, 91.0, 3),
        "12 of 160 epochs, 5,000 training images, batch 64, learning rate 0.05": (True, 41.0, 2),
        "24 of 160 epochs, 5,000 training images, batch 64, learning rate 0.05": (True, 50.0, 1),
        f"{digits}, 4 of 160 epochs, batch 64, learning rate 0.05": (
            True,
            95.0,
            1,
        ),
    }
    for comparison in comparisons[1:]:
        assert entry_of(comparison, "DGL").verdict == "reduced"
        assert entry_of(comparison, "DGL").difference is None


def test_three_reduced_runs_at_the_published_number_are_no_match():
    table = make_table()
    recipe = msgspec.structs.replace(recipe_at(table, "DGL"), dataset="cifar10-jpeg")
    (comparison,) = compare(table, [make_record(recipe, 90.0, seed) for seed in range(3)])
    assert comparison.reduced
    assert comparison.how == "data set CIFAR-10 (JPEG q75) instead of CIFAR-10"
    assert entry_of(comparison, "DGL").verdict == "reduced"


def test_another_warm_up_is_no_full_run():
    table = make_table()
    recipe = msgspec.structs.replace(recipe_at(table, "DGL"), warmup_epochs=0)
    (comparison,) = compare(table, [make_record(recipe, 90.0)])
    assert comparison.how == "warm-up of 0 instead of 10 epochs"
    assert comparison.reduced


def test_records_of_other_runs_are_passed_over():
    table = make_table()
    other = msgspec.structs.replace(recipe_at(table, "DGL"), momentum=0.5)
    assert compare(table, [make_record(other, 90.0)]) == []


def same_run(recipe: Recipe, published: Recipe) -> bool:
    """Whether a recipe is a published one apart from its schedule and seed."""
    schedule = {name: getattr(published, name) for name in SCHEDULE}
    return (
        msgspec.structs.replace(recipe, seed=0, **schedule).key
        == msgspec.structs.replace(published, seed=0).key
    )


def test_groups_agree_with_same_run():
    table = make_table()
    recipes = [cell.recipe for cell in table.cells]
    quick = {recipe.key: recipe for recipe in (reduced(recipe, "quick") for recipe in recipes)}
    records = [make_record(recipe, 50.0 + i) for i, recipe in enumerate(quick.values())]
    (comparison,) = compare(table, records)
    for entry in comparison.entries:
        recipe = recipe_at(table, entry.row, entry.column)
        expected = {r.metrics["test_acc"] for r in records if same_run(r.recipe, recipe)}
        assert {entry.measured} == expected


DATASETS = [
    Axis("CIFAR-10", {"dataset": "cifar10"}),
    Axis("SVHN", {"dataset": "svhn"}),
    Axis("STL-10", {"dataset": "stl10", "batch_size": 128, "lr": 0.1}),
]


def dataset_table(**changes):
    published = {"test_acc": {"DGL": ["90", "91", "70"]}}
    return make_table(published, columns=DATASETS, recipe=BASE | changes)


def test_a_run_on_one_columns_data_set_stays_in_that_column():
    table = dataset_table()
    recipe = recipe_at(table, "DGL", "CIFAR-10")
    jpeg = msgspec.structs.replace(recipe, dataset="cifar10-jpeg")
    records = [
        make_record(recipe, 90.0),
        make_record(reduced(recipe, "quick"), 40.0),
        make_record(jpeg, 80.0),
    ]
    for comparison in compare(table, records):
        assert entry_of(comparison, "DGL", "CIFAR-10").measured is not None
        assert entry_of(comparison, "DGL", "SVHN").verdict == "missing"
        assert entry_of(comparison, "DGL", "STL-10").verdict == "missing"


def test_the_list_counts_a_run_in_its_own_column_alone():
    table = dataset_table()
    quick = reduced(recipe_at(table, "DGL", "CIFAR-10"), "quick")
    jpeg = make_record(msgspec.structs.replace(quick, dataset="cifar10-jpeg"), 40.0)
    assert list_entry(table, [jpeg])["recorded"] == 1
    assert list_entry(table, [])["recorded"] == 0


def test_columns_reduced_in_the_same_way_stand_in_one_comparison():
    table = dataset_table()
    columns = ("CIFAR-10", "SVHN", "STL-10")
    quick = [
        make_record(reduced(recipe_at(table, "DGL", column), "quick"), 50.0) for column in columns
    ]
    full = [make_record(recipe_at(table, "DGL", column), 90.0) for column in columns]
    first, second = compare(table, [*quick, *full])
    assert not first.reduced
    assert [entry.verdict for entry in first.entries] == ["unconfirmed"] * 3
    assert second.how == "12 of 160 epochs, 5,000 training images, batch 64, learning rate 0.05"
    assert [entry.verdict for entry in second.entries] == ["reduced"] * 3


def test_words_of_columns_with_different_data_sets_are_merged():
    table = dataset_table()
    (comparison,) = compare(
        table, [make_record(reduced(recipe_at(table, "DGL", "SVHN"), "smoke"), 50.0)]
    )
    expected = (
        "data set digits (scikit-learn) instead of CIFAR-10 or SVHN or STL-10, 4 of 160 epochs, "
    )
    expected += "batch 64, learning rate 0.05"
    assert comparison.how == expected
    assert {entry.verdict for entry in comparison.entries} == {"reduced"}


def test_failed_runs():
    table = make_table()
    dgl, head = recipe_at(table, "DGL"), recipe_at(table, "Head")
    records = [make_record(dgl, None), make_record(dgl, None, 1)]
    records += [make_record(head, 90.0), make_record(head, None, 2)]
    (comparison,) = compare(table, records)
    failed, partly = entry_of(comparison, "DGL"), entry_of(comparison, "Head")
    assert (failed.verdict, failed.detail, failed.measured) == (
        "failed",
        "seeds 0, 1 failed: loss is nan",
        None,
    )
    assert (partly.verdict, partly.detail, partly.n) == (
        "unconfirmed",
        "seed 2 failed: loss is nan",
        1,
    )
    assert comparison.sources.runs == 1


def test_a_finished_run_replaces_a_failed_one_of_its_seed_and_seeds_count_once():
    recipe = recipe_at(make_table(), "DGL")
    rarely = msgspec.structs.replace(recipe, test_every=4)
    early = make_record(recipe, 90.0, provenance={"started": "2024-01-01T00:00:00"})
    late = make_record(rarely, 90.0, provenance={"started": "2024-02-01T00:00:00"})
    assert runs_of([late, early]).done == (late,)
    failed = make_record(rarely, None, provenance={"started": "2024-03-01T00:00:00"})
    assert runs_of([early, failed]).done == (early,)
    assert runs_of([early, failed]).failed == ()


def test_blocked_cells_say_why():
    rows = [
        Axis("CIFAR-10 / DGL", {"method": "dgl"}),
        Axis("CIFAR-10 / BP", blocked="needs ImageNet"),
    ]
    table = make_table({"test_acc": {"DGL": ["90", ""], "BP": ["91", ""]}}, rows=rows)
    (comparison,) = compare(table, [make_record(recipe_at(table, "DGL"), 90.0)])
    blocked = entry_of(comparison, "BP")
    assert (blocked.verdict, blocked.detail) == ("blocked", "needs ImageNet")
    assert cell_at(table, "BP").recipe is None


def costs_table():
    metrics = {
        "test_acc": Metric(unit="%"),
        "params": Metric(unit="M", kind="exact", better="lower"),
        "memory": Metric(unit="GB", kind="predicted", better="lower"),
        "net": Metric(unit="", kind="text", better="none"),
    }
    grids = {"test_acc": "90.00", "params": "0.86", "memory": "1.62", "net": "AP-10FC"}
    return make_table(
        {name: {"DGL": [text, text]} for name, text in grids.items()}, metrics=metrics
    )


def test_computed_values_need_no_runs_and_stand_in_every_comparison():
    table = costs_table()
    computed = {("CIFAR-10 / DGL", "K=16"): {"params": 0.8612, "memory": 1.5, "net": "AP-11FC"}}
    assert compare(table, []) == []
    assert compare(table, [], {}) == []
    recipe = recipe_at(table, "DGL")
    (alone,) = compare(table, [], computed)
    full, quick = compare(
        table, [make_record(recipe, 90.0), make_record(reduced(recipe, "quick"), 40.0)], computed
    )
    for comparison in (alone, full, quick):
        params, memory = (entry_of(comparison, "DGL", metric=name) for name in ("params", "memory"))
        assert (params.verdict, params.n, params.std) == ("match", 0, None)
        assert params.difference == pytest.approx(0.0012)
        assert (memory.verdict, memory.measured) == ("predicted", 1.5)
        assert entry_of(comparison, "DGL", metric="net").verdict == "off"
        for name in ("params", "memory", "net"):
            assert entry_of(comparison, "DGL", "K=8", name).verdict == "missing"
    assert entry_of(alone, "DGL").verdict == "missing"


def test_runs_of_a_table_without_trained_numbers_are_no_comparison_of_it():
    metrics = {"net": Metric(unit="", kind="text", better="none")}
    table = make_table({"net": {"DGL": ["AP-10FC", ""]}}, metrics=metrics)
    records = [make_record(reduced(recipe_at(table, "DGL"), "quick"), 40.0)]
    assert compare(table, records) == []
    (comparison,) = compare(table, records, {("CIFAR-10 / DGL", "K=16"): {"net": "AP-10FC"}})
    assert (comparison.counts, comparison.text_counts) == ({}, {"match": 1})  # words are no numbers


def test_an_illegible_cell_is_shown_but_not_judged():
    table = make_table({"test_acc": {"DGL": ["", "80"]}}, computed=True)
    (comparison,) = compare(
        table, [make_record(recipe_at(table, "DGL"), 90.0, seed) for seed in range(3)]
    )
    entry = entry_of(comparison, "DGL")
    assert (entry.published, entry.measured, entry.verdict, entry.difference) == (
        None,
        90.0,
        "unconfirmed",
        None,
    )
    assert len(comparison.entries) == 2


def test_errors_take_the_best_epoch_the_other_way_round():
    metrics = {"test_err": Metric(unit="%", better="lower")}
    table = make_table({"test_err": {"DGL": ["10.0", ""]}}, metrics=metrics)
    (comparison,) = compare(table, [make_record(recipe_at(table, "DGL"), 90.0)])
    assert comparison.entries[0].measured == pytest.approx(10.0)
    assert comparison.entries[0].best == pytest.approx(9.5)


def test_a_metric_that_no_run_recorded_is_missing():
    metrics = {"top5": Metric(unit="%")}
    table = make_table({"top5": {"DGL": ["99", ""]}}, metrics=metrics)
    (comparison,) = compare(table, [make_record(recipe_at(table, "DGL"), 90.0)])
    assert (comparison.entries[0].verdict, comparison.entries[0].n) == ("missing", 0)
    assert "no top5" in comparison.entries[0].detail


def test_different_versions_of_a_data_set_are_never_averaged():
    table = make_table()
    recipe = recipe_at(table, "DGL")
    old, new = make_record(recipe, 90.0), make_record(recipe, 80.0, 1, fingerprint="ba2")
    later = msgspec.structs.replace(new.provenance, started="2024-06-01T00:00:00")
    latest, before = compare(table, [msgspec.structs.replace(new, provenance=later), old])
    assert [(each.measured, each.n) for each in latest.entries if each.n] == [
        (pytest.approx(80.0), 1)
    ]
    assert [(each.measured, each.n) for each in before.entries if each.n] == [
        (pytest.approx(90.0), 1)
    ]
    assert (latest.reduced, before.reduced) == (False, True)
    assert before.how == "another version of the data (f00)"


def test_sources_count_a_run_once_and_mark_a_changed_checkout():
    table = make_table()
    bp = recipe_at(table, "BP")  # backpropagation is one run, whatever K the columns say
    dirty = {"dirty": True, "started": "2024-06-01T00:00:00", "resumed": 1}
    (comparison,) = compare(
        table, [make_record(bp, 93.0), make_record(bp, 93.2, 1, provenance=dirty)]
    )
    assert entry_of(comparison, "BP", "K=16").n == entry_of(comparison, "BP", "K=8").n == 2
    made = comparison.sources
    assert (made.runs, made.seconds, made.resumed, made.seeds) == (2, 120.0, 1, (0, 1))
    assert made.commits == ("0123456789ab", "0123456789ab (dirty)")
    assert (made.first, made.last) == ("2024-05-01T00:00:00", "2024-06-01T00:00:00")


def test_nothing_measured():
    comparison = unmeasured(make_table())
    assert comparison.counts == {"missing": 8}
    assert comparison.ranks == ()


def test_many_records_take_well_under_a_second():
    columns = [Axis(f"K={k}", {"modules": k}) for k in range(2, 16)]
    rows = [
        Axis(f"CIFAR-10 / d={d}", {"method": "auglocal", "options": {"depth": d}})
        for d in range(2, 10)
    ]
    grid = {"test_acc": {f"d={d}": ["90"] * 14 for d in range(2, 10)}}
    table = make_table(grid, rows=rows, columns=columns)
    recipes = [cell.recipe for cell in table.cells]
    records = [
        make_record(recipe, 80.0 + i % 7, seed)
        for i, recipe in enumerate(recipes)
        for seed in range(5)
    ]
    compare(
        make_table(),
        [make_record(recipe_at(make_table(), row), 90.0) for row in ("DGL", "BP", "Head")],
    )
    start = time.perf_counter()
    (comparison,) = compare(table, records)
    assert time.perf_counter() - start < 1.0
    assert len(comparison.entries) == 112
    assert all(entry.n == 5 for entry in comparison.entries)
