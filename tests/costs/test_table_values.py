"""Published costs: values that must come out, and runs that tables share."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from locbench.costs.counts import flops_by_part, parameter_counts, recipe_flops
from locbench.costs.table_values import computed_values, flops_reduction
from locbench.errors import FailureError
from locbench.networks.flops import Flops
from locbench.report.compare import compare
from locbench.report.model import Entry
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table, read_table
from locbench.spec.tables import Cell, Table
from locbench.spec.validation import make_recipe

R110 = "CIFAR-10 / ResNet-110"
K55 = "CIFAR-10 / ResNet-110 K=55"
MEMORY = "GPU Memory"

# Typed from the papers, apart from the files. (table, row, column, metric, printed)
SPOT = [
    ("auglocal-memory", "CIFAR-10 / ResNet-32 / BP", MEMORY, "gpu_memory", "3.15"),
    ("auglocal-memory", f"{R110} / GC", MEMORY, "gpu_memory", "3.03"),
    ("auglocal-memory", f"{R110} / AugLocal", MEMORY, "gpu_memory", "1.72"),
    ("auglocal-memory", "ImageNet / ResNet-34 / AugLocal", MEMORY, "gpu_memory", "29.04"),
    ("auglocal-memory", "ImageNet / ResNet-101 / BP", MEMORY, "gpu_memory", "157.12"),
    ("auglocal-costs", "FLOPs", "InfoPro", "flops", "0.34"),
    ("auglocal-costs", "FLOPs", "AugLocal d=4", "flops", "0.80"),
    ("auglocal-costs", MEMORY, "PredSim", "gpu_memory", "1.54"),
    ("auglocal-costs", MEMORY, "InfoPro", "gpu_memory", "3.98"),
    ("auglocal-costs", MEMORY, "AugLocal d=3", "gpu_memory", "1.62"),
    ("auglocal-costs", "Wall-clock overhead", "Gradient Checkpoint", "wall_clock_overhead", "34.1"),
    ("auglocal-costs", "Wall-clock overhead", "AugLocal d=5", "wall_clock_overhead", "180.8"),
    ("auglocal-costs", "Acc.", "Gradient Checkpoint", "test_acc", "94.61 ± 0.18"),
    ("auglocal-costs", "Acc.", "AugLocal d=2", "test_acc", "90.98 ± 0.05"),
    ("auglocal-pyramid", "d=5", "tau=0.6", "flops", "0.93"),
    ("auglocal-pyramid", "d=7", "tau=0.8", "flops", "1.11"),
    ("auglocal-pyramid", "d=9", "tau=1.0", "flops", "1.18"),
    ("hpff-memory", "CIFAR-10 / ResNet-32 K=16 / PredSim*", MEMORY, "gpu_memory", "1.91"),
    ("hpff-memory", f"{K55} / DGL*", MEMORY, "gpu_memory", "2.44"),
    ("hpff-memory", f"{K55} / BP", MEMORY, "gpu_memory", "9.26"),
    ("hpff-memory", "ImageNet / ResNeXt-101 32x8d / InfoPro* K=4", MEMORY, "gpu_memory", "15.41"),
]
METRICS = {
    "auglocal-memory": {"gpu_memory": 9},
    "auglocal-costs": {"flops": 10, "gpu_memory": 10, "wall_clock_overhead": 9, "test_acc": 10},
    "auglocal-pyramid": {"flops": 25},
    "hpff-memory": {"gpu_memory": 14},
}


def cell(table_id: str, row: str, column: str) -> Cell:
    return next(
        each for each in load_table(table_id).cells if (each.row, each.column) == (row, column)
    )


def recipe_at(table_id: str, row: str, column: str) -> Recipe:
    recipe = cell(table_id, row, column).recipe
    assert recipe is not None
    return recipe


def entries(table: Table) -> list[Entry]:
    (comparison,) = compare(table, [], computed_values(table))
    return list(comparison.entries)


@pytest.fixture(scope="module")
def flops() -> dict[tuple[str, str, str], Entry]:
    tables = [load_table("auglocal-costs"), load_table("auglocal-pyramid")]
    return {
        (each.id, one.row, one.column): one
        for each in tables
        for one in entries(each)
        if one.metric == "flops"
    }


@pytest.mark.parametrize(("table_id", "row", "column", "metric", "printed"), SPOT)
def test_spot_values(table_id: str, row: str, column: str, metric: str, printed: str) -> None:
    assert cell(table_id, row, column).published[metric].text == printed


@pytest.mark.parametrize("table_id", METRICS)
def test_number_of_values_by_metric(table_id: str) -> None:
    assert (
        Counter(metric for each in load_table(table_id).cells for metric in each.published)
        == METRICS[table_id]
    )


def test_flops_of_auglocal_agree_in_all_cells_but_one(
    flops: dict[tuple[str, str, str], Entry],
) -> None:
    local = {
        place: each for place, each in flops.items() if "AugLocal" in place[2] or "tau" in place[2]
    }
    assert Counter(each.verdict for each in local.values()) == {"match": 29, "off": 1}
    miss = local["auglocal-pyramid", "d=6", "tau=1.0"]
    assert miss.verdict == "off"
    assert miss.measured == pytest.approx(0.8945, abs=5e-5)


def test_flops_of_other_methods(flops: dict[tuple[str, str, str], Entry]) -> None:
    """The published ones of BP, checkpointing and PredSim leave BatchNorm out, or are cut off."""
    verdicts = {
        column: each.verdict
        for (table_id, _, column), each in flops.items()
        if table_id == "auglocal-costs"
    }
    assert {verdicts[column] for column in ("DGL", "InfoPro")} == {"match"}
    low = ("BP", "Gradient Checkpoint", "PredSim")
    assert {verdicts[column] for column in low} == {"off"}
    for column in low:
        counted = recipe_flops(recipe_at("auglocal-costs", "FLOPs", column))
        assert 0.255 < counted.flops / 1e9 < 0.256
        assert f"{counted.macs / 1e9:.2f}" == "0.25"


R32 = {
    ("bp", None): 69_759_616,
    ("auglocal", 2): 175_520_896,
    ("auglocal", 4): 194_408_576,
    ("auglocal", 6): 243_018_624,
    ("predsim", None): 69_836_416,
    ("dgl", None): 71_486_592,
    ("infopro", None): 92_548_480,
}


@pytest.mark.parametrize(("method", "depth"), R32)
def test_flops_of_resnet32(method: str, depth: int | None) -> None:
    """The specification's numbers, worked out on the official networks."""
    assert (
        recipe_flops(make(method, **({"depth": depth} if depth else {}))).flops
        == R32[method, depth]
    )


