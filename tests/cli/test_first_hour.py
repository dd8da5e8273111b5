"""What a newcomer meets in the first hour: what is asked for is done, said or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_table import MINI, Bench

SHIPPED = Path(__file__).parents[2] / "tables"


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


BENCH = ("bench", "--network", "resnet8", "--device", "cpu")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--batch-size", "0"),
        ("--batch-size", "-1"),
        ("--batch-size", "9" * 400),
        ("--steps", "0"),
        ("--steps", "9" * 400),
        ("--rounds", "0"),
        ("--rounds", "1000000000"),
        ("--seconds", "nan"),
        ("--seconds", "inf"),
        ("--seconds", "1e9"),
        ("--threads", "1000000000"),
    ],
    ids=lambda each: each[:14],
)
def test_senseless_numbers_of_a_benchmark_are_refused(
    bench: Bench, option: str, value: str
) -> None:
    called = bench.call(*BENCH, option, value)
    assert called.code == 2
    assert option.strip("-").replace("-", "_") in called.err.replace("-", "_")
    assert called.out == ""


def test_no_steps_to_profile_are_refused(bench: Bench) -> None:
    assert bench.call(*BENCH, "--profile", "--steps", "0").code == 2


def test_a_name_of_several_tables_says_which_is_meant(bench: Bench) -> None:
    for name in ("swin-tiny-pretrained", "swin-tiny-scratch"):
        (bench.tables / f"{name}.toml").write_bytes((SHIPPED / f"{name}.toml").read_bytes())
    options = ("--preset", "smoke", "--plan", "--rows", "*CIFAR-10 / *E2E*")
    called = bench.call("table", "swin-tiny", "--init", "scratch", *options)
    assert "swin-tiny stands for several tables; this is swin-tiny-scratch" in called.err
    assert "this is swin-tiny-pretrained" in bench.call("table", "swin-tiny", *options).err
    assert "stands for" not in bench.call("table", "swin-tiny-scratch", *options).err
    refused = bench.call("table", "swin-tiny-pretrained", "--init", "scratch", *options)
    assert refused.code == 2
    assert "has other initial weights" in refused.err
    assert bench.call("table", "mini", "--init", "scratch", *options).code == 2


def test_a_preset_that_tests_rarely_says_so(bench: Bench) -> None:
    plan = bench.call("table", "mini", "--preset", "quick", "--seeds", "1", "--plan").out
    assert "tested after 2 of 10 epochs; the best epoch is the best of these" in " ".join(
        plan.split()
    )
    assert "tested after" not in bench.call("table", "mini", "--plan").out


RUN = ("run", "--network", "resnet8", "--method", "dgl")


@pytest.mark.parametrize(
    ("given", "seeds"),
    [
        ((), [0]),
        (("--seeds", "3"), [0, 1, 2]),
        (("--seeds", "0,3,7"), [0, 3, 7]),
        (("--seed", "7"), [7]),
        (("--seed", "0"), [0]),
    ],
)
def test_seeds_are_a_count_or_a_list(
    bench: Bench, given: tuple[str, ...], seeds: list[int]
) -> None:
    cell = ("table", "mini", "--rows", "DGL", "--columns", "J=2", "--preset", "smoke")
    for command in (cell, RUN):
        planned = bench.call(*command, *given, "--plan", "--json")
        assert [run["seed"] for run in planned.json["runs"]] == seeds
    counted = bench.call("campaign", "mini::J=2", "--preset", "smoke", *given, "--plan", "--json")
    assert counted.json[0]["runs"] == 2 * len(seeds)


REFUSED = [
    ("table", "mini", "--engine", "graphed", "--device", "cpu"),
    ("table", "mini", "--dataset", "cifar100"),
    ("table", "mini", "--device", "cpu", "--precision", "tf32"),
    ("table", "mini", "--jobs-per-device", "2", "--dataset", "cifar100"),
    ("table", "mini", "--plan"),
    ("run", "--network", "resnet8", "--method", "dgl", "--dataset", "cifar100"),
    ("run", "--network", "resnet8", "--method", "dgl", "--engine", "graphed", "--device", "cpu"),
    ("campaign", "mini@cifar100", "--no-check"),
    ("report",),
    ("list",),
    ("show", "mini"),
]


@pytest.mark.parametrize("command", REFUSED, ids=[" ".join(each) for each in REFUSED])
def test_what_runs_nothing_makes_no_results_folder(bench: Bench, command: tuple[str, ...]) -> None:
    bench.write(MINI)
    bench.call(*command)
    assert not bench.results.exists()
