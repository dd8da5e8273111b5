"""`locbench costs` and `fit`, the timeline, and the pyramid's plot."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from report_builders import make_record, reduced
from small_table import Bench

from locbench.cli.app import app
from locbench.costs.memory.fit import largest_batch, largest_peak, parse_bytes, rank_for_batch
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.timeline import KINDS, draw, series
from locbench.costs.memory.trace import peak_bytes, trace_step
from locbench.costs.time_estimate import training_macs
from locbench.errors import FailureError, UsageError
from locbench.networks.chain import build_chain
from locbench.networks.flops import forward_flops
from locbench.report.plots import accuracy_by_task, plot_reduction
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table
from locbench.spec.validation import make_recipe

PNG = b"\x89PNG"


def recipe(method: str, **options: object) -> Recipe:
    base = {"network": "resnet8", "dataset": "digits", "epochs": 4, "batch_size": 8, "lr": 0.05}
    return make_recipe(base | {"method": method, "options": options})


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("11GB", 11_000_000_000),
        ("24GiB", 24 * 1024**3),
        ("1.5M", 1_500_000),
        (" 700 MB ", 700_000_000),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "11 apples", "-3GB"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(UsageError):
        parse_bytes(text)


@pytest.mark.parametrize("method", ["bp", "dgl", "pgl+head"])
def test_largest_batch_fits_and_the_next_does_not(method: str) -> None:
    memory = 8_000_000
    batch, peak = largest_batch(recipe(method), memory)
    assert peak == largest_peak(recipe(method), TraceOptions(batch_size=batch)) <= memory
    assert largest_peak(recipe(method), TraceOptions(batch_size=batch + 1)) > memory


def test_the_largest_peak_of_pgl_is_that_of_its_worse_phase() -> None:
    local, guided = (
        peak_bytes(recipe("pgl+head"), TraceOptions(guided=phase)) for phase in (False, True)
    )
    assert largest_peak(recipe("pgl+head")) == max(local, guided)
    assert guided > local


def test_a_batch_that_cannot_fit() -> None:
    with pytest.raises(FailureError, match="not even a batch of 2 fits"):
        largest_batch(recipe("bp"), 1000)


def test_operations_of_training() -> None:
    network = forward_flops(lambda: build_chain("resnet8", 10, 16), (3, 16, 16)).macs
    assert training_macs(recipe("bp")) == 3 * network
    assert training_macs(recipe("bp+checkpointed")) == 4 * network
    heads = training_macs(recipe("dgl")) - 3 * network
    assert heads > 0
    assert heads % 3 == 0
    assert (
        training_macs(msgspec.structs.replace(recipe("dgl"), memory="lean")) == 4 * network + heads
    )
    # Cascades bring one more set of auxiliary nets, of all windows but those at the network's ends.
    assert training_macs(recipe("hpff+dgl", pff=0)) > 4 * network + heads
    assert training_macs(recipe("hpff+dgl", pff=0, engine="recompute")) == (
        training_macs(recipe("hpff+dgl", pff=0)) + 5 * network
    )


def test_candidates_that_fit_come_first_and_the_cheapest_of_them_on_top() -> None:
    recipes = [recipe("auglocal"), recipe("bp"), recipe("bp+checkpointed"), recipe("dgl")]
    peaks = {each.method: largest_peak(each) for each in recipes}
    memory = sorted(peaks.values())[2]
    found = rank_for_batch(recipes, memory)
    assert [each.peak <= memory for each in found] == [True, True, True, False]
    assert [each.macs for each in found[:3]] == sorted(each.macs for each in found[:3])


def test_timeline_adds_up_to_the_peak(tmp_path: Path) -> None:
    step = trace_step(recipe("auglocal"))
    bands = series(step, lambda storage: storage.kind, KINDS)
    assert bands.sum(axis=0).max() == step.peak
    assert (bands >= 0).all()
    assert bands[KINDS.index("parameters")].min() > 0  # the learner outlives the step
    draw(step, 3, "auglocal", tmp_path / "step.png")
    assert (tmp_path / "step.png").read_bytes().startswith(PNG)


def test_costs_of_a_recipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = [
        "costs",
        "--network",
        "resnet8",
        "--method",
        "dgl",
        "--dataset",
        "digits",
        "--batch-size",
        "8",
    ]
    app([*words, "--results", str(tmp_path), "--json"], standalone_mode=False)
    entry = json.loads(capsys.readouterr().out)
    bp = recipe("bp")
    assert entry["memory_peak_bytes"] == peak_bytes(recipe("dgl"))
    assert entry["bp_peak_bytes"] == peak_bytes(bp)
    assert entry["memory_lean_bytes"] < entry["memory_peak_bytes"]
    assert (
        entry["params_auxiliary"] == 9_962 * 2 + 37_834
    )  # DGL's nets after the stem and the first two blocks
    network = forward_flops(lambda: build_chain("resnet8", 10, 16), (3, 16, 16))
    assert entry["macs"] > network.macs
    assert entry["flops"] > network.flops


def test_costs_need_a_table_or_a_recipe() -> None:
    with pytest.raises(UsageError, match="a table or a recipe is needed"):
        app(["costs", "--network", "resnet8"], standalone_mode=False)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("nosuch",), ["unknown table 'nosuch'", "locbench list"]),
        (
            ("--network", "resnet999", "--method", "bp"),
            ["unknown network 'resnet999'", "Did you mean"],
        ),
        (("--network", "resnet8", "--method", "foo"), ["unknown method 'foo'"]),
        (
            ("--network", "resnet8", "--method", "bp", "--batch-size", "0"),
            ["batch_size is 0", "1 or more"],
        ),
        (
            ("--network", "resnet8", "--method", "bp", "--image-size", "0"),
            ["image_size is 0", "1 or more"],
        ),
        (
            ("--network", "resnet8", "--method", "dgl", "--batch-size", "1"),
            ["cannot be traced", "larger batch"],
        ),
        (
            ("mini", "--network", "resnet8"),
            ["too much is given: the table's ID, --network", "Give an ID, or"],
        ),
        (("mini", "--batch-size", "0"), ["the table's ID, --batch-size"]),
        (("mini", "--residuals"), ["the table's ID, --residuals"]),
        (("--residuals", "--set", "depth=3"), ["--residuals, --set"]),
        (("--network", "resnet8"), ["a table or a recipe is needed", "--network and --method"]),
    ],
)
def test_bad_input(
    words: tuple[str, ...],
    parts: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    called = Bench(tmp_path, monkeypatch, capsys).call("costs", *words)
    assert called.code == 2
    assert called.err.startswith("error: ")
    assert all(part in called.err for part in parts)


def test_pyramid_plot(tmp_path: Path) -> None:
    table = load_table("auglocal-pyramid")
    reductions = {(cell.row, cell.column): 10.0 for cell in table.cells}
    plot_reduction(table, reductions, [], tmp_path / "pyramid.png")
    assert (tmp_path / "pyramid.png").read_bytes().startswith(PNG)
    first = table.cells[0].recipe
    assert first is not None
    quick = reduced(first, "quick")
    records = [
        make_record(msgspec.structs.replace(quick, seed=seed), 50.0 + 2 * seed) for seed in (0, 1)
    ]
    accuracies, how = accuracy_by_task(table, [*records, make_record(first, 90.0)])
    assert list(accuracies.values()) == [51.0]
    assert f"{quick.epochs} epochs" in how
    with pytest.raises(UsageError, match="no plot of pgl-period"):
        plot_reduction(load_table("pgl-period"), {}, [], tmp_path / "no.png")
