"""Sizes of memory, and the largest batch that fits."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_table import Bench
from specimens import recipe

from locbench.costs.memory.device_overhead import ASSUMED, DeviceOverhead, Peak, overhead_of
from locbench.costs.memory.fit import (
    largest_batch,
    largest_peak,
    on_device,
    parse_bytes,
    rank_for_batch,
)
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.trace import peak_bytes
from locbench.errors import FailureError, UsageError
from locbench.spec.tables import Term
from locbench.spec.validation import make_recipe


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("11", "11GB"),
        ("24", "24GB"),
        ("0", "11GB"),
        ("0GB", "11GB"),
        ("11kB", "11GB"),
        ("0.0001GB", "11GB"),
        ("-3GB", "11GB"),
        ("nan", "11GB"),
        ("inf", "11GB"),
        ("1e400", "11GB"),
        ("9" * 400, "11GB"),
        ("9" * 400 + "GB", "11GB"),
        ("1001TB", "11GB"),
    ],
)
def test_sizes_that_no_memory_has(text: str, remedy: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_bytes(text)
    assert f"{remedy}" in raised.value.remedy
    assert len(raised.value.message) < 100


def test_a_plain_number_of_bytes_is_a_size() -> None:
    assert parse_bytes("11000000000") == 11 * 10**9


def test_assumed_figures_are_added_to_the_tensors() -> None:
    """1 GB of tensors: 10 % of it, 64 MiB of workspaces and half a gigabyte of context."""
    assert ASSUMED.total(Peak(10**9, {}), 7) == 1_100_000_000 + 67_108_864 + 500_000_000
    assert "assumed" in ASSUMED.how
    assert all(number in ASSUMED.how for number in ("0.5 GB", "0.07 GB", "10%"))


def test_a_calibration_grows_with_the_batch_that_it_was_fitted_at() -> None:
    held = DeviceOverhead(
        "toy", 1024, (Term(1.0, shape="3-16 3x3/1 at 32"), Term(9.0, shape="never met"))
    )
    step = Peak(2 * 10**9, {"3-16 3x3/1 at 32": 10**9})
    # The workspace stays below the peak.
    assert held.total(step, 512) == held.total(step, 1024) == 2_500_000_000
    assert held.total(step, 4096) == 1_000_000_000 + 4_000_000_000 + 500_000_000
    assert (
        DeviceOverhead("toy", 1024, (Term(1.0),)).total(step, 2048)
        == 2_000_000_000 + 2_000_000_000 + 500_000_000
    )
    assert "calibration of toy" in held.how


def test_a_published_recipe_takes_its_tables_calibration_and_others_none() -> None:
    common = {
        "network": "resnet110",
        "dataset": "cifar10",
        "epochs": 160,
        "batch_size": 64,
        "lr": 0.1,
    }
    found = overhead_of(make_recipe({**common, "method": "auglocal", "options": {"depth": 3}}))
    assert (found.table, found.batch) == ("auglocal-costs", 1024)
    assert {term.gigabytes for term in found.terms} == {1.165, 1.195, 0.580}
    assert (
        overhead_of(make_recipe({**common, "method": "auglocal", "options": {"depth": 19}}))
        == ASSUMED
    )
    # Known not to fit.
    assert overhead_of(make_recipe({**common, "method": "infopro", "options": {}})) == ASSUMED


def test_the_batch_on_a_device_fits_and_the_next_does_not() -> None:
    one, memory = recipe("dgl"), 700_000_000
    need = on_device(ASSUMED)
    batch, total = largest_batch(one, memory, need=need)
    peaks = [largest_peak(one, TraceOptions(batch_size=each)) for each in (batch, batch + 1)]
    assert total == round(1.1 * peaks[0]) + 567_108_864 <= memory
    assert round(1.1 * peaks[1]) + 567_108_864 > memory


def test_both_batches_are_shown(bench: Bench) -> None:
    words = (
        "fit",
        "--memory",
        "600MB",
        "--network",
        "resnet8",
        "--method",
        "bp",
        "--dataset",
        "digits",
    )
    found = bench.call(*words, "--json").json
    assert found["device_batch_size"] < found["batch_size"]
    assert found["device_bytes"] <= found["memory_bytes"] == 600_000_000
    said = bench.call(*words).out
    assert f"{found['batch_size']:,}" in said
    assert f"{found['device_batch_size']:,}" in said
    assert "assumed" in said


def test_tensors_may_fit_where_a_device_holds_too_much_besides(bench: Bench) -> None:
    words = (
        "fit",
        "--memory",
        "100MB",
        "--network",
        "resnet8",
        "--method",
        "bp",
        "--dataset",
        "digits",
    )
    found = bench.call(*words, "--json").json
    assert found["batch_size"] > 2
    assert found["device_batch_size"] is None
    assert "not even 2 images fit" in bench.call(*words).out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--memory", "11", "--method", "bp"), ["11 bytes", "11GB"]),
        (("--memory", "11GB", "--method", "bp", "--batch-size", "64"), ["--batch-size is given"]),
        (("--memory", "11GB", "--batch-size", "0"), ["batch_size is 0"]),
        (("--memory", "11GB", "--batch-size", "-4"), ["batch_size is -4"]),
    ],
)
def test_nonsense_is_refused(bench: Bench, words: tuple[str, ...], parts: list[str]) -> None:
    called = bench.call("fit", "--network", "resnet8", *words)
    assert called.code == 2
    assert all(part in called.err for part in parts)


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


def test_candidates_that_fit_come_first_and_the_cheapest_of_them_on_top() -> None:
    recipes = [recipe("auglocal"), recipe("bp"), recipe("bp+checkpointed"), recipe("dgl")]
    peaks = {each.method: largest_peak(each) for each in recipes}
    memory = sorted(peaks.values())[2]
    found = rank_for_batch(recipes, memory)
    assert [each.peak <= memory for each in found] == [True, True, True, False]
    assert [each.macs for each in found[:3]] == sorted(each.macs for each in found[:3])
