"""Several tables within a budget of time: order, end, going on; and cells side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from recorded_graphs import RecordedGraphs
from small_table import CELLS, MINI, Bench, numbers

from locbench.commands.campaign import STANDARD, Campaign, TablePart
from locbench.console import Terminal
from locbench.errors import UsageError
from locbench.execution import budget as deadline
from locbench.execution import preflight as device_check
from locbench.execution.budget import Deadline
from locbench.execution.config import ExecutionConfig
from locbench.execution.events import Event
from locbench.execution.plan import make_plan
from locbench.results.store import Store
from locbench.spec.selection import RunOptions
from locbench.spec.table_files import load_table
from locbench.training import engine, probe
from locbench.training.events import StepDone
from locbench.training.graphed import GraphedEngine

OTHER = MINI.replace('id = "mini"', 'id = "other"').replace(
    'network = "resnet8"', 'network = "resnet20"'
)


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    made = Bench(tmp_path, monkeypatch, capsys)
    made.write(OTHER, "other")
    return made


def test_entries_are_read_part_by_part() -> None:
    assert TablePart.parse("a") == TablePart("a", "a", None, (), ())
    whole = TablePart.parse("a@d::C=1")
    assert (whole.table, whole.dataset, whole.rows, whole.columns) == ("a", "d", (), ("C=1",))
    assert TablePart.parse("a:b@c").rows == ("b@c",)
    for wrong in ("", "@d", ":rows", "a:b:c:d"):
        with pytest.raises(UsageError, match="no part of a table"):
            TablePart.parse(wrong)


def test_entries_on_folders_with_colons_and_question_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("set", "a:b", "why?", "a"):
        (tmp_path / name).mkdir()
    for text, dataset, rows, columns in (
        ("imagefolder:set", "imagefolder:set", (), ()),
        ("imagefolder:set?side=16:R", "imagefolder:set?side=16", ("R",), ()),
        ("imagefolder:a:b", "imagefolder:a:b", (), ()),
        ("imagefolder:a:b:R:C", "imagefolder:a:b", ("R",), ("C",)),
        ("imagefolder:a:R:C", "imagefolder:a", ("R",), ("C",)),
        ("imagefolder:why?::C", "imagefolder:why?", (), ("C",)),
        ("imagefolder:gone:R", "imagefolder:gone", ("R",), ()),
        ("imagenet:set:R", "imagenet:set", ("R",), ()),
        ("imagenet:R:C", "imagenet", ("R",), ("C",)),
        ("imagenet::C", "imagenet", (), ("C",)),
        ("imagenet", "imagenet", (), ()),
        ("imagenet:/gone", "imagenet:/gone", (), ()),
        (f"coco:{tmp_path}/set", f"coco:{tmp_path}/set", (), ()),
        ("coco:AugLocal", "coco", ("AugLocal",), ()),
    ):
        found = TablePart.parse(f"t@{text}")
        assert (found.table, found.dataset, found.rows, found.columns) == (
            "t",
            dataset,
            rows,
            columns,
        )


def test_a_campaign_plans_each_entry_once(bench: Bench) -> None:
    campaign = Campaign(
        [TablePart.parse("mini")],
        RunOptions(),
        ExecutionConfig(bench.results, bench.folder, ("cpu",)),
        Terminal(),
    )
    (plan,) = campaign.plans()
    campaign.counts()
    campaign.jobs()
    assert campaign.plans()[0] is plan


def test_every_cell_gets_its_first_seed_before_any_gets_its_second(bench: Bench) -> None:
    config = ExecutionConfig(bench.results, bench.folder, ("cpu",))
    entries = [TablePart.parse("other::J=2"), TablePart.parse("mini"), TablePart.parse("other")]
    jobs = Campaign(entries, RunOptions(seeds=2), config, None).jobs()  # type: ignore[arg-type]
    found = [(job.recipe.seed, job.recipe.network, job.recipe.modules) for job in jobs]
    # The first entry's two cells, all five of the small table, and what is left of the other one,
    # each once.
    networks = ["resnet20"] * 2 + ["resnet8"] * 5 + ["resnet20"] * 3
    assert [(seed, network) for seed, network, _ in found] == [
        (s, n) for s in (0, 1) for n in networks
    ]
    assert [modules for _, _, modules in found[:2]] == [2, 2]
    assert len({job.recipe.key for job in jobs}) == len(jobs)


def test_the_standard_list_names_cells_that_exist() -> None:
    store = Store(Path("nowhere"))
    counts = []
    for entry in STANDARD:
        options = RunOptions(dataset="cifar10", rows=entry.rows, columns=entry.columns, seeds=1)
        plan = make_plan(load_table(entry.table), options, store, Path("nowhere"))
        deeper = {"resnet110"} if entry.table == "pgl-blocks" else set()
        assert {job.recipe.network for job in plan.jobs} == {"resnet32"} | deeper
        assert all(job.recipe.dataset.startswith("cifar10") for job in plan.jobs)
        counts.append(len(plan.jobs))
    assert counts[:2] == [13, 9]  # PGL's period grid; AugLocal's rows on ResNet-32


def test_a_campaign_that_ends_in_time_goes_on_to_the_same_numbers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock jumps past the budget in the middle of the third run; the second call finishes."""
    steps = 0

    def clock() -> float:
        return 1e9 if steps > 8 else 0.0

    on = Deadline.on

    def counting(self: Deadline, event: Event) -> None:
        nonlocal steps
        steps += isinstance(event, StepDone)
        on(self, event)

    monkeypatch.setattr(Deadline, "on", counting)
    monkeypatch.setattr(deadline.time, "monotonic", clock)
    first = bench.call(
        "campaign", "mini", "--budget", "5min", "--seeds", "1", "--device", "cpu", "--no-check"
    )
    assert first.code == 0, first.err
    assert 0 < len(bench.records()) < CELLS
    assert "To go on: the same command" in first.out
    monkeypatch.undo()
    monkeypatch.setenv("LOCBENCH_TABLES", str(bench.tables))
    monkeypatch.chdir(bench.folder)
    second = bench.call(
        *(
            "campaign",
            "mini",
            "--budget",
            "5min",
            "--seeds",
            "1",
            "--device",
            "cpu",
            "--no-check",
            "--json",
        )
    )
    assert second.code == 0, second.err
    assert second.json == [
        {"table": "mini", "runs": CELLS, "recorded": CELLS, "begun": 0, "failed": 0, "to do": 0}
    ]
    whole = bench.call("table", "mini", "--seeds", "1", "--device", "cpu", "--results", "whole")
    assert whole.code == 0
    alone = {record.key: numbers(record) for record in Store(bench.folder / "whole").all()}
    assert {record.key: numbers(record) for record in bench.records()} == alone


