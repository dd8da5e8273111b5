"""From a table and options to runs: in which order, and what is there already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from example_table import make_table

from locbench.errors import UsageError
from locbench.execution.job import Job
from locbench.execution.plan import Plan, make_plan
from locbench.results.store import Store
from locbench.spec.selection import RunOptions
from locbench.spec.tables import Axis, Metric, Table


@pytest.fixture
def plan_of(tmp_path: Path) -> Any:
    def plan(table: Table | None = None, rerun: str | None = None, **options: Any) -> Plan:
        return make_plan(
            table or make_table(), RunOptions(**options), Store(tmp_path), tmp_path, rerun
        )

    return plan


def places(jobs: tuple[Job, ...]) -> list[tuple[str, str, int]]:
    return [(*job.cells[0], job.recipe.seed) for job in jobs]


def test_one_seed_of_every_cell_before_a_second_one(plan_of: Any) -> None:
    plan = plan_of(rows=("DGL", "Backprop"), columns=("J=16",), dataset="cifar10", seeds=2)
    dgl, backprop = ("CIFAR-10 / ResNet-32 / DGL", "J=16"), ("Backprop", "J=16")
    assert places(plan.jobs) == [(*dgl, 0), (*backprop, 0), (*dgl, 1), (*backprop, 1)]


def test_order_of_the_options_is_irrelevant(plan_of: Any) -> None:
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
