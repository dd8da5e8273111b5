"""What `locbench costs` shows beside its counts and predictions: verdicts, calibrations,
measurements, the layout.

The traces are written by hand, so that every figure is known beforehand and nothing is traced.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from report_builders import make_record
from small_table import Bench

from locbench.costs.measured.store import Measurement, MeasurementStore
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.store import PredictionStore, TracedStep
from locbench.costs.trace_store import made_with
from locbench.report.cost_rows import JudgedRow
from locbench.report.model import Entry
from locbench.spec.expression import backpropagation
from locbench.spec.recipe import Recipe, without_schedule
from locbench.spec.table_files import read_table
from locbench.spec.tables import Table

GB, MIB = 10**9, 2**20

COSTS = """\
id = "toy-costs"
paper = "auglocal"
number = "Table 9"
title = "A small table of costs"
source = "Nobody 2024, Table 9"
notes = [
    { of = ["params"], text = "The total of Backpropagation is a slip." },
    "The parameters of Backpropagation are old.",
    { of = ["gpu_memory"], text = "The published memory is of another network." },
]

[recipe]
network = "resnet32"
dataset = "cifar10"
epochs = 160
batch_size = 1024
lr = 0.8

[metrics.flops]
unit = "G"
kind = "exact"

[metrics.params]
unit = "M"
kind = "exact"

[metrics.gpu_memory]
unit = "GB"
kind = "predicted"

[[rows]]
label = "FLOPs"

[[rows]]
label = "Parameters"

[[rows]]
label = "GPU Memory"

[[columns]]
label = "Backpropagation"
recipe = { method = "bp" }

[[columns]]
label = "PredSim"
recipe = { method = "predsim" }

[published.flops]
"FLOPs" = ["0.07", "0.08"]

[published.params]
"Parameters" = ["0.86", ""]

[published.gpu_memory]
"GPU Memory" = ["2.60", "1.45"]
"""

CALIBRATION = """
[calibration]
how = "One constant, fitted on one place."

