"""What fits a memory: sizes that are none, and the batch with what a device holds besides tensors."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_table import Bench
from specimens import recipe

from locbench.costs.memory.fit import largest_batch, largest_peak, on_device, parse_bytes
from locbench.costs.memory.held import ASSUMED, Held, Peak, held_by
from locbench.costs.memory.options import TraceOptions
from locbench.errors import UsageError
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
    held = Held("toy", 1024, (Term(1.0, shape="3-16 3x3/1 at 32"), Term(9.0, shape="never met")))
    step = Peak(2 * 10**9, {"3-16 3x3/1 at 32": 10**9})
    assert (
        held.total(step, 512) == held.total(step, 1024) == 2_500_000_000
    )  # the workspace stays below the peak
    assert held.total(step, 4096) == 1_000_000_000 + 4_000_000_000 + 500_000_000
    assert (
        Held("toy", 1024, (Term(1.0),)).total(step, 2048)
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
    found = held_by(make_recipe({**common, "method": "auglocal", "options": {"depth": 3}}))
    assert (found.table, found.batch) == ("auglocal-costs", 1024)
    assert {term.gigabytes for term in found.terms} == {1.165, 1.195, 0.580}
    assert (
        held_by(make_recipe({**common, "method": "auglocal", "options": {"depth": 19}})) == ASSUMED
    )
    assert (
        held_by(make_recipe({**common, "method": "infopro", "options": {}})) == ASSUMED
    )  # known not to fit


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
