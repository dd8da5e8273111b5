"""Wrong input and bad luck on the command line: one message with its remedy, the right exit code,
nothing lost.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_table import CELLS, MINI, ONE_CELL, Bench, numbers

from locbench.execution.events import Event
from locbench.execution.sweep import Sweep
from locbench.results.store import Store
from locbench.terminal.progress import SweepProgress
from locbench.training import state
from locbench.training.events import EpochDone
from locbench.training.run import Run

TABLE = ("table", "mini")
RUN = ("run", "--network", "resnet8", "--limit", "64", "--epochs", "1")


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


USAGE = [
    (("show", "minni"), ["unknown table 'minni'", "Did you mean 'mini'?", "locbench list"]),
    (("table", "minni"), ["unknown table 'minni'", "Did you mean 'mini'?"]),
    (("report", "minni"), ["unknown table 'minni'"]),
    (("report",), ["no records below results", "locbench table"]),
    (("report", "--format", "html"), ["a site is a folder of files", "--format html --out site"]),
    (("report", "--format", "html", "--out", "tables"), ["tables is there and is no site"]),
    (
        ("report", "--format", "html", "--format", "csv", "--out", "site"),
        ["html is a site of its own", "other formats"],
    ),
    (("report", "--format", "html", "--layout", "ours", "--out", "site"), ["--format html"]),
    ((*TABLE, "--rows", "DLG"), ["no row 'DLG'", "Did you mean 'DGL'"]),
    ((*TABLE, "--columns", "J=3"), ["no column 'J=3'", "Did you mean 'J=4'"]),
    (
        (*TABLE, "--rows", "Backprop", "--columns", "J=2"),
        ["no cell in these rows and columns", "locbench show mini"],
    ),
    ((*TABLE, "--dataset", "digit"), ["unknown data set 'digit'", "Did you mean 'digits'?"]),
    ((*TABLE, "--dataset", "imagefolder:"), ["names no folder", "imagefolder:PATH"]),
    ((*TABLE, "--seeds", "0"), ["--seeds is 0", "1 or more"]),
    ((*TABLE, "--seeds", "ten"), ["--seeds is 'ten'", "a count such as 3"]),
    ((*TABLE, "--seeds", "0,3,"), ["--seeds is '0,3,'", "a list such as 0,3,7"]),
    ((*TABLE, "--seeds", "0,-3"), ["--seeds has -3", "from 0"]),
    ((*TABLE, "--seeds", "1,3,1"), ["--seeds has 1 twice"]),
    ((*TABLE, "--seeds", "2", "--seed", "7"), ["--seed and --seeds", "Give one of them"]),
    ((*TABLE, "--seed", "-1"), ["--seed has -1", "from 0"]),
    ((*TABLE, "--epochs", "0"), ["--epochs is 0", "1 or more"]),
    ((*TABLE, "--limit", "-3"), ["--limit is -3", "1 or more"]),
    ((*TABLE, "--epochs", "ten"), ["--epochs", "integer"]),
    ((*TABLE, "--preset", "smok"), ["--preset", "smoke"]),
    ((*TABLE, "--precision", "fp16"), ["--precision", "tf32"]),
    ((*TABLE, "--rerun", "none"), ["--rerun", "failed"]),
    ((*TABLE, "--sedes", "2"), ["--sedes", "--seeds"]),
    (("table",), ["ID"]),
    (("tabel", "mini"), ["tabel", "table"]),
    ((*TABLE, "--device", "gpu0"), ["no device 'gpu0'", "--device cpu"]),
    ((*TABLE, "--device", "meta"), ["no device 'meta'"]),
    (
        (*TABLE, "--device", "cpu", "--precision", "tf32"),
        ["TF32 exists on CUDA devices only", "--precision fp32"],
    ),
    (
        (*RUN, "--method", "auglocal", "--set", "dept=3"),
        ["no option 'dept'", "Did you mean 'depth'?"],
    ),
    ((*RUN, "--method", "auglocal", "--set", "depth=1"), ["depth 1", "2 or more"]),
    ((*RUN, "--method", "auglocal", "--set", "depth=x"), ["depth", "int"]),
    (
        (*RUN, "--method", "auglocal", "--set", "depth"),
        ["'depth' is not NAME=VALUE", "--set depth=3"],
    ),
    ((*RUN, "--method", "auglocal", "--set", "=3"), ["not NAME=VALUE"]),
    ((*RUN, "--method", "bp", "--set", "depth=3"), ["no option 'depth'", "takes no options"]),
    ((*RUN, "--method", "auglocl"), ["unknown method 'auglocl'", "Did you mean 'auglocal'"]),
    ((*RUN, "--method", "dgl+bp"), ["exactly one base method", "Base methods"]),
    ((*RUN, "--method", ""), ["exactly one base method"]),
    ((*RUN, "--method", "hpff+bp"), ["local method", "hpff+dgl"]),
    ((*RUN, "--method", "predsim", "--set", "similarity=nan"), ["similarity=nan", "does not fit"]),
    ((*RUN, "--method", "dgl", "--modules", "99"), ["4 local layers", "between 1 and 4"]),
    ((*RUN, "--method", "dgl", "--modules", "0"), ["0 modules", "between 1 and 4"]),
    ((*RUN, "--method", "dgl", "--lr", "nan"), ["lr is nan", "above 0"]),
    ((*RUN, "--method", "dgl", "--lr", "inf"), ["lr is inf", "finite"]),
    ((*RUN, "--method", "dgl", "--lr", "0"), ["lr is 0", "above 0"]),
    ((*RUN, "--method", "dgl", "--batch-size", "0"), ["batch_size is 0", "1 or more"]),
    ((*RUN, "--method", "dgl", "--epochs", "0"), ["epochs is 0", "1 or more"]),
    ((*RUN, "--method", "dgl", "--limit", "0"), ["train_limit is 0", "1 or more"]),
    ((*RUN, "--method", "dgl", "--seeds", "0"), ["--seeds is 0"]),
    (
        (*RUN, "--method", "dgl", "--dataset", "cfar10"),
        ["unknown data set 'cfar10'", "Did you mean 'cifar10'"],
    ),
    (
        ("run", "--network", "resnt8", "--method", "dgl"),
        ["unknown network 'resnt8'", "Did you mean 'resnet8'"],
    ),
    (("run", "--network", "resnet8"), ["--method"]),
]


@pytest.mark.parametrize(("arguments", "words"), USAGE, ids=[" ".join(each[0]) for each in USAGE])
def test_wrong_usage(bench: Bench, arguments: tuple[str, ...], words: list[str]) -> None:
    called = bench.call(*arguments)
    assert called.code == 2
    missing = [word for word in words if word not in called.err]
    assert not missing, called.err
    assert bench.files() == {}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none(bench: Bench) -> None:
    called = bench.call(*TABLE, "--device", "cuda")
    assert called.code == 2
    assert "no device 'cuda' here" in called.err


# Data sets


def test_missing_data_set_is_said_before_anything_is_computed(bench: Bench) -> None:
    bench.write(
        MINI.replace('recipe = { method = "bp" }', 'recipe = { method = "bp", dataset = "svhn" }')
    )
    called = bench.call(*TABLE)
    assert called.code == 1
    assert str(bench.folder / "data" / "svhn") in called.err
    assert "--download" in called.err
    assert bench.files() == {}
    assert bench.call(*TABLE, "--dataset", "digits", "--seeds", "1").code == 0


def test_missing_data_set_of_a_run(bench: Bench) -> None:
    called = bench.call(
        *RUN, "--method", "dgl", "--dataset", "cifar100", "--data-root", "elsewhere"
    )
    assert called.code == 1
    assert "elsewhere/cifar-100-python" in called.err


def test_truncated_data_file(bench: Bench) -> None:
    folder = bench.folder / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in ("data_batch_1", "data_batch_2", "test_batch"):
        (folder / name).write_bytes(b"short")
    called = bench.call(*TABLE, "--dataset", "cifar10")
    assert called.code == 1
    assert f"{folder / 'data_batch_1'} was cut short: 5 of " in called.err
    assert "--download" in called.err


def test_missing_image_folder(bench: Bench) -> None:
    called = bench.call(*TABLE, "--dataset", "imagefolder:nowhere")
    assert called.code == 1
    assert f"there is no folder {bench.folder / 'nowhere'}" in called.err  # the path is resolved
    assert "train/<class>/<image>" in called.err


# Tables


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("lr = 0.05", "lr = ", ["line 14"]),
        ("lr = 0.05", "lrr = 0.05", ["'lrr'", "Did you mean 'lr'"]),
        ("trials = 2", 'trials = "two"', ["$.trials", "int"]),
        ('"83.63"', "83.63", ["$.published.test_acc.'Digits / DGL'[0]"]),
        (
            '"84.63", "86.70"',
            '"86.70"',
            ["published.test_acc.'Digits / DGL*'", "1 values for 2 columns"],
        ),
        ('method = "dgl"', 'method = "dgll"', ["'Digits / DGL'", "unknown method 'dgll'", "'dgl'"]),
        ('network = "resnet8"', "network = 8", ["'network' is 8"]),
    ],
)
def test_malformed_table(bench: Bench, old: str, new: str, words: list[str]) -> None:
    bench.write(MINI.replace(old, new))
    for command in (("list",), ("show", "mini"), TABLE, ("report", "mini")):
        called = bench.call(*command)
        assert called.code == (0 if command == ("list",) else 1)  # a list shows the other tables
        remedy = [] if command == ("list",) else ["Mend"]
        assert all(
            word in called.err for word in [str(bench.tables / "mini.toml"), *remedy, *words]
        ), called.err


def test_a_malformed_table_does_not_stop_another_one(bench: Bench) -> None:
    bench.write("id =", "broken")
    assert bench.call("show", "mini").code == 0


def test_folder_of_tables_that_is_not_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCBENCH_TABLES", "nowhere")
    called = bench.call("list")
    assert called.code == 1
    assert "LOCBENCH_TABLES names no folder: nowhere" in called.err


# Records


@pytest.mark.parametrize("spoil", ["cut", "other recipe"])
def test_spoilt_record_is_set_aside_and_its_run_is_made_again_beside_it(
    bench: Bench, spoil: str
) -> None:
    bench.call(*TABLE, *ONE_CELL, "--epochs", "1")
    (path,) = (bench.results / "records").glob("*.json")
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text[:200] if spoil == "cut" else text.replace('"lr": 0.05', '"lr": 0.06'), encoding="utf-8"
    )
    spoilt = path.read_bytes()
    for command, code in (
        (("list",), 0),
        (("report",), 1),
        ((*TABLE, *ONE_CELL, "--epochs", "1", "--plan"), 0),
    ):
        called = bench.call(*command)
        assert called.code == code, called.err
        assert f"set aside: results/records/{path.name}: " in called.err
        assert "delete" not in called.err.lower()
    for _ in range(2):  # it is made again once
        assert bench.call(*TABLE, *ONE_CELL, "--epochs", "1").code == 0
    made = path.with_name(f"{path.stem[:-12]}2-{path.stem[-12:]}.json")
    assert sorted(bench.files()) == sorted([path.name, made.name])
    assert path.read_bytes() == spoilt
    assert bench.call(*TABLE, *ONE_CELL, "--epochs", "1", "--rerun", "all").code == 0
    assert sorted(bench.files()) == sorted([path.name, made.name])
    assert path.read_bytes() == spoilt


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/locbench"])
def test_results_folder_that_cannot_be_written(bench: Bench, place: str) -> None:
    if place.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    (bench.folder / "file").write_text("not a folder", encoding="utf-8")
    called = bench.call(*TABLE, *ONE_CELL, "--results", place)
    assert called.code == 1
    refused = "write to the results folder" if place.startswith("/proc") else "read the records in"
    assert f"cannot {refused} {place}" in called.err
    assert "--results DIR" in called.err


def test_report_that_cannot_be_written(bench: Bench) -> None:
    bench.call(*TABLE, *ONE_CELL, "--epochs", "1")
    (bench.folder / "file").write_text("not a folder", encoding="utf-8")
    called = bench.call("report", "mini", "--out", "file")
    assert called.code == 1
    assert "cannot write file/mini.md" in called.err


def full_disk_after(writes: int) -> Callable[[int], None]:
    """Return an fsync that works so often and then finds no space."""
    left = iter(range(writes))

    def fsync(descriptor: int) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return fsync


@pytest.mark.parametrize("epochs", ["1", "2"], ids=["record", "checkpoint"])
def test_no_space_left(bench: Bench, monkeypatch: pytest.MonkeyPatch, epochs: str) -> None:
    command = (*TABLE, "--epochs", epochs, "--seeds", "1")
    with monkeypatch.context() as patch:
        # A file and its folder are synchronised; with two epochs, a checkpoint comes before each
        # record.
        patch.setattr("locbench.files.os.fsync", full_disk_after(4 * int(epochs)))
        called = bench.call(*command)
    assert called.code == 1
    assert os.strerror(errno.ENOSPC) in called.err
    assert "Free some space" in called.err
    before = bench.files()
    assert len(before) == 2
    assert [each.status for each in bench.records()] == ["done", "done"]
    assert not list(bench.results.rglob("*.part"))
    assert bench.call(*command).code == 0
    assert before.items() <= bench.files().items()
    assert len(bench.files()) == CELLS


# Runs that fail


DIVERGING = MINI.replace(
    '"hpff+dgl", options = { pff = 0 } }', '"hpff+dgl", lr = 1e38, options = { pff = 0 } }'
)


def test_diverging_cell_is_recorded_and_the_sweep_goes_on(bench: Bench) -> None:
    bench.write(DIVERGING)
    command = (*TABLE, "--seeds", "1")
    called = bench.call(*command)
    assert called.code == 1
    assert "2 runs failed: a loss is not finite in epoch" in called.err
    assert "--rerun failed" in called.err
    assert sorted(each.status for each in bench.records()) == ["done"] * 3 + ["failed"] * 2
    assert {each.recipe.method for each in bench.records() if each.status == "failed"} == {
        "hpff+dgl"
    }
    assert "failed" in called.out
    assert bench.call("list").code == 0
    before = bench.files()
    assert bench.call(*command).code == 1
    assert bench.files() == before  # a failed cell counts as there


def test_rerun_failed_tries_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    command = (*TABLE, "--seeds", "1", "--epochs", "1")

    def broken(run: Run, watcher: object = None) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "train", broken)
        called = bench.call(*command, "--rows", "DGL")
    assert called.code == 1
    assert "2 runs failed: RuntimeError: out of memory" in called.err
    assert {each.error for each in bench.records()} == {"RuntimeError: out of memory"}
    assert bench.call(*command).code == 1  # the other cells run, the failed ones stay
    done = {name: text for name, text in bench.files().items() if b'"status": "done"' in text}
    assert len(done) == CELLS - 2
    assert bench.call(*command, "--rerun", "failed").code == 0
    assert [each.status for each in bench.records()] == ["done"] * CELLS
    assert done.items() <= bench.files().items()


def test_rerun_all_runs_everything_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    command = (*TABLE, "--seeds", "1", "--epochs", "1")
    bench.call(*command)
    trained: list[str] = []
    monkeypatch.setattr(
        Sweep, "run", lambda sweep, jobs, watcher: trained.extend(job.recipe.key for job in jobs)
    )
    bench.call(*command)
    assert trained == []
    bench.call(*command, "--rerun", "all")
    assert sorted(trained) == sorted(each.key for each in bench.records())


def test_a_failed_single_run_names_its_own_option(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "train", lambda run, watcher: 1 / 0)
    called = bench.call(*RUN, "--method", "dgl")
    assert called.code == 1
    assert "1 run failed: ZeroDivisionError" in called.err
    assert "again with --rerun once" in called.err


# Interruptions


def interrupt_after(
    monkeypatch: pytest.MonkeyPatch, epochs: int, error: type[BaseException]
) -> None:
    left = iter(range(epochs - 1))

    show = SweepProgress.on

    def on(display: SweepProgress, event: Event, row: int) -> None:
        if isinstance(event, EpochDone) and next(left, None) is None:
            raise error
        show(display, event, row)

    monkeypatch.setattr(SweepProgress, "on", on)


def test_interrupted_sweep_says_how_to_go_on(bench: Bench) -> None:
    command = (*TABLE, "--seeds", "1")
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 3 + 2, KeyboardInterrupt)
        called = bench.call(*command)
    assert called.code == 130
    assert "1 of 5 runs are recorded" in called.err
    assert "To go on: locbench table mini" in called.err
    assert [each.status for each in bench.records()] == ["done"]
    again = bench.call(*reversed_options(command))
    assert again.code == 0
    assert "continued after epoch 1 of 3" in again.out
    assert len(bench.files()) == CELLS


def reversed_options(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command with its options before the table's id."""
    return (command[0], *command[2:], command[1])


