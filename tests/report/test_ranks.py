"""Ranks, how certain they are, cells at chance, and what is said of numbers."""

from __future__ import annotations

import random
import statistics
from pathlib import Path

import pytest
from report_builders import make_record, make_table, recipe_at, reduced
from scipy.stats import kendalltau
from small_table import MINI, Bench

from locbench.report.compare import compare, only_run
from locbench.report.formatting import ours_text, verdict_words
from locbench.report.model import Comparison
from locbench.report.ranks import tau_b, tau_interval, widest
from locbench.report.render import render
from locbench.report.text import tau_lines
from locbench.report.verdicts import highest_chance
from locbench.results.store import Store
from locbench.spec.table_files import load_table
from locbench.spec.tables import Axis, Metric, Table


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


MEASURED = [45.0, 47.1, 46.0, 46.0, 44.9, 46.3, 46.9, 46.5, 45.8, 49.7]
PUBLISHED = [83.6, 88.6, 87.9, 87.8, 87.3, 90.4, 88.9, 88.4, 88.1, 90.9]


def bootstrapped(
    values: list[list[float]], published: list[float], draws: int = 1500
) -> tuple[float, float]:
    """The interval by the plain way: one replicate after the other, tau by scipy."""
    draw, taus = random.Random(1), []
    for _ in range(draws):
        means = [statistics.fmean(draw.choices(own, k=len(own))) for own in values]
        chosen = draw.choices(range(len(published)), k=len(published))
        taus.append(
            kendalltau([means[i] for i in chosen], [published[i] for i in chosen]).statistic
        )
    cuts = statistics.quantiles([tau for tau in taus if tau == tau], n=40)
    return cuts[0], cuts[-1]


@pytest.mark.parametrize("spread", [0.0, 1.5])
def test_the_interval_is_the_bootstraps(spread: float) -> None:
    values = [[each - spread, each, each + spread] if spread else [each] for each in MEASURED]
    tau = kendalltau(MEASURED, PUBLISHED).statistic
    low, high = tau_interval(values, PUBLISHED, tau)
    assert (low, high) == tau_interval(values, PUBLISHED, tau)  # the same at every call
    assert (low, high) == pytest.approx(bootstrapped(values, PUBLISHED), abs=0.08)
    assert low < tau < high


def test_seeds_that_differ_widen_the_interval() -> None:
    tau = kendalltau(MEASURED, PUBLISHED).statistic
    alone = tau_interval([[each] for each in MEASURED], PUBLISHED, tau)
    spread = tau_interval([[each - 4, each, each + 4] for each in MEASURED], PUBLISHED, tau)
    assert spread[0] < alone[0]


def test_perfect_order_is_not_certain() -> None:
    # Wilson's bound of 2.5 agreements in 2.5 trials: p = 2.5 / (2.5 + 1.96^2) = 0.3942, tau = 2 p -
    # 1
    assert widest(1.0, 5) == pytest.approx((-0.2116, 1.0), abs=1e-4)
    assert widest(-1.0, 5) == pytest.approx((-1.0, 0.2116), abs=1e-4)
    assert tau_interval([[1.0], [2.0], [3.0], [4.0], [5.0]], [1, 2, 3, 4, 5], 1.0) == widest(1.0, 5)
    assert widest(1.0, 50)[0] > 0.7


def table_of(count: int) -> Table:
    names = [f"R{index}" for index in range(count)]
    rows = [
        Axis(name, {"method": "dgl", "momentum": 0.5 + index / 1000})
        for index, name in enumerate(names)
    ]
    published = {"test_acc": {name: [str(80 + index), ""] for index, name in enumerate(names)}}
    return table_with(rows, published)


def table_with(rows: list[Axis], published: dict[str, dict[str, list[str]]]) -> Table:
    table = make_table(rows=rows)
    names = table.__struct_fields__
    return Table(**{name: getattr(table, name) for name in names} | {"published": published})


def compared(accuracies: list[float], test: int, fewest: int = 5) -> tuple[Table, Comparison]:
    from locbench.results.record import DataUsed

    table = table_of(len(accuracies))
    records = [
        make_record(
            reduced(recipe_at(table, f"R{index}"), "quick"),
            accuracy,
            data=DataUsed("cifar10", "x", "f", 500, test),
        )
        for index, accuracy in enumerate(accuracies)
    ]
    (comparison,) = compare(table, records, fewest=fewest)
    return table, comparison


def test_guessing_by_hand() -> None:
    # 10 % of 500 images: sqrt(0.1 * 0.9 / 500) = 1.3416 %; three of that above 10 %
    assert highest_chance(0.1, 500) == pytest.approx(14.0249, abs=1e-4)
    assert highest_chance(0.1, 10_000) == pytest.approx(10.9)


@pytest.mark.parametrize("accuracies", [[10.0] * 6, [9.0, 10.0, 11.0, 12.0, 13.0, 14.0]])
def test_cells_at_chance_are_not_ranked(accuracies: list[float]) -> None:
    table, comparison = compared(accuracies, test=500)
    (rank,) = comparison.ranks
    assert (rank.tau, rank.why, rank.at_chance, rank.n) == (None, "at chance", 6, 6)
    assert all(entry.at_chance for entry in comparison.entries)
    assert tau_lines(table, comparison, table.metrics)[0].endswith(
        "the whole table: all 6 cells at chance, not ranked"
    )


