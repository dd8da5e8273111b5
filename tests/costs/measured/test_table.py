"""Measured costs of a table: what is kept, repeated and reported."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
import torch
from rich.console import Console
from small_table import Bench
from specimens import recipe

from locbench.costs.measured.measure import PlannedStep, measure_table, missing_steps, planned_steps
from locbench.costs.measured.store import Measurement, MeasurementStore
from locbench.costs.measured.table import MeasuredCost, Variant, cost_cells, measured_costs
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.store import PredictionStore, TracedStep
from locbench.learning.routing import StepOutput
from locbench.report.measured import measured_blocks
from locbench.results.record import Provenance
from locbench.spec.components import Periodic
from locbench.spec.recipe import Recipe, without_schedule
from locbench.spec.selection import RunOptions, narrow
from locbench.spec.table_files import read_table
from locbench.spec.tables import Table
from locbench.terminal.comparison import print_blocks
from locbench.training.probe import ProbeStep

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
GLOBAL = TraceOptions(guided=True)

COSTS = """\
id = "costs"
paper = "auglocal"
number = "Table 7"
title = "Costs"
source = "Nobody 2024, Table 7"

[recipe]
network = "resnet8"
dataset = "digits"
epochs = 160
batch_size = 4
lr = 0.05

[metrics.gpu_memory]
unit = "GB"
kind = "predicted"
better = "lower"

[metrics.wall_clock_overhead]
unit = "%"
kind = "measured"
better = "lower"

[[rows]]
label = "GPU Memory"

[[rows]]
label = "Wall-clock overhead"

[[columns]]
label = "DGL"
recipe = { method = "dgl" }

[[columns]]
label = "BP"
recipe = { method = "bp" }

[[columns]]
label = "PGL"
recipe = { method = "pgl+head" }

[published.gpu_memory]
"GPU Memory" = ["1.61", "9.27", "2.62"]

[published.wall_clock_overhead]
"Wall-clock overhead" = ["76.2", "", "50.0"]
"""

STEPS = [("bp", False), ("dgl", False), ("pgl+head", False), ("pgl+head", True)]
"""Backpropagation comes first, since DGL's time is held against it."""


@pytest.fixture
def table(tmp_path: Path) -> Table:
    path = tmp_path / "costs.toml"
    path.write_text(COSTS, encoding="utf-8")
    return read_table(path)


def made(
    recipe: Recipe,
    milliseconds: float = 100.0,
    *,
    setting: TraceOptions = TraceOptions(),
    benchmark: bool = False,
    **changes: Any,
) -> Measurement:
    known: dict[str, Any] = {
        "recipe": without_schedule(recipe),
        "setting": setting,
        "device": "Accelerator 9",
        "benchmark": benchmark,
        "meter": "cuda allocator",
        "allocated_bytes": 2_000_000_000,
        "reserved_bytes": 3_000_000_000,
        "first_allocated_bytes": 4_000_000_000,
        "first_reserved_bytes": 5_000_000_000,
        "milliseconds": milliseconds,
        "spread": (milliseconds - 1, milliseconds + 2),
        "steps": 50,
        "warmup": 10,
        "provenance": Provenance(
            "Accelerator 9", {"torch": "2.6"}, "0123456789abcdef", False, "2024-05-01T00:00:00Z", 1
        ),
    }
    return Measurement(**known | changes)


def recipe_in(table: Table, column: str) -> Recipe:
    found = next(cell.recipe for cell in table.cells if cell.column == column)
    assert found is not None
    return found


def measured_steps(measurements: list[Measurement]) -> list[tuple[str, bool]]:
    phases = [each.recipe.composition.phases for each in measurements]
    names = ["pgl+head" if isinstance(each, Periodic) else "dgl" for each in phases]
    ends = [each.recipe.composition.end_to_end for each in measurements]
    return [
        ("bp" if end else name, each.setting.guided)
        for end, name, each in zip(ends, names, measurements, strict=True)
    ]