def make(method: str, modules: int | None = None, **options: object) -> Recipe:
    settings = {
        "network": "resnet32",
        "dataset": "cifar10",
        "epochs": 160,
        "batch_size": 1024,
        "lr": 0.8,
    }
    return make_recipe({**settings, "method": method, "modules": modules, "options": options})


def test_decoders_and_similarity_are_counted_apart() -> None:
    # Two cuts: after the first and second module of three, 16 channels at 32 px and 32 channels at
    # 16 px.
    parts = flops_by_part(make("predsim", modules=3))
    assert parts.extra.macs == 9 * (16 * 16 * 32 * 32 + 32 * 32 * 16 * 16)
    assert parts.heads.macs == 2 * 512 * 10
    decoders = flops_by_part(make("infopro", modules=3)).extra
    assert decoders.macs == 9 * 32 * 32 * (16 * 12 + 12 * 3 + 32 * 12 + 12 * 3)
    assert decoders.flops == decoders.macs + 2 * 2 * 12 * 32 * 32
    assert flops_by_part(make("bp")).heads == Flops()


def test_patches_run_a_head_once_each() -> None:
    whole, patched = (
        flops_by_part(make(name, modules=2, net="1C2F")) for name in ("head", "pff+head")
    )
    assert patched.network == whole.network
    # The cut sees 32 channels at 16 px: a strided convolution to 64, then two linear layers on what
    # is pooled.
    convolution, linear = 9 * 32 * 64 * 8 * 8, 64 * 128 + 128 * 10
    assert whole.heads.macs == convolution + linear
    assert patched.heads.macs == convolution + 4 * linear


def test_lean_memory_does_not_change_the_counts() -> None:
    plain = make("auglocal", depth=3)
    lean = msgspec.structs.replace(plain, memory="lean")
    assert flops_by_part(lean) == flops_by_part(plain)
    assert parameter_counts(lean) == parameter_counts(plain)


def test_parameters_of_the_cost_table() -> None:
    """The specification's totals, worked out on the official networks."""
    totals = [4_897_068, 7_672_290, 8_971_416, 10_775_182, 12_010_180]
    for depth, total in enumerate(totals, 2):
        assert (
            sum(
                parameter_counts(
                    recipe_at("auglocal-costs", "FLOPs", f"AugLocal d={depth}")
                ).values()
            )
            == total
        )
    for column, total in {
        "BP": 1_730_714,
        "DGL": 5_105_750,
        "PredSim": 2_844_086,
        "InfoPro": 3_455_688,
    }.items():
        assert sum(parameter_counts(recipe_at("auglocal-costs", "FLOPs", column)).values()) == total


