"""Estimates of time: recorded times first, then those of like runs, then counted operations.

And what is missing.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from report_builders import make_record
from small_table import ONE_CELL, Bench
from specimens import recipe_of

from locbench.costs import time_estimate as counted
from locbench.costs.measured.step_meter import CpuMeter
from locbench.execution.estimates import Estimator, basis_words, missing_traces, trace_seconds
from locbench.execution.job import Job
from locbench.execution.readiness import missing_for
from locbench.networks.chain import build_chain
from locbench.networks.flops import forward_flops
from locbench.results.record import Record
from locbench.spec.components import Periodic
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table
from locbench.training.device import device_name

CPU = torch.device("cpu")
ONE = recipe_of("bp", {}, epochs=4, train_limit=200, test_limit=100)


def recorded(recipe: Recipe, seconds: float, seed: int = 0, **changes: Any) -> Record:
    made = {
        "device": device_name(CPU),
        "threads": torch.get_num_threads(),
        "seconds": seconds,
    } | changes
    return make_record(recipe, 90.0, seed, provenance=made)


@pytest.fixture
def rate(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr("locbench.costs.time_estimate.measured_rate", lambda *_: 1e6)
    return 1e6


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def test_recorded_times_of_the_same_recipe_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    # Would fail if it were called.
    monkeypatch.setattr("locbench.costs.time_estimate.measured_rate", None)
    records = [recorded(ONE, seconds, seed) for seed, seconds in enumerate((10.0, 14.0, 11.0))]
    found = Estimator(records, CPU).of(msgspec.structs.replace(ONE, seed=7))
    assert (found.seconds, found.basis) == (11.0, "recorded")


@pytest.mark.parametrize(
    "changes", [{"device": "another processor"}, {"threads": 99}, {"beside": 2}, {"seconds": 0.0}]
)
def test_other_devices_and_runs_beside_others_do_not_count(
    rate: float, changes: dict[str, Any]
) -> None:
    seconds = {"seconds": 10.0} | changes
    found = Estimator([recorded(ONE, **seconds)], CPU).of(ONE)
    assert found.basis == "counted"
    network = forward_flops(lambda: build_chain("resnet8", 10, 16), (3, 16, 16)).macs
    assert found.seconds == pytest.approx((3 * network * 200 * 4 + network * 100 * 4) / rate)


def test_a_failed_run_says_nothing_of_the_time(rate: float) -> None:
    failed = msgspec.structs.replace(recorded(ONE, 10.0), status="failed")
    assert Estimator([failed], CPU).of(ONE).basis == "counted"


def test_a_run_of_the_same_network_and_method_is_scaled_by_its_images_and_epochs() -> None:
    """Training on an image is three forward passes, a test one.

    The second run is tested once, after its last epoch.
    """
    longer = recipe_of("bp", {}, epochs=20, test_every=20, train_limit=400, test_limit=100, lr=0.5)
    found = Estimator([recorded(ONE, 10.0)], CPU).of(longer)
    assert found.basis == "similar"
    assert found.seconds == pytest.approx(10 * (400 * 20 + 100 / 3) / ((200 + 100 / 3) * 4))


def test_a_record_read_from_a_file_is_of_the_kind_of_a_planned_run(rate: float) -> None:
    """A float that was read is no other option than the same one in code."""
    planned = recipe_of("auglocal", {}, epochs=4, train_limit=200, test_limit=100)
    composition = {
        "branches": [{"kind": "auglocal", "decay": 0.5, "weight": [1.0, 1.0]}],
        "merge_top": 1,
    }
    read = msgspec.convert(msgspec.to_builtins(planned) | {"composition": composition}, Recipe)
    assert read == planned
    found = Estimator([recorded(read, 10.0)], CPU).of(msgspec.structs.replace(planned, epochs=8))
    assert (found.seconds, found.basis) == (pytest.approx(20.0), "similar")


def test_the_nearest_batch_is_scaled(rate: float) -> None:
    near, far = (
        recipe_of("bp", {}, batch_size=size, train_limit=200, test_limit=100) for size in (16, 256)
    )
    wanted = recipe_of("bp", {}, batch_size=32, train_limit=200, test_limit=100)
    found = Estimator([recorded(far, 1.0), recorded(near, 3.0)], CPU).of(wanted)
    assert (found.seconds, found.basis) == (pytest.approx(3.0), "similar")
    assert Estimator([recorded(near, 3.0)], CPU).of(recipe_of("dgl", {})).basis == "counted"


def test_the_probe_takes_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes a quarter of a second from one look to the next, whatever the machine does
    besides.
    """
    ticks = iter(range(10_000))
    monkeypatch.setattr("locbench.costs.time_estimate.time.process_time", lambda: next(ticks) / 4)
    monkeypatch.setattr("locbench.costs.time_estimate.time.perf_counter", None)
    macs = forward_flops(lambda: build_chain("resnet8", 10, 32), (3, 32, 32)).macs
    assert counted.measured_rate(CPU) == macs * 3 * 64 * torch.get_num_threads() / 0.25