def test_an_engine_that_gave_up_is_not_passed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_check, "_stepped", lambda *_: ([torch.ones(2)], "eager"))
    called = bench.call(
        "campaign", "mini", "--budget", "5min", "--device", "cpu", "--engine", "compiled"
    )
    assert called.code == 1
    assert "engine compiled (gave up, ran eager), bp: differs from eager by 0.0e+00" in called.out


def test_graphs_pass_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs read the learning rate in float32: the check's must be held whole by it."""
    cpu = torch.device("cpu")

    made = probe.make_engine

    def make(name: str, *arguments: Any) -> Any:
        plain = made("eager", *arguments)
        return GraphedEngine(plain, RecordedGraphs()) if name == "graphed" else plain  # type: ignore[arg-type]

    monkeypatch.setattr(probe, "make_engine", make)
    monkeypatch.setattr(engine, "choose_engine", lambda name, *_: name)
    found = list(device_check.engine_checks(cpu, "graphed"))
    assert [each.name for each in found] == [
        f"engine graphed, {method}" for method, _ in device_check.METHODS
    ]
    assert all(each.passed for each in found), [each.line for each in found]


def test_torchrun_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    called = bench.call("campaign", "mini", "--device", "cpu")
    assert called.code == 2
    assert "torchrun" in called.err


def test_failed_runs_are_not_passed_over(bench: Bench) -> None:
    bench.write(MINI.replace("lr = 0.05", "lr = 1e30"))
    called = bench.call("campaign", "mini::J=2", "--seeds", "1", "--device", "cpu", "--no-check")
    assert called.code == 1
    assert "2 runs failed, of mini" in called.err


def test_a_device_is_looked_at_before_time_is_spent_on_it(bench: Bench) -> None:
    called = bench.call(
        "campaign",
        "mini::J=2",
        "--budget",
        "5min",
        "--seeds",
        "1",
        "--device",
        "cpu",
        "--engine",
        "eager",
    )
    assert called.code == 0, called.err
    assert "memory: not measured on the CPU" in called.out
    (kept,) = (bench.results / "checks").glob("*.json")
    found = json.loads(kept.read_text(encoding="utf-8"))
    assert found["checks"] == []  # eager steps are what others are held against
    assert torch.__version__.startswith(found["versions"]["torch"])


def test_an_engine_with_other_numbers_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {
        "eager": [torch.ones(3), torch.full((2,), 4.0)],
        "compiled": [torch.ones(3), torch.tensor([4.0, 4.4])],
    }
    monkeypatch.setattr(
        device_check, "_stepped", lambda _recipe, _device, engine: (weights[engine], engine)
    )
    called = bench.call(
        "campaign", "mini", "--budget", "5min", "--device", "cpu", "--engine", "compiled"
    )
    assert called.code == 1
    assert "differs from eager by 1.0e-01 after three steps: NOT as expected" in called.out
    assert "--engine eager" in called.err
    assert bench.records() == []