@pytest.mark.parametrize("command", [("list",), ("show", "mini"), ("report", "mini"), ("data",)])
def test_interrupt_outside_a_sweep(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    def stop(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    for place in (
        "spec.table_files.load_tables",
        "spec.table_files.load_table",
        "commands.report.load_table",
    ):
        monkeypatch.setattr(f"locbench.{place}", stop)
    monkeypatch.setattr("locbench.datasets.catalogue.all_statuses", stop)
    called = bench.call(*command)
    assert called.code == 130
    assert "stopped" in called.err
    assert "To go on" in called.err


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


SPOILERS: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "one bit": lambda content: flipped(content, len(content) // 2),
    "text": lambda content: b"not a checkpoint at all",
}


@pytest.mark.parametrize("spoil", SPOILERS)
def test_spoilt_checkpoint_starts_the_cell_anew(bench: Bench, spoil: str) -> None:
    bench.call(*TABLE, *ONE_CELL, "--results", "whole")
    (whole,) = Store(bench.folder / "whole").all()
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 3, KeyboardInterrupt)
        bench.call(*TABLE, *ONE_CELL)
    (checkpoint,) = (bench.results / ".checkpoints").glob("*.pt")
    checkpoint.write_bytes(SPOILERS[spoil](checkpoint.read_bytes()))
    called = bench.call(*TABLE, *ONE_CELL)
    assert called.code == 0
    assert "continued" not in called.out
    (record,) = bench.records()
    assert record.provenance.resumed == 0
    assert numbers(record) == numbers(whole)


def test_checkpoint_of_other_code_starts_the_cell_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 2, KeyboardInterrupt)
        bench.call(*TABLE, *ONE_CELL)
    load = state.load_checkpoint

    def other(path: Path, device: torch.device) -> dict[str, Any] | None:
        loaded = load(path, device)
        assert loaded is not None
        loaded["learner"].popitem()
        return loaded

    monkeypatch.setattr(state, "load_checkpoint", other)
    assert bench.call(*TABLE, *ONE_CELL).code == 0
    assert [(each.status, each.provenance.resumed) for each in bench.records()] == [("done", 0)]


@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["show", "mini"], ["--help"]])
def test_broken_pipe_is_silent(bench: Bench, command: list[str]) -> None:
    started = subprocess.Popen(
        [sys.executable, "-m", "locbench", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    started.stdout.close()
    assert started.stderr is not None
    assert started.stderr.read() == ""
    assert started.wait() in (0, 1)  # 1 from typer, for --help


def test_terminal_without_unicode(bench: Bench) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "locbench", "show", "mini"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "85.70 ? 0.12" in done.stdout


@pytest.mark.parametrize("other", [("--json",), ("--rows", "X"), ("--claims",), ("--out", "o")])
def test_a_plot_takes_no_option_of_reports(bench: Bench, other: tuple[str, ...]) -> None:
    called = bench.call("report", "auglocal-pyramid", "--plot", "plot.png", *other)
    assert called.code == 2
    assert "--plot draws whole tables" in called.err
    assert not Path("plot.png").exists()