CUDA = torch.device("cuda", 0)


def test_on_cuda_a_rate_is_that_of_the_network_the_batch_and_the_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is measured once, on plain backpropagation, whatever the method and the length."""
    timed: list[tuple[str, str, int, str, str]] = []

    def measured_rate(device: torch.device, recipe: Recipe) -> float:
        timed.append(
            (recipe.network, recipe.method, recipe.batch_size, recipe.precision, recipe.memory)
        )
        assert recipe.composition.end_to_end
        return 1e6

    monkeypatch.setattr("locbench.costs.time_estimate.measured_rate", measured_rate)
    estimator = Estimator([], CUDA)
    for method, settings in (
        ("dgl", {}),
        ("auglocal", {"epochs": 9, "seed": 3, "modules": 3}),
        ("dgl", {"memory": "lean"}),
        ("dgl", {"precision": "tf32"}),
        ("dgl", {"network": "resnet14"}),
        ("dgl", {"batch_size": 64}),
    ):
        estimator.of(recipe_of(method, {}, **{"batch_size": 512} | settings))
    assert timed == [
        ("resnet8", "", 512, "fp32", "plain"),
        ("resnet8", "", 512, "tf32", "plain"),
        ("resnet14", "", 512, "fp32", "plain"),
        ("resnet8", "", 64, "fp32", "plain"),
    ]


def test_a_detectors_rate_is_its_backbones_in_its_precision() -> None:
    detector = next(
        cell.recipe
        for cell in load_table("auglocal-coco").cells
        if cell.recipe and cell.recipe.detection
    )
    assert detector.backbone is not None
    timed = counted.rated_by(msgspec.structs.replace(detector, precision="bf16"), CUDA)
    assert timed is not None
    assert (timed.network, timed.precision) == (detector.backbone.network, "bf16")
    assert timed.batch_size == detector.backbone.batch_size
    assert timed.detection is None


def test_a_batch_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Step:
        def __init__(self, recipe: Recipe, device: torch.device, engine: str) -> None:
            sizes.append(recipe.batch_size)
            if recipe.batch_size > 16:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        def __call__(self) -> None:
            pass

    monkeypatch.setattr(counted, "ProbeStep", Step)
    monkeypatch.setattr(CpuMeter, "milliseconds", lambda self, step, steps: [3.0, 2.0, 4.0])
    macs = forward_flops(lambda: build_chain("resnet8", 10, 32), (3, 32, 32)).macs
    one = recipe_of("bp", {}, dataset="cifar10", batch_size=64)
    assert counted.measured_rate(CPU, one) == pytest.approx(macs * 3 * 16 / 0.002)
    assert sizes == [64, 32, 16]


def test_what_estimates_are_taken_from_is_said() -> None:
    other = recipe_of("bp", {}, epochs=8, train_limit=200, test_limit=100)
    estimator = Estimator([recorded(ONE, 10.0)], CPU)
    assert basis_words([estimator.of(ONE)]) == "by recorded times of the same recipe on this device"
    both = basis_words([estimator.of(ONE), estimator.of(other), estimator.of(other)])
    assert both.startswith("1 runs by recorded times")
    assert "2 runs by those of the same network and method" in both


def test_traces_that_a_table_still_needs_are_counted(tmp_path: Path) -> None:
    """Four columns of DGL and InfoPro take one trace each, those of PGL's three heads two.

    Backpropagation one.
    """
    table = load_table("pgl-costs")
    published = [cell for cell in table.cells if "gpu_memory" in cell.published]
    wanted = {
        (cell.recipe.key, guided)
        for cell in published
        if cell.recipe
        for guided in (
            (False, True) if isinstance(cell.recipe.composition.phases, Periodic) else (False,)
        )
    }
    found = missing_traces(table, [tmp_path])
    assert len(found) == len(wanted) == 33
    # ResNet-32 has 16 local layers.
    assert trace_seconds(found) == pytest.approx(2.0 + 0.04 * 16 * 33)
    assert missing_traces(table, [Path(__file__).parents[2] / "results"]) == ()
    assert trace_seconds(()) == 0


def test_divisions_are_among_the_traces(tmp_path: Path) -> None:
    found = missing_traces(load_table("swin-splits"), [tmp_path])
    assert {each.kind.__name__ for each in found} == {"Splits"}
    assert len(found) == 6


def jobs(*recipes: Recipe, state: Any = "to do") -> list[Job]:
    return [Job(each, (), state) for each in recipes]


def test_data_sets_that_are_missing_are_told_once(tmp_path: Path) -> None:
    cifar = [recipe_of("bp", {}, dataset="cifar10", seed=seed) for seed in (0, 1)]
    (line,) = missing_for(jobs(*cifar, ONE), tmp_path)
    assert line.startswith("CIFAR-10, missing: ")
    assert "--download" in line
    assert missing_for(jobs(*cifar), tmp_path, download=True) == []
    assert missing_for(jobs(*cifar, state="done"), tmp_path) == []


def test_weights_that_would_be_fetched_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    settings = {"network": "resnet34", "dataset": "digits", "image_size": 32, "init": "torchvision"}
    one = recipe_of("bp", {}, **settings)
    (line,) = missing_for(jobs(one), tmp_path)
    assert "pretrained weights of ResNet-34" in line
    assert "--weights FILE" in line
    assert (
        missing_for(jobs(msgspec.structs.replace(one, weights="0123456789abcdef")), tmp_path) == []
    )
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "resnet34-b627a593.pth").touch()
    assert missing_for(jobs(one), tmp_path) == []


def test_pycocotools_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locbench.execution.readiness.find_spec", lambda name: None)
    detector = next(
        cell.recipe
        for cell in load_table("auglocal-coco").cells
        if cell.recipe and cell.recipe.detection
    )
    assert any("locbench[coco]" in each for each in missing_for(jobs(detector), tmp_path))
    assert missing_for(jobs(ONE), tmp_path) == []


def test_a_plan_names_its_estimates_and_what_is_missing(bench: Bench, rate: float) -> None:
    bench.call("table", "mini", *ONE_CELL)
    (record,) = bench.records()
    plan = bench.call("table", "mini", "--plan", "--json", "--rows", "DGL", "--columns", "J=2").json
    first, second = plan["runs"]
    assert (first["state"], second["state"]) == ("done", "to do")
    assert second["estimated_from"] == "recorded"
    assert math.isclose(second["estimated_seconds"], record.provenance.seconds, abs_tol=0.06)
    assert (plan["missing"], plan["traces_left"]) == ([], 0)
    words = ("table", "mini", "--dataset", "cifar10", "--plan")
    said = " ".join(bench.call(*words).out.split())
    assert "Missing: CIFAR-10, missing:" in said
    assert "by counted operations over a rate measured now" in said
    assert bench.call(*words, "--json").json["missing"][0].startswith("CIFAR-10, missing:")


def test_a_campaigns_plan_has_times(bench: Bench, rate: float) -> None:
    said = " ".join(bench.call("campaign", "mini", "mini@cifar10", "--plan").out.split())
    assert "mini: about " in said
    assert "All of them, each run once: about " in said
    assert "Missing: CIFAR-10, missing:" in said
    assert not bench.results.exists()