[[calibration.terms]]
gigabytes = 0.5
fitted = [["GPU Memory", "Backpropagation"]]
"""

UNFIT = """
[[calibration.unfit]]
row = "GPU Memory"
column = "PredSim"
why = "nobody knows"
"""


def keep(
    store: PredictionStore, recipe: Recipe, peak: int, setting: TraceOptions = TraceOptions()
) -> None:
    """Write a trace of a recipe as the store would."""
    made = {"made_with": made_with(recipe), "trace_version": store.version}
    made |= {"peak": peak, "kinds": {}, "backwards": {}}
    step = TracedStep(recipe=without_schedule(recipe), setting=setting, **made)
    path = store.path(recipe, setting)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(step))


def keep_table(table: Table, results: Path, peaks: dict[str, int]) -> None:
    """Keep traces of all of a table's recipes, by method; lean memory takes half."""
    store = PredictionStore(results)
    own = [cell.recipe for cell in table.cells if cell.recipe is not None]
    for each in own:
        for recipe in (each, backpropagation(each)):
            keep(store, recipe, peaks[recipe.method])
            lean = msgspec.structs.replace(recipe, memory="lean")
            keep(store, lean, peaks[recipe.method] // 2)


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def costs(bench: Bench, text: str, peaks: dict[str, int]) -> Table:
    bench.write(text, "toy-costs")
    table = read_table(bench.tables / "toy-costs.toml")
    keep_table(table, bench.results, peaks)
    return table


PEAKS = {"bp": 2 * GB, "predsim": 1 * GB}


def test_json_keeps_counts_apart_from_what_stands_beside_them(bench: Bench) -> None:
    costs(bench, COSTS + CALIBRATION, PEAKS)
    found = bench.call("costs", "toy-costs", "--json").json
    assert found["id"] == "toy-costs"
    bp, predsim = found["cells"]
    assert (bp["row"], bp["column"]) == ("FLOPs", "Backpropagation")
    assert bp["places"] == [
        [row, "Backpropagation"] for row in ("FLOPs", "Parameters", "GPU Memory")
    ]
    assert (bp["params_primary"], bp["params_auxiliary"]) == (466_906, 0)
    assert (bp["flops"], predsim["flops"]) == (69_759_616, 69_836_416)  # the specification's
    assert (bp["memory_peak_bytes"], predsim["memory_peak_bytes"]) == (2 * GB, 1 * GB)
    assert bp["published"] == {"flops": 0.07, "params": 0.86, "gpu_memory": 2.60}
    assert predsim["published_bp"] == 2.60
    assert bp["verdicts"] == {"flops": "match", "params": "off"}
    assert predsim["verdicts"] == {"flops": "off"}
    assert (bp["calibrated_bytes"], bp["calibration_role"]) == (2_500_000_000, "fitted")
    assert (predsim["calibrated_bytes"], predsim["calibration_role"]) == (1_500_000_000, "held out")
    assert bp["measured"] == []


def test_without_calibration_nothing_is_calibrated(bench: Bench) -> None:
    costs(bench, COSTS, PEAKS)
    (bp, _), text = (
        bench.call("costs", "toy-costs", "--json").json["cells"],
        bench.call("costs", "toy-costs").out,
    )
    assert bp["calibrated_bytes"] is None
    assert bp["calibration_role"] is None
    assert "calibrat" not in text


def test_verdicts_and_misses(bench: Bench) -> None:
    costs(bench, COSTS, PEAKS)
    lines = bench.call("costs", "toy-costs").out.splitlines()
    assert "FLOPs: 1 of 2 equal after rounding" in lines
    assert "- PredSim: ours 0.0698 G, paper 0.08 G" in lines
    assert "Parameters: 0 of 1 equal after rounding" in lines
    assert "- Backpropagation: ours 0.4669 M, paper 0.86 M" in lines
    notes = [line.strip() for line in lines if "note" in line]
    assert notes == ["The table's note: The total of Backpropagation is a slip."]


def test_places_without_costs_say_why(bench: Bench) -> None:
    text = COSTS.replace('recipe = { method = "predsim" }', 'blocked = "no such network yet"')
    costs(bench, text, PEAKS)
    lines = bench.call("costs", "toy-costs").out
    assert "- blocked, no such network yet (FLOPs, PredSim; GPU Memory, PredSim)" in lines
    assert "FLOPs: 1 of 1 equal after rounding" in lines


def test_a_metric_is_off_where_one_of_its_values_is(bench: Bench) -> None:
    (cell, *_) = costs(bench, COSTS, PEAKS).cells
    published = cell.published["flops"]
    common: dict[str, Any] = {
        "row": "Stage 1",
        "column": "BP",
        "unit": "",
        "kind": "text",
        "published": published,
    }
    one, two = (
        Entry(metric="architecture", verdict=verdict, **common) for verdict in ("off", "match")
    )
    other = Entry(metric="flops", verdict="match", **common)
    row: Any = None
    assert JudgedRow(row, (one, two, other)).verdicts == {"architecture": "off", "flops": "match"}
    assert JudgedRow(row, (two, one, other)).verdicts == {"architecture": "off", "flops": "match"}


def cells_of(lines: list[str], label: str, head: str) -> list[str]:
    """Return the cells of a row in the grid that has a certain head."""
    start = next(index for index, line in enumerate(lines) if head in line)
    return next(line.split() for line in lines[start:] if line.startswith(label))


def test_calibrated_values_stand_beside_the_prediction_with_their_role(bench: Bench) -> None:
    costs(bench, COSTS + CALIBRATION + UNFIT, PEAKS)
    lines = bench.call("costs", "toy-costs").out.splitlines()
    # Predicted, share of BP, lean, published, share of BP: by hand.
    assert cells_of(lines, "PredSim", "memory (GB)")[1:] == ["1.000", "50%", "0.500", "1.45", "56%"]
    grid = cells_of(lines, "Backpropagation", "calibrated")
    assert grid[1:] == ["2.000", "2.60", "2.500", "-0.100", "fitted"]
    assert cells_of(lines, "PredSim", "calibrated")[1:] == [
        "1.000",
        "1.45",
        "1.500",
        "+0.050",
        "does",
        "not",
        "fit",
    ]
    assert "- does not fit: PredSim: nobody knows" in lines
    assert "never part of the prediction" in " ".join(lines)
    # Mean and worst before and after: |2 - 2.6|, |2.5 - 2.6|; |1 - 1.45|, |1.5 - 1.45|.
    found = [line.split() for line in lines if line.startswith("AugLocal")]
    assert found[0] == ["AugLocal", "fitted", "1", "0.600", "0.600", "0.100", "0.100", "GB"]
    assert found[1] == [
        "AugLocal",
        "does",
        "not",
        "fit",
        "1",
        "0.450",
        "0.450",
        "0.050",
        "0.050",
        "GB",
    ]


def test_residuals_over_all_tables(bench: Bench) -> None:
    costs(bench, COSTS + CALIBRATION, PEAKS)
    found = bench.call("costs", "--residuals", "--json").json["residuals"]
    assert [(each["paper"], each["role"], each["n"]) for each in found] == [
        ("auglocal", "fitted", 1),
        ("auglocal", "held out", 1),
    ]
    assert found[1]["mean_before"] == pytest.approx(0.45)
    assert found[1]["worst"] == pytest.approx(0.05)
    assert "held out  1" in bench.call("costs", "--residuals").out


def test_memory_in_mebibytes(bench: Bench) -> None:
    text = COSTS.replace('unit = "GB"', 'unit = "MiB"').replace('"2.60", "1.45"', '"1500", "900"')
    costs(bench, text, {"bp": 1200 * MIB, "predsim": 600 * MIB})
    assert cells_of(bench.call("costs", "toy-costs").out.splitlines(), "PredSim", "memory (MiB)")[
        1:
    ] == [
        *("600", "50%", "300"),
        *("900", "60%"),
    ]
    (_, predsim) = bench.call("costs", "toy-costs", "--json").json["cells"]
    assert predsim["memory_peak_bytes"] == 600 * MIB
    assert (predsim["published_bp"], predsim["published_memory_unit"]) == (1500, "MiB")


def test_a_unit_that_is_none_of_memory(bench: Bench) -> None:
    bench.write(COSTS.replace('unit = "GB"', 'unit = "apples"'), "toy-costs")
    called = bench.call("costs", "toy-costs")
    assert called.code == 1
    assert "'apples' is no unit of memory" in called.err


def test_only_what_was_traced_is_timed(bench: Bench) -> None:
    words = (
        "costs",
        "--network",
        "resnet8",
        "--method",
        "dgl",
        "--dataset",
        "digits",
        "--batch-size",
        "8",
    )
    assert "slowest row" in bench.call(*words).out
    assert "slowest row" not in bench.call(*words).out


def measurement(
    recipe: Recipe, *, benchmark: bool, allocated: int, reserved: int | None
) -> Measurement:
    return Measurement(
        recipe=recipe,
        setting=TraceOptions(),
        device="Toy GPU",
        benchmark=benchmark,
        meter="cuda allocator",
        allocated_bytes=allocated,
        reserved_bytes=reserved,
        milliseconds=12.345,
        spread=(12.0, 13.0),
        steps=50,
        warmup=5,
        provenance=make_record(recipe, 90.0).provenance,
    )


def test_measurements_stand_beside_the_prediction(bench: Bench) -> None:
    table, store = costs(bench, COSTS, PEAKS), MeasurementStore(bench.results)
    bp = table.cells[0].recipe
    assert bp is not None
    store.save(measurement(bp, benchmark=False, allocated=2_500_000_000, reserved=3_000_000_000))
    store.save(measurement(bp, benchmark=True, allocated=4_000_000_000, reserved=None))
    cell, other = bench.call("costs", "toy-costs", "--json").json["cells"]
    assert cell["memory_peak_bytes"] == 2 * GB  # as before
    assert other["measured"] == []
    assert [
        (each["benchmark"], each["allocated_bytes"], each["reserved_bytes"])
        for each in cell["measured"]
    ] == [
        (False, 2_500_000_000, 3_000_000_000),
        (True, 4_000_000_000, None),
    ]
    assert [each["predicted_percent"] for each in cell["measured"]] == [80.0, 50.0]
    lines = bench.call("costs", "toy-costs").out.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("Toy GPU"))
    assert lines[start + 1].split() == ["Backpropagation", "off", "2.500", "3.000", "12.3", "80.0"]
    assert lines[start + 2].split() == ["Backpropagation", "on", "4.000", "12.3", "50.0"]