def test_a_measurement_is_read_back_as_it_was(tmp_path: Path) -> None:
    store, one = MeasurementStore(tmp_path), recipe("dgl")
    assert store.of(one) == ()
    local, searched, guided = made(one), made(one, benchmark=True), made(one, setting=GLOBAL)
    failed = made(one, device="Small 1", error="does not fit: no memory")
    for each in (local, searched, guided, failed):
        store.save(each)
    store.save(made(recipe("predsim")))
    assert len(list((tmp_path / "measured").glob("*.json"))) == 5
    # By the files' names: ...-benchmark, then ....json.
    assert MeasurementStore(tmp_path).of(one) == (
        searched,
        local,
    )
    assert store.of(
        msgspec.structs.replace(one, epochs=9, seed=4, lr=1.0, method="another wording")
    ) == store.of(one)
    assert store.of(one, GLOBAL) == (guided,)
    assert failed in store.tried(one)
    assert store.of(msgspec.structs.replace(one, batch_size=9)) == ()
    assert store.of(msgspec.structs.replace(one, memory="lean")) == ()
    assert store.find(one, TraceOptions(), "Accelerator 9", benchmark=True) == searched
    assert store.find(one, TraceOptions(), "Accelerator 8", benchmark=True) is None
    store.save(made(one, 7.0))
    assert [each.milliseconds for each in store.of(one) if not each.benchmark] == [7.0]


def test_the_store_needs_no_torch() -> None:
    modules = (
        "locbench.costs.measured.store, locbench.costs.measured.table, locbench.report.measured"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {modules}; sys.exit('torch' in sys.modules)"],
        timeout=60,
    )
    assert done.returncode == 0


@pytest.mark.parametrize("damage", ["", "{}", "[1]", "\xff", "other"])
def test_a_damaged_measurement_counts_as_missing_and_is_replaced(
    tmp_path: Path, table: Table, damage: str
) -> None:
    part, store = (
        narrow(table, [cell for cell in table.cells if cell.column != "PGL"]),
        MeasurementStore(tmp_path),
    )
    kept = measure_table(part, store, CPU, steps=1)
    path = store.save(kept[1])
    other = store.save(kept[0]).read_bytes()
    path.write_bytes(other if damage == "other" else damage.encode("latin-1"))
    fresh = MeasurementStore(tmp_path)
    assert fresh.of(kept[1].recipe) == ()
    assert [str(path) in fault for fault in fresh.lines] == [True]
    (again,) = measure_table(part, fresh, CPU, steps=1)
    assert again.recipe == kept[1].recipe
    assert len(MeasurementStore(tmp_path).of(kept[1].recipe)) == 1


def test_steps_come_in_a_fixed_order_with_backpropagation_first(table: Table) -> None:
    def words(found: list[PlannedStep]) -> list[tuple[str, bool, bool]]:
        return [(each.recipe.method, each.setting.guided, each.benchmark) for each in found]

    assert words(planned_steps(table, CPU)) == [(*step, False) for step in STEPS]
    assert words(planned_steps(table, CUDA)) == [
        (*step, search) for step in STEPS for search in (False, True)
    ]
    lean = planned_steps(table, CPU, Variant(memory="lean"))
    assert [(each.recipe.method, each.recipe.memory) for each in lean] == [
        ("bp", "plain"),
        ("dgl", "lean"),
        ("bp", "lean"),
        ("pgl+head", "lean"),
        ("pgl+head", "lean"),
    ]
    tf32 = planned_steps(table, CUDA, Variant(precision="tf32"))
    assert {each.recipe.precision for each in tf32} == {"tf32"}


def test_what_is_recorded_is_not_measured_again(tmp_path: Path, table: Table) -> None:
    store = MeasurementStore(tmp_path)
    assert measured_steps(measure_table(table, store, CPU, steps=1)) == STEPS
    files = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    assert measure_table(table, store, CPU, steps=1) == []
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == files
    assert measured_steps(measure_table(table, store, CPU, steps=1, rerun="all")) == STEPS
    failed = msgspec.structs.replace(store.of(recipe_in(table, "DGL"))[0], error="does not fit")
    store.save(failed)
    assert measure_table(table, store, CPU) == []
    assert len(missing_steps(table, store, CPU, rerun="failed")) == 1
    assert measured_steps(measure_table(table, store, CPU, steps=1, rerun="failed")) == [
        ("dgl", False)
    ]


