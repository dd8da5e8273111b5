"""From a table and options to runs: what is selected, in which order, and what is already there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from locbench.errors import UsageError
from locbench.execution.job import Job
from locbench.execution.plan import Plan, make_plan
from locbench.results.store import Store
from locbench.spec.selection import RunOptions, select
from locbench.spec.tables import Axis, Metric, Table

ROWS = {
    "CIFAR-10 / ResNet-32 / DGL": {"method": "dgl"},
    "CIFAR-10 / ResNet-32 / DGL*": {"method": "hpff+dgl"},
    "CIFAR-10 / ResNet-32 / PredSim": {"method": "predsim"},
    "SVHN / ResNet-32 / DGL": {"method": "dgl", "dataset": "svhn"},
    "SVHN / ResNet-32 / DGL*": {"method": "hpff+dgl", "dataset": "svhn"},
    "Backprop": {"method": "bp"},
}
COLUMNS = ["J=16", "J=8", "J=1,2"]


def make_table(**changes: Any) -> Table:
    settings: dict[str, Any] = {
        "id": "example",
        "paper": "hpff",
        "number": "Table 9",
        "title": "An example",
        "source": "Nobody 2024, Table 9",
        "trials": 3,
        "rows": [Axis(label, recipe, alone=label == "Backprop") for label, recipe in ROWS.items()],
        "columns": [
            Axis(label, {"modules": modules})
            for label, modules in zip(COLUMNS, (16, 8, 2), strict=True)
        ],
        "metrics": {"test_err": Metric("%", better="lower")},
        "published": {
            "test_err": {
                row: ["9.0"] if row == "Backprop" else ["9.0", "8.0", "7.0"] for row in ROWS
            }
        },
        "recipe": {
            "network": "resnet32",
            "dataset": "cifar10",
            "epochs": 400,
            "batch_size": 1024,
            "lr": 0.8,
        },
    }
    settings["published"]["test_err"]["Backprop"] = ["9.0", "", ""]
    return Table(**settings | changes)


def rows_of(*patterns: str) -> set[str]:
    return {cell.row for cell in select(make_table(), RunOptions(rows=patterns))[0]}


def columns_of(*patterns: str) -> set[str]:
    return {cell.column for cell in select(make_table(), RunOptions(columns=patterns))[0]}


@pytest.fixture
def plan_of(tmp_path: Path) -> Any:
    def plan(table: Table | None = None, rerun: str | None = None, **options: Any) -> Plan:
        return make_plan(
            table or make_table(), RunOptions(**options), Store(tmp_path), tmp_path, rerun
        )

    return plan


def places(jobs: tuple[Job, ...]) -> list[tuple[str, str, int]]:
    return [(*job.cells[0], job.recipe.seed) for job in jobs]


def test_exact_labels() -> None:
    assert rows_of("CIFAR-10 / ResNet-32 / DGL") == {"CIFAR-10 / ResNet-32 / DGL"}
    assert rows_of("cifar-10 / resnet-32 / dgl") == {"CIFAR-10 / ResNet-32 / DGL"}


def test_last_part_means_every_group() -> None:
    assert rows_of("DGL") == {"CIFAR-10 / ResNet-32 / DGL", "SVHN / ResNet-32 / DGL"}


def test_a_star_that_belongs_to_the_label_is_no_wildcard() -> None:
    assert rows_of("DGL*") == {"CIFAR-10 / ResNet-32 / DGL*", "SVHN / ResNet-32 / DGL*"}
    assert rows_of("SVHN / ResNet-32 / DGL*") == {"SVHN / ResNet-32 / DGL*"}


def test_wildcards_match_whole_labels() -> None:
    assert rows_of("SVHN / *") == {"SVHN / ResNet-32 / DGL", "SVHN / ResNet-32 / DGL*"}
    assert rows_of("* / PredSim") == {"CIFAR-10 / ResNet-32 / PredSim"}
    assert columns_of("J=?") == {"J=8"}


def test_parts_of_labels() -> None:
    assert rows_of("svhn") == {"SVHN / ResNet-32 / DGL", "SVHN / ResNet-32 / DGL*"}
    assert rows_of("back") == {"Backprop"}


def test_several_patterns_by_comma_or_by_repetition() -> None:
    expected = {"CIFAR-10 / ResNet-32 / PredSim", "Backprop"}
    assert (
        rows_of("PredSim,Backprop")
        == rows_of("PredSim", "Backprop")
        == rows_of(" predsim , backprop ")
        == expected
    )


def test_a_comma_that_belongs_to_the_label_does_not_split() -> None:
    assert columns_of("J=1,2") == {"J=1,2"}
    assert columns_of("J=16,J=8") == {"J=16", "J=8"}


def test_unknown_labels_have_suggestions() -> None:
    with pytest.raises(
        UsageError, match=r"table example has no row 'PrdSim'[\s\S]*Did you mean"
    ) as raised:
        rows_of("PrdSim")
    assert raised.value.exit_code == 2
    with pytest.raises(UsageError, match="no column 'J=4'"):
        columns_of("J=4")
    with pytest.raises(UsageError, match="no row 'Nothing'"):
        rows_of("DGL,Nothing")


def test_rows_and_columns_without_a_common_cell() -> None:
    with pytest.raises(UsageError, match="no cell in these rows and columns"):
        select(make_table(), RunOptions(rows=("Backprop",), columns=("J=8",)))


def test_a_data_set_of_the_table_narrows_it() -> None:
    cells, substitute = select(make_table(), RunOptions(dataset="svhn"))
    assert substitute is None
    assert {cell.row for cell in cells} == {"SVHN / ResNet-32 / DGL", "SVHN / ResNet-32 / DGL*"}


def test_another_data_set_stands_in_for_the_first_one() -> None:
    cells, substitute = select(make_table(), RunOptions(dataset="stl10"))
    assert substitute == "stl10"
    assert {cell.row for cell in cells} == {row for row in ROWS if not row.startswith("SVHN")}


def test_narrowing_looks_at_the_chosen_rows_alone() -> None:
    cells, substitute = select(make_table(), RunOptions(dataset="cifar10", rows=("SVHN / *",)))
    assert substitute == "cifar10"
    assert {cell.row for cell in cells} == {"SVHN / ResNet-32 / DGL", "SVHN / ResNet-32 / DGL*"}


def test_unknown_data_set() -> None:
    with pytest.raises(UsageError, match="unknown data set 'cifar11'"):
        select(make_table(), RunOptions(dataset="cifar11"))


def test_smoke_means_digits_unless_a_data_set_is_named() -> None:
    assert select(make_table(), RunOptions(preset="smoke"))[1] == "digits"
    assert select(make_table(), RunOptions(preset="smoke", dataset="svhn"))[1] is None


def test_one_seed_of_every_cell_before_a_second_one(plan_of: Any) -> None:
    plan = plan_of(rows=("DGL", "Backprop"), columns=("J=16",), dataset="cifar10", seeds=2)
    dgl, backprop = ("CIFAR-10 / ResNet-32 / DGL", "J=16"), ("Backprop", "J=16")
    assert places(plan.jobs) == [(*dgl, 0), (*backprop, 0), (*dgl, 1), (*backprop, 1)]


def test_order_of_the_wishes_is_irrelevant(plan_of: Any) -> None:
    one = plan_of(rows=("PredSim", "DGL"), columns=("J=8", "J=16"))
    other = plan_of(rows=("DGL,PredSim",), columns=("J=16,J=8",))
    assert [job.recipe.key for job in one.jobs] == [job.recipe.key for job in other.jobs]


def test_cells_of_one_recipe_run_once(plan_of: Any) -> None:
    rows = [
        Axis("DGL", {"method": "dgl"}),
        Axis("IL", {"method": "hpff+dgl", "options": {"levels": "IL", "pff": 0}}),
    ]
    table = make_table(
        rows=rows, published={"test_err": {"DGL": ["9", "8", "7"], "IL": ["9", "8", "7"]}}
    )
    plan = plan_of(table, seeds=1, columns=("J=16",))
    assert [job.cells for job in plan.jobs] == [(("DGL", "J=16"), ("IL", "J=16"))]


@pytest.mark.parametrize(
    ("options", "seeds"),
    [({}, 3), ({"seeds": 5}, 5), ({"preset": "quick"}, 1), ({"preset": "smoke", "seeds": 2}, 2)],
)
def test_number_of_seeds(plan_of: Any, options: dict[str, Any], seeds: int) -> None:
    assert {job.recipe.seed for job in plan_of(rows=("Backprop",), **options).jobs} == set(
        range(seeds)
    )


def test_paper_preset_is_the_published_recipe(plan_of: Any) -> None:
    recipe = plan_of(rows=("PredSim",), columns=("J=8",)).jobs[0].recipe
    assert (recipe.dataset, recipe.epochs, recipe.batch_size, recipe.lr) == (
        "cifar10",
        400,
        1024,
        0.8,
    )
    assert recipe.train_limit is None


def test_smoke_preset(plan_of: Any) -> None:
    plan = plan_of(preset="smoke")
    assert {job.recipe.dataset for job in plan.jobs} == {"digits"}
    assert {(job.recipe.epochs, job.recipe.batch_size) for job in plan.jobs} == {(4, 64)}


def test_overrides_of_a_preset(plan_of: Any) -> None:
    options = {"epochs": 32, "limit": 100, "precision": "bf16"}
    recipe = plan_of(preset="quick", rows=("Backprop",), **options).jobs[0].recipe
    assert (recipe.epochs, recipe.warmup_epochs, recipe.train_limit, recipe.precision) == (
        32,
        2,
        100,
        "bf16",
    )
    assert recipe.test_every == 5
    assert plan_of(preset="quick", rows=("Backprop",), epochs=2).jobs[0].recipe.test_every == 2


@pytest.mark.parametrize(
    "options", [{"seeds": 0}, {"epochs": 0}, {"limit": 0}, {"limit": -3}, {"seeds": -1}]
)
def test_numbers_below_one(plan_of: Any, options: dict[str, Any]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(UsageError, match=f"--{name} is {value}"):
        plan_of(**options)


def test_blocked_cells_are_named_and_do_not_run(plan_of: Any) -> None:
    rows = [Axis("DGL", {"method": "dgl"}), Axis("Swin", {}, blocked="needs Swin")]
    table = make_table(
        rows=rows, published={"test_err": {"DGL": ["9", "8", "7"], "Swin": ["9", "", ""]}}
    )
    plan = plan_of(table, seeds=1)
    assert [cell.row for cell in plan.blocked] == ["Swin"]
    assert {row for job in plan.jobs for row, _ in job.cells} == {"DGL"}


def test_cells_without_trained_numbers_do_not_run(plan_of: Any) -> None:
    table = make_table(metrics={"test_err": Metric("M", kind="exact")})
    assert plan_of(table).jobs == ()


def test_jpeg_copy_stands_in_and_is_said_once(
    plan_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "locbench.execution.plan.resolve",
        lambda name, root: {"cifar10": "cifar10-jpeg"}.get(name, name),
    )
    plan = plan_of()
    assert {job.recipe.dataset for job in plan.jobs} == {"cifar10-jpeg", "svhn"}
    assert len(plan.notes) == 1
    assert "CIFAR-10 (JPEG q75)" in plan.notes[0]
