"""The tables of Swin feature reconstruction: numbers typed again from the paper, shared runs, names
that mean one.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
from small_table import Bench

from locbench.errors import UsageError
from locbench.execution.plan import make_plan
from locbench.report.compare import unmeasured
from locbench.report.text import heading, origin
from locbench.results.store import Store
from locbench.spec import table_files
from locbench.spec.components import SharedStem
from locbench.spec.networks import NETWORKS, units_per_module
from locbench.spec.selection import RunOptions
from locbench.spec.table_files import aliased, load_table, load_tables, table_ids
from locbench.spec.tables import Cell, Table

PRINTED = {  # with the savings: 132 in all
    "swin-splits": 9,
    "swin-tiny-pretrained": 60,
    "swin-tiny-scratch": 33,
    "swin-losses": 8,
    "swin-base": 11,
    "swin-large": 11,
}
NEW_RUNS = {
    "swin-tiny-pretrained": 44,
    "swin-tiny-scratch": 33,
    "swin-losses": 2,
    "swin-base": 6,
    "swin-large": 6,
}
OURS = "K=2 / Deconv. / Ours"

# Typed from the paper, apart from the files. (table, row, column, metric, printed)
SPOT = [
    ("swin-splits", "Swin-Tiny", "Configuration", "split", "2,2,6,2"),
    ("swin-splits", "Swin-Base", "K=2", "split", "8,16"),
    ("swin-splits", "Swin-Large", "K=4", "split", "2,6,8,8"),
    ("swin-tiny-pretrained", "E2E", "STL-10", "test_acc", "98.72"),
    ("swin-tiny-pretrained", "K=2 / Interp. / InfoPro", "SVHN", "test_acc", "98.12"),
    ("swin-tiny-pretrained", "K=2 / Linear / InfoPro", "CIFAR-10", "test_acc", "98.00"),
    ("swin-tiny-pretrained", "K=4 / Linear / InfoPro", "CIFAR-100", "test_acc", "75.59"),
    ("swin-tiny-pretrained", "K=4 / Deconv. / InfoPro", "Memory", "gpu_memory", "9204"),
    ("swin-tiny-pretrained", "K=2 / Linear / Ours", "Memory", "gpu_memory", "9388"),
    ("swin-tiny-scratch", "E2E", "CIFAR-10", "test_acc", "91.37"),
    ("swin-tiny-scratch", "K=4 / Deconv. / Ours", "CIFAR-100", "test_acc", "73.00"),
    ("swin-tiny-scratch", "K=4 / Deconv. / InfoPro", "STL-10", "test_acc", "58.69"),
    ("swin-losses", "K=2 / Greedy (Cross entropy)", "Acc.", "test_acc", "69.11"),
    ("swin-losses", "K=2 / Greedy (Contrast)", "Memory", "gpu_memory", "9378"),
    ("swin-base", "K=2 (Ours)", "CIFAR-100", "test_acc", "47.69"),
    ("swin-base", "E2E", "Memory", "gpu_memory", "37728"),
    ("swin-large", "E2E", "STL-10", "test_acc", "70.216"),
    ("swin-large", "K=4 (Ours)", "Memory", "gpu_memory", "11907"),
]


def cell(table_id: str, row: str, column: str) -> Cell:
    return next(
        each for each in load_table(table_id).cells if (each.row, each.column) == (row, column)
    )


def key(table_id: str, row: str, column: str) -> str:
    recipe = cell(table_id, row, column).recipe
    assert recipe is not None
    return recipe.key


def accuracy(table_id: str, row: str, column: str) -> float:
    value = cell(table_id, row, column).published["test_acc"].value
    assert value is not None
    return value


def savings(table: Table) -> list[str]:
    return [text for derived in table.derived for text in chain(*derived.printed.values()) if text]


def trained_keys(table_id: str) -> set[str]:
    return {
        each.recipe.key
        for each in load_table(table_id).cells
        if each.recipe and "test_acc" in each.published
    }


# Numbers


@pytest.mark.parametrize("table_id", PRINTED)
def test_number_of_printed_values(table_id: str) -> None:
    table = load_table(table_id)
    assert table.values + len(savings(table)) == PRINTED[table_id]
    assert not any(each.blocked for each in table.cells)


def test_all_tables_print_132_values() -> None:
    assert sum(PRINTED.values()) == 132
    assert {table.id for table in load_tables() if table.paper == "swin"} == set(PRINTED)


@pytest.mark.parametrize(("table_id", "row", "column", "metric", "printed"), SPOT)
def test_spot_values(table_id: str, row: str, column: str, metric: str, printed: str) -> None:
    assert cell(table_id, row, column).published[metric].text == printed


def test_savings_that_do_not_follow_from_their_cells() -> None:
    tables = [load_table(table_id) for table_id in PRINTED]
    derived = {(table.id, each.row): each for table in tables for each in unmeasured(table).derived}
    wrong = {place: each for place, each in derived.items() if not each.agrees}
    assert len(derived) == 9
    assert {place: each.printed.text for place, each in wrong.items() if each.printed} == {
        ("swin-tiny-pretrained", "K=2 / Interp. / Ours"): "1.74",
        ("swin-base", "K=4 (Ours)"): "66.59",
    }
    # 1 - 9390 / 9557 and 1 - 12229 / 37728, by hand.
    assert [each.from_published for each in wrong.values()] == pytest.approx(
        [1.74741, 67.58641], abs=1e-5
    )


def test_differences_that_the_notes_name() -> None:
    deep = ("K=4 / Deconv. / Ours", "K=4 / Deconv. / InfoPro")
    linear = ("K=4 / Linear / Ours", "K=4 / Linear / InfoPro")
    for table_id, rows, column, gain in (
        ("swin-tiny-scratch", deep, "CIFAR-100", "8.91"),
        ("swin-tiny-scratch", (OURS, "E2E"), "STL-10", "3.12"),
        ("swin-tiny-scratch", (OURS, "E2E"), "CIFAR-100", "0.69"),
        ("swin-tiny-scratch", linear, "STL-10", "0.19"),
        ("swin-tiny-scratch", ("K=2 / Linear / Ours", "K=2 / Linear / InfoPro"), "STL-10", "0.27"),
        ("swin-tiny-pretrained", linear, "CIFAR-10", "0.58"),
        ("swin-tiny-pretrained", linear, "CIFAR-100", "2.97"),
        ("swin-losses", ("E2E", "K=2 / Greedy (Cross entropy)"), "Acc.", "5.92"),
        ("swin-losses", ("K=2 / Greedy (Contrast)", "E2E"), "Acc.", "0.61"),
        ("swin-losses", ("K=2 / Ours (Deconv.)", "K=2 / Greedy (Contrast)"), "Acc.", "0.08"),
        ("swin-large", ("K=4 (Ours)", "E2E"), "CIFAR-100", "19.47"),
    ):
        own, other = (accuracy(table_id, row, column) for row in rows)
        assert f"{own - other:.2f}" == gain
        assert any(gain in note for note in load_table(table_id).notes)


def test_memory_of_the_ablation_is_that_of_the_pretrained_runs() -> None:
    for row, there in (("E2E", "E2E"), ("K=2 / Ours (Deconv.)", OURS)):
        own = cell("swin-losses", row, "Memory").published["gpu_memory"]
        assert own == cell("swin-tiny-pretrained", there, "Memory").published["gpu_memory"]


@pytest.mark.parametrize("table_id", PRINTED)
def test_single_runs_with_notes(table_id: str) -> None:
    table = load_table(table_id)
    assert table.trials == 1
    assert all(value.std is None for each in table.cells for value in each.published.values())
    assert table.notes
    assert heading(table).startswith(f"Swin feature reconstruction, {table.number}: ")
    assert origin(table) == f"Pathak et al. 2023, WACV 2023, {table.number}. Runs per number: 1."


# Splits


@pytest.mark.parametrize("row", ["Swin-Tiny", "Swin-Base", "Swin-Large"])
def test_printed_splits_are_the_ones_that_are_trained(row: str) -> None:
    texts = {
        column: cell("swin-splits", row, column).published["split"].text
        for column in ("Configuration", "K=2")
    }
    texts["K=4"] = cell("swin-splits", row, "K=4").published["split"].text
    counts = {column: tuple(map(int, text.split(","))) for column, text in texts.items()}
    network = row.lower()
    shape = NETWORKS[network].transformer
    assert shape is not None
    assert counts["Configuration"] == shape.depths
    for modules in (2, 4):
        split = counts[f"K={modules}"]
        assert sum(split) == sum(shape.depths)
        first, *rest = units_per_module(network, modules)
        assert split == (first - 1, *rest)  # the patch embedding counts with the first module


# Recipes


def test_91_different_trained_runs() -> None:
    keys = {table_id: trained_keys(table_id) for table_id in NEW_RUNS}
    assert {table_id: len(own) for table_id, own in keys.items()} == NEW_RUNS | {"swin-losses": 4}
    assert len(set().union(*keys.values())) == sum(NEW_RUNS.values()) == 91


@pytest.mark.parametrize(("row", "there"), [("E2E", "E2E"), ("K=2 / Ours (Deconv.)", OURS)])
@pytest.mark.parametrize("column", ["Acc.", "Memory"])
def test_ablation_shares_runs_with_training_from_scratch(row: str, there: str, column: str) -> None:
    assert key("swin-losses", row, column) == key("swin-tiny-scratch", there, "CIFAR-100")


def test_splits_need_no_recipe_of_their_own() -> None:
    own = {each.recipe.key for each in load_table("swin-splits").cells if each.recipe}
    assert len(own) == 9
    assert own <= set().union(*(trained_keys(table_id) for table_id in NEW_RUNS))


@pytest.mark.parametrize("table_id", ["swin-tiny-pretrained", "swin-base", "swin-large"])
def test_memory_is_that_of_the_run_on_cifar100(table_id: str) -> None:
    for row in load_table(table_id).rows:
        assert key(table_id, row.label, "Memory") == key(table_id, row.label, "CIFAR-100")


@pytest.mark.parametrize(
    ("table_id", "network", "epochs", "batch", "warmup", "drop_path", "side", "init"),
    [
        ("swin-tiny-pretrained", "swin-tiny", {50}, 140, 5, 0.2, 224, "pretrained"),
        ("swin-tiny-scratch", "swin-tiny", {200, 300}, 140, 20, 0.2, 224, "scratch"),
        ("swin-losses", "swin-tiny", {200}, 140, 20, 0.2, 224, "scratch"),
        ("swin-base", "swin-base", {100}, 40, 20, 0.5, 384, "scratch"),
        ("swin-large", "swin-large", {200}, 80, 20, 0.2, 224, "scratch"),
    ],
)
def test_schedules(
    table_id: str,
    network: str,
    epochs: set[int],
    batch: int,
    warmup: int,
    drop_path: float,
    side: int,
    init: str,
) -> None:
    recipes = [each.recipe for each in load_table(table_id).cells if each.recipe]
    assert {each.epochs for each in recipes} == epochs
    assert {each.epochs for each in recipes if each.dataset == "stl10"} <= {max(epochs)}
    for each in recipes:
        assert (each.network, each.batch_size, each.warmup_epochs) == (network, batch, warmup)
        assert (each.drop_path, each.image_size, each.init) == (drop_path, side, init)
        assert (each.lr, each.weight_decay, each.warmup_lr, each.min_lr) == (5e-4, 0.05, 5e-7, 5e-6)
        assert (each.optimizer, each.rate, each.lr_scaling) == ("adamw", "cosine-step", "linear")
        assert (each.clip_norm, each.augmentation) == (5.0, "swin")


def test_rows_are_the_methods_that_they_name() -> None:
    for each in load_table("swin-tiny-scratch").cells:
        assert each.recipe is not None
        if each.row == "E2E":
            assert each.recipe.composition.end_to_end
            continue
        split, decoder, method = each.row.split(" / ")
        (branch,) = each.recipe.composition.branches
        assert isinstance(branch, SharedStem)
        assert each.recipe.modules == int(split.removeprefix("K="))
        assert (
            decoder
            == {"interp": "Interp.", "linear": "Linear", "deconv": "Deconv."}[branch.decoder]
        )
        assert method == {"image": "InfoPro", "features": "Ours"}[branch.target]


def test_plan_trains_no_memory_cell(tmp_path: Path) -> None:
    plan = make_plan(load_table("swin-tiny-pretrained"), RunOptions(), Store(tmp_path), tmp_path)
    assert len(plan.jobs) == 44
    assert all(column != "Memory" for job in plan.jobs for _, column in job.cells)
    assert make_plan(load_table("swin-splits"), RunOptions(), Store(tmp_path), tmp_path).jobs == ()


# Names


@pytest.mark.parametrize(
    ("table_id", "init", "meant"),
    [
        ("swin-tiny", None, "swin-tiny-pretrained"),
        ("swin-tiny", "pretrained", "swin-tiny-pretrained"),
        ("swin-tiny", "scratch", "swin-tiny-scratch"),
        ("swin-tiny-scratch", "scratch", "swin-tiny-scratch"),
        ("swin-tiny-scratch", None, "swin-tiny-scratch"),
        ("pgl-blocks", None, "pgl-blocks"),
    ],
)
def test_name_and_initial_weights_mean_a_table(table_id: str, init: str | None, meant: str) -> None:
    assert aliased(table_id, init) == meant
    assert load_table(aliased(table_id, init)).id == meant


@pytest.mark.parametrize(
    ("table_id", "init", "message", "remedy"),
    [
        ("swin-tiny", "scrach", "knows no initial weights 'scrach'", "'scratch'"),
        (
            "swin-tiny-scratch",
            "pretrained",
            "other initial weights than 'pretrained'",
            "'swin-tiny'",
        ),
        ("swin-base", "pretrained", "'swin-base' has no choice of initial weights", "swin-tiny"),
    ],
)
def test_initial_weights_that_a_table_has_not(
    table_id: str, init: str, message: str, remedy: str
) -> None:
    with pytest.raises(UsageError) as caught:
        aliased(table_id, init)
    assert message in caught.value.message
    assert remedy in caught.value.remedy


def test_a_name_is_suggested_and_is_no_table_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "swin-tiny" not in table_ids()
    with pytest.raises(UsageError) as caught:
        load_table("swin-tny")
    assert "'swin-tiny'" in caught.value.remedy
    monkeypatch.setattr(table_files, "shipped_folder", lambda: tmp_path)
    (tmp_path / "mine.toml").touch()
    with pytest.raises(UsageError, match="unknown table 'swin-tiny'") as caught:
        load_table("swin-tiny")
    assert "'swin-tiny'" not in caught.value.remedy  # the tables that it stands for are not there


def test_commands_take_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(tmp_path, monkeypatch, capsys)
    bench.ship()
    assert bench.call("show", "swin-tiny", "--json").json["id"] == "swin-tiny-pretrained"
    listed = {entry["id"]: entry for entry in bench.call("list", "--json").json}
    assert "swin-tiny" not in listed
    assert listed["swin-tiny-scratch"]["values"] == 33