def test_what_does_not_fit_does_not_end_the_sweep(
    tmp_path: Path, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = ProbeStep.__call__

    def limited(self: ProbeStep) -> StepOutput:
        if self.recipe.composition.end_to_end:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return step(self)

    monkeypatch.setattr(ProbeStep, "__call__", limited)
    found = measure_table(table, MeasurementStore(tmp_path), CPU, steps=1)
    assert measured_steps(found) == STEPS
    assert [each.fits for each in found] == [False, True, True, True]
    lines = measured_costs(table, MeasurementStore(tmp_path), PredictionStore(tmp_path))
    assert [line.off.error for line in lines if line.off and line.column == "BP"] == [
        "does not fit: CUDA out of memory"
    ]
    assert all(line.off is not None and line.off.overhead is None for line in lines)


class Peaks(PredictionStore):
    """Predictions of a gigabyte for a local step and three for a global one."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"))

    def step(self, recipe: Recipe, setting: TraceOptions = TraceOptions()) -> TracedStep | None:
        peak = 3 * 10**9 if setting.guided else 10**9
        return TracedStep(
            recipe=recipe, setting=setting, made_with="", peak=peak, kinds={}, backwards={}
        )


def measured_table(folder: Path, table: Table) -> tuple[MeasuredCost, ...]:
    """The whole table on one device: BP in 100 ms, DGL in 150, PGL in 120 and 220.

    With the search in half of it.
    """
    store = MeasurementStore(folder)
    times = {
        ("BP", False): 100.0,
        ("DGL", False): 150.0,
        ("PGL", False): 120.0,
        ("PGL", True): 220.0,
    }
    for (column, guided), time in times.items():
        for benchmark in (False, True):
            setting = GLOBAL if guided else TraceOptions()
            allocated = {"allocated_bytes": 4_000_000_000} if guided else {}
            one = made(
                recipe_in(table, column),
                time / (1 + benchmark),
                setting=setting,
                benchmark=benchmark,
                **allocated,
            )
            store.save(one)
    return measured_costs(table, store, Peaks())


def test_overheads_shares_and_means(tmp_path: Path, table: Table) -> None:
    lines = {(each.column, each.step): each for each in measured_table(tmp_path, table)}
    assert list(lines) == [
        ("DGL", ""),
        ("BP", ""),
        ("PGL", "local"),
        ("PGL", "global"),
        ("PGL", "mean"),
    ]
    overheads = {
        key: (line.off.overhead, line.on.overhead)
        for key, line in lines.items()
        if line.off and line.on
    }
    assert overheads["DGL", ""] == pytest.approx((50, 50))
    assert overheads["BP", ""] == (None, None)
    assert overheads["PGL", "local"] == pytest.approx((20, 20))
    # A fifth of the epochs is global: 0.8 * 120 + 0.2 * 220 = 140 ms, and 0.8 * 2 + 0.2 * 4 = 2.4
    # GB.
    assert overheads["PGL", "mean"] == pytest.approx((40, 40))
    mean = lines["PGL", "mean"]
    assert mean.off is not None
    assert mean.off.milliseconds == pytest.approx(140)
    assert mean.off.allocated_bytes == pytest.approx(2.4e9)
    assert mean.predicted_bytes == pytest.approx(1.4e9)
    assert lines["DGL", ""].predicted_share == pytest.approx(50)
    assert mean.predicted_share == pytest.approx(100 * 1.4 / 2.4)
    assert lines["PGL", "local"].published_memory is None
    assert (mean.published_memory and mean.published_memory.text) == "2.62"
    assert (mean.published_overhead and mean.published_overhead.text) == "50.0"
    assert lines["DGL", ""].places == (("GPU Memory", "DGL"), ("Wall-clock overhead", "DGL"))


def test_devices_and_variants_stand_apart(tmp_path: Path, table: Table) -> None:
    measured_table(tmp_path, table)
    store, dgl = MeasurementStore(tmp_path), recipe_in(table, "DGL")
    store.save(made(dgl, 300.0, device="Accelerator 10"))
    store.save(made(msgspec.structs.replace(dgl, memory="lean"), 160.0))
    store.save(made(msgspec.structs.replace(dgl, precision="tf32"), 80.0))
    lines = [each for each in measured_costs(table, store, Peaks()) if each.column == "DGL"]
    found = [(each.device, each.variant, each.off.overhead if each.off else None) for each in lines]
    assert sorted(found, key=str) == [
        ("Accelerator 10", "", None),  # backpropagation was not measured there
        ("Accelerator 9", "", pytest.approx(50)),
        ("Accelerator 9", "lean memory", pytest.approx(60)),
        ("Accelerator 9", "tf32", None),  # nor in this precision
    ]


def test_only_costs_are_measured(table: Table) -> None:
    assert [cell.places[0] for cell in cost_cells(table)] == [
        ("GPU Memory", "DGL"),
        ("GPU Memory", "BP"),
        ("GPU Memory", "PGL"),
    ]
    assert [set(cell.published) for cell in cost_cells(table)][:2] == [
        {"gpu_memory", "wall_clock_overhead"},
        {"gpu_memory"},
    ]


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    made = Bench(tmp_path, monkeypatch, capsys)
    made.write(COSTS, "costs")
    return made


def test_the_cpu_measures_only_if_asked(bench: Bench) -> None:
    said = bench.call("table", "costs", "--device", "cpu")
    assert said.code == 0
    assert "Measured on" not in said.out
    assert not (bench.results / "measured").exists()
    assert (
        "4 kinds of steps to be measured, 4 of them to do"
        in bench.call("table", "costs", "--plan", "--measure").out
    )
    asked = bench.call("table", "costs", "--measure", "--device", "cpu")
    assert asked.code == 0
    assert (
        asked.out.index("No full run yet")
        < asked.out.index("[1/4]")
        < asked.out.index("Measured on cpu")
    )
    assert "CPU allocator" in asked.out
    assert len(list((bench.results / "measured").glob("*.json"))) == 4
    kept = bench.call("table", "costs", "--no-measure")
    assert "Measured on cpu" in kept.out
    assert "[1/4]" not in kept.out


@pytest.mark.parametrize("width", [80, 100])
def test_no_figure_is_cut_on_the_terminal(tmp_path: Path, table: Table, width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    print_blocks(console, measured_blocks(table, measured_table(tmp_path, table)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    for figure in ("149.00 to 152.00", "75.00", "2.000", "3.000", "1.000", "76.2", "2.62", "58.3"):
        assert f" {figure}" in text
    assert "…" not in text


def test_reduced_runs_measure_nothing_unasked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from locbench.commands.measure import Measuring

    costs = read_table(bench.tables / "costs.toml")
    monkeypatch.setattr(Measuring, "_device", lambda self: CUDA)

    def wanted(options: RunOptions, asked: bool | None, table: Table = costs) -> bool:
        return Measuring(
            table, MeasurementStore(bench.results), "auto", options, asked=asked
        ).wanted

    assert wanted(RunOptions(), None)
    assert not wanted(RunOptions(), False)
    for reduced in (
        RunOptions(preset="smoke"),
        RunOptions(preset="quick"),
        RunOptions(epochs=1),
        RunOptions(limit=9),
    ):
        assert not wanted(reduced, None)
        assert wanted(reduced, True)
    # Accuracies alone.
    assert not wanted(RunOptions(), True, read_table(bench.tables / "mini.toml"))


def test_reports_show_what_was_measured(bench: Bench) -> None:
    costs = read_table(bench.tables / "costs.toml")
    bench.call("costs", "costs")  # predictions
    measured_table(bench.results, costs)
    text = bench.call("report", "costs").out
    section = text[
        text.index("## Measured on Accelerator 9 (CUDA caching allocator, engine eager)") :
    ]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    assert rows[0][1:5] == ["paper", "predicted", "allocated", "allocated, benchmark"]
    assert [row[0] for row in rows[2:7]] == [
        "GPU Memory, DGL",
        "GPU Memory, BP",
        "GPU Memory, PGL (local step)",
        "GPU Memory, PGL (global step)",
        "GPU Memory, PGL (mean over epochs)",
    ]
    assert rows[2][1] == "1.61"
    assert rows[2][3:5] == ["2.000", "2.000"]
    assert ["GPU Memory, DGL", "3.000", "3.000", "4.000", "4.000"] in rows
    assert [
        "GPU Memory, DGL",
        "150.00",
        "149.00 to 152.00",
        "75.00",
        "50.0",
        "50.0",
        "76.2",
    ] in rows
    for fact in (
        "50 training steps",
        "torch 2.6",
        "0123456789ab",
        "2024-05-01",
        "measured on Accelerator 9, in a",
    ):
        assert fact in text
    before = text[: text.index("## Measured on")]
    assert "150.00" not in before  # no figure of a device among the predictions
    assert "| Wall-clock overhead | ours  |     — |     — |" in before


def test_csv_and_json_hold_the_figures_under_names_of_their_own(bench: Bench) -> None:
    costs = read_table(bench.tables / "costs.toml")
    bench.call("costs", "costs")
    measured_table(bench.results, costs)
    frame = pd.read_csv(io.StringIO(bench.call("report", "costs", "--format", "csv").out))
    predicted, measured = frame[frame["kind"] == "predicted"], frame[frame["device"].notna()]
    assert set(predicted["metric"]) == {"gpu_memory"}
    assert predicted["device"].isna().all()
    assert set(measured["kind"]) == {"measured"}
    assert not set(measured["metric"]) & {"gpu_memory", "wall_clock_overhead"}
    places = zip(
        measured["column"], measured["metric"], measured["benchmark"].astype(bool), strict=True
    )
    found = dict(zip(places, measured.to_dict("records"), strict=True))
    time, memory = found["DGL", "step_time", False], found["DGL", "max_memory_allocated", True]
    assert (time["measured"], time["unit"], time["n"], time["engine"]) == (150.0, "ms", 50, "eager")
    assert (memory["measured"], memory["published"], memory["unit"]) == (2.0, 1.61, "GB")
    assert 0 < memory["predicted"] < 0.1
    read = json.loads(bench.call("report", "costs", "--format", "json").out)
    assert {
        "table",
        "heading",
        "paper",
        "extends",
        "source",
        "trials",
        "notes",
        "comparisons",
        "measured",
    } == read.keys()
    assert "measured" not in read["comparisons"][0]
    first = read["measured"][0]
    assert (first["column"], first["device"], first["engine"]) == ("DGL", "Accelerator 9", "eager")
    assert first["off"]["milliseconds"] == 150.0
    assert first["on"]["reserved_bytes"] == 3_000_000_000
    assert first["off"]["overhead"] == pytest.approx(50)


def test_a_report_of_measurements_alone(bench: Bench) -> None:
    costs = read_table(bench.tables / "costs.toml")
    measured_table(bench.results, costs)
    damaged = next((bench.results / "measured").glob("*.json"))
    damaged.write_text("{", encoding="utf-8")
    said = bench.call("report")
    assert said.code == 0
    assert "Measured on Accelerator 9" in said.out
    assert str(Path("results/measured") / damaged.name) in said.err


def test_json_of_a_table_holds_new_measurements(bench: Bench) -> None:
    said = bench.call(
        "table",
        "costs",
        "--measure",
        "--json",
        "--device",
        "cpu",
        "--rows",
        "GPU Memory",
        "--columns",
        "DGL",
    )
    assert [each["column"] for each in said.json["measured"]] == ["DGL"]
    # Backpropagation was measured with it.
    assert said.json["measured"][0]["off"]["overhead"] is not None
    assert "[2/2]" in said.err


INTERRUPTED = """
import os, signal, sys

from locbench.cli import main
from locbench.costs.measured import measure

step, calls = measure.measure, []
stop = getattr(signal, sys.argv.pop(1))

def measured(*arguments, **options):
    calls.append(arguments)
    if len(calls) == 2:
        os.kill(os.getpid(), stop)
    return step(*arguments, **options)

measure.measure = measured
main()
"""
"""The program, which sends itself the signal of its first argument in its second measurement."""


def test_ctrl_c_and_sigkill_keep_what_was_measured(tmp_path: Path) -> None:
    (tmp_path / "costs.toml").write_text(COSTS, encoding="utf-8")
    environment = os.environ | {"LOCBENCH_TABLES": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def stopped(by: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", INTERRUPTED, by, "table", "costs", "--measure"]
        command += ["--device", "cpu"]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=250
        )

    def written() -> dict[str, bytes]:
        folder = tmp_path / "results" / "measured"
        return {path.name: path.read_bytes() for path in folder.glob("*.json")}

    interrupted = stopped("SIGINT")
    assert interrupted.returncode == 130
    assert "stopped: 1 of 4 new measurements are recorded" in interrupted.stderr
    assert "Traceback" not in interrupted.stderr
    first = written()
    assert len(first) == 1
    assert stopped("SIGKILL").returncode == -signal.SIGKILL
    second = written()
    assert len(second) == 2
    assert first.items() <= second.items()
    assert {msgspec.json.decode(each, type=Measurement).error for each in second.values()} == {""}