def test_cells_above_chance_are_ranked_with_an_interval() -> None:
    table, comparison = compared([21.0, 24.0, 22.0, 23.0, 21.5, 10.0], test=500)
    (rank,) = comparison.ranks
    assert rank.tau == pytest.approx(
        kendalltau([21.0, 24.0, 22.0, 23.0, 21.5, 10.0], range(6)).statistic
    )
    assert rank.low is not None
    assert rank.high is not None
    assert -1 <= rank.low < 0 < rank.high <= 1  # noise has no order
    assert rank.at_chance == 1
    (line,) = tau_lines(table, comparison, table.metrics)
    assert f"({rank.low:.2f} to {rank.high:.2f}) over 6 cells, 1 of them at chance" in line


def test_errors_and_unknown_classes() -> None:
    from locbench.report.verdicts import at_chance

    table = table_of(1)
    known = make_record(reduced(recipe_at(table, "R0"), "quick"), 12.0)
    assert at_chance("test_err", 88.0, [known]) is False  # 10,000 images: at most 10.9 %
    assert at_chance("test_err", 89.5, [known]) is True
    assert at_chance("top5_acc", 51.0, [known]) is True  # a guess of five of ten
    assert at_chance("box_ap", 0.0, [known]) is None
    import msgspec

    elsewhere = msgspec.structs.replace(known.recipe, dataset="imagefolder:/not/there")
    assert at_chance("test_acc", 10.0, [msgspec.structs.replace(known, recipe=elsewhere)]) is None


def test_fewer_than_five_cells_are_ranked_only_if_asked() -> None:
    table, comparison = compared([30.0, 40.0, 50.0], test=500)
    assert [(rank.tau, rank.why, rank.n) for rank in comparison.ranks] == [
        (None, "fewer than 5", 3)
    ]
    assert tau_lines(table, comparison, table.metrics)[0].endswith(
        "3 cells not ranked: fewer than 5"
    )
    _, asked = compared([30.0, 40.0, 50.0], test=500, fewest=3)
    assert [rank.tau for rank in asked.ranks] == [1.0]
    assert asked.ranks[0].low == pytest.approx(widest(1.0, 3)[0])


def test_equal_numbers_say_so() -> None:
    _, comparison = compared([50.0] * 5, test=500)
    assert [rank.why for rank in comparison.ranks] == ["all measured numbers are equal"]


def test_predicted_costs_are_not_judged_and_follow_the_papers_decimals() -> None:
    metrics = {
        "gpu_memory": Metric(unit="MiB", kind="predicted", better="lower"),
        "net": Metric(unit="", kind="text"),
    }
    published = {"gpu_memory": {"DGL": ["14769", ""]}, "net": {"DGL": ["Uniform Selection", ""]}}
    table = make_table(published, metrics=metrics)
    values = {("CIFAR-10 / DGL", "K=16"): {"gpu_memory": 11076.58, "net": "Uniform Selection"}}
    (comparison,) = compare(table, [], values)
    memory, net = comparison.entries
    # 11076.58 - 14769 = -3692.42; 11076.58 / 14769 = 0.74998
    assert ours_text(memory) == "11077 (-3692, 75 %)"
    assert (memory.verdict, memory.measured, memory.ratio) == (
        "predicted",
        11076.58,
        pytest.approx(0.749989),
    )
    assert net.verdict == "match"
    assert verdict_words(comparison) == "1 value: 1 predicted; 1 text: 1 match"
    for ending in ("md", "tex"):
        assert "unconfirmed" not in render(table, [comparison], ending)


def test_the_report_shows_what_is_chosen(bench: Bench) -> None:
    bench.write(MINI)
    table = load_table("mini")
    recipe = next(
        cell.recipe for cell in table.cells if cell.row == "Digits / DGL" and cell.column == "J=2"
    )
    assert recipe is not None
    Store(bench.results).save(make_record(recipe, 85.0))
    whole = bench.call("report", "mini", "--json").json["comparisons"][0]
    assert len(whole["entries"]) == 5
    run = bench.call("report", "mini", "--json", "--only-run").json["comparisons"][0]
    assert [(each["row"], each["column"]) for each in run["entries"]] == [("Digits / DGL", "J=2")]
    assert run["hidden"] == 4
    text = bench.call("report", "mini", "--only-run").out
    assert (
        "1 value: 1 unconfirmed; 4 more in rows and columns of which nothing was run are left out"
        in text
    )
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    # The column's name stays.
    assert (lines[0], lines[2][:2]) == (
        ["Digits", "", "J=2"],
        ["DGL", "ours"],
    )
    rows = bench.call("report", "mini", "--rows", "Backprop", "--columns", "J=4", "--json").json[
        "comparisons"
    ]
    assert [each["row"] for each in rows[0]["entries"]] == ["Backprop"]
    refused = bench.call("report", "mini", "--rows", "Bakprop")
    assert (refused.code, refused.out) == (2, "")
    assert "Backprop" in refused.err


def test_only_run_leaves_a_table_of_which_nothing_was_run_empty() -> None:
    _, comparison = compared([30.0], test=500)
    assert only_run(comparison).hidden == 0
    from locbench.report.compare import unmeasured

    empty = only_run(unmeasured(table_of(3)))
    assert (empty.entries, empty.hidden) == ((), 3)
    for ending in ("md", "tex", "csv", "json"):
        assert render(table_of(3), [empty], ending)


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