def test_reduction_by_the_pyramid() -> None:
    """It grows with decay, and reaches the 45 % that the text names."""
    table = load_table("auglocal-pyramid")
    rows = {
        row.label: [flops_reduction(recipe_at(table.id, row.label, "tau=1.0"))]
        for row in table.rows[::4]
    }
    for row, found in rows.items():
        found += [
            flops_reduction(recipe_at(table.id, row, column)) for column in ("tau=0.8", "tau=0.6")
        ]
        assert found == sorted(found, reverse=True)
        assert all(0 < each < 60 for each in found)
    assert flops_reduction(make("auglocal", depth=6, decay=0.0)) == 0
    assert max(max(found) for found in rows.values()) > 45


def test_figure_5_is_shown_without_published_values() -> None:
    table = load_table("auglocal-pyramid")
    one = msgspec.structs.replace(
        table, rows=table.rows[:1], columns=table.columns[:1], published={}, claims=[]
    )
    (entry,) = [each for each in entries(one) if each.metric == "flops_reduction"]
    assert entry.published is None
    assert entry.verdict == "unconfirmed"


COLUMNS = ("BP", "PredSim", "DGL", "InfoPro", *(f"AugLocal d={depth}" for depth in range(2, 7)))


@pytest.mark.parametrize("column", COLUMNS)
def test_accuracy_is_the_depth_tables_run(column: str) -> None:
    own = recipe_at("auglocal-costs", "Acc.", column)
    assert own.key == recipe_at("auglocal-depth", f"ResNet-110 / {column}", "CIFAR-10").key
    assert own.key == recipe_at("auglocal-costs", MEMORY, column).key


def test_checkpointing_trains_nothing_of_its_own() -> None:
    assert recipe_at("auglocal-costs", "Acc.", "Gradient Checkpoint").composition.end_to_end
    assert recipe_at("auglocal-costs", "Acc.", "Gradient Checkpoint").key == (
        recipe_at("auglocal-costs", "Acc.", "BP").key
    )
    for row in ("FLOPs", MEMORY, "Wall-clock overhead"):
        assert recipe_at("auglocal-costs", row, "Gradient Checkpoint").method == "bp+checkpointed"
    settings = load_table("auglocal-costs").settings(
        cell("auglocal-costs", "Acc.", "Gradient Checkpoint")
    )
    assert settings["method"] == "bp"


SHARED = [
    (("auglocal-memory", f"{R110} / BP", MEMORY), ("auglocal-costs", MEMORY, "BP")),
    (
        ("auglocal-memory", f"{R110} / GC", MEMORY),
        ("auglocal-costs", MEMORY, "Gradient Checkpoint"),
    ),
    (("auglocal-memory", f"{R110} / AugLocal", MEMORY), ("auglocal-costs", MEMORY, "AugLocal d=6")),
    *(
        (
            ("hpff-memory", f"{K55} / {name}", MEMORY),
            ("hpff-benchmarks", f"CIFAR-10 / {name}", "ResNet-110 K=55"),
        )
        for name in ("DGL*", "InfoPro*", "PredSim*")
    ),
    (("hpff-memory", f"{K55} / BP", MEMORY), ("hpff-benchmarks", "CIFAR-10 / BP", "ResNet-110")),
    (("hpff-memory", f"{K55} / InfoPro*", MEMORY), ("hpff-pff", f"{K55} / InfoPro+HPFF", MEMORY)),
    (("hpff-memory", f"{K55} / BP", MEMORY), ("auglocal-memory", f"{R110} / BP", MEMORY)),
]


@pytest.mark.parametrize(("one", "other"), SHARED, ids=lambda place: "|".join(place))
def test_shared_runs_have_one_key(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert recipe_at(*one).key == recipe_at(*other).key


def test_hpffs_printed_reductions_follow_from_its_memory() -> None:
    (comparison,) = compare(load_table("hpff-memory"), [], {("x", "y"): {}})
    assert len(comparison.derived) == 9
    assert all(each.agrees for each in comparison.derived)


def test_where_an_axis_meets_no_such_label(tmp_path: Path) -> None:
    text = (
        Path(__file__)
        .parents[2]
        .joinpath("tables", "auglocal-costs.toml")
        .read_text(encoding="utf-8")
    )
    path = tmp_path / "auglocal-costs.toml"
    path.write_text(text.replace('at = { "Acc."', 'at = { "Acc"'), encoding="utf-8")
    with pytest.raises(FailureError, match=r"Gradient Checkpoint.*'Acc\.'"):
        read_table(path)
    path.write_text(text.replace('"AugLocal d=2"]]', '"AugLocal d=1"]]'), encoding="utf-8")
    with pytest.raises(FailureError, match=r"calibration\.terms\[1\]\.fitted.*AugLocal d=1"):
        read_table(path)


def test_memory_of_a_table_is_looked_up_without_torch() -> None:
    script = """
import sys
from pathlib import Path
from locbench.costs.memory.store import PredictionStore
from locbench.costs.table_values import computed_if_needed
from locbench.spec.table_files import load_table
assert computed_if_needed(load_table("hpff-memory"), PredictionStore(Path("nowhere"))) == {}
assert "torch" not in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
