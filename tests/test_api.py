"""The public names: scripts and notebooks do what the command line does, and print nothing."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from small_table import Bench

import locbench
from locbench.errors import UsageError
from locbench.results.store import Store
from locbench.spec.table_files import load_tables


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def small(method: str = "dgl", **settings: object) -> locbench.api.Recipe:
    wanted = {"epochs": 2, "train_limit": 64, "test_limit": 40, "batch_size": 32} | settings
    return locbench.recipe("resnet8", method, **wanted)


def test_every_public_name_is_there_and_documented() -> None:
    assert {"run", "records", "compare", "published", "predict_costs"} <= set(dir(locbench))
    for name in locbench.__all__:
        value = getattr(locbench, name)
        assert name.startswith("_") or value.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        locbench.nothing  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, locbench; dir(locbench); print({'torch', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_types_are_declared_for_every_name() -> None:
    stub = (Path(locbench.__file__).parent / "__init__.pyi").read_text()
    for name in locbench.__all__:
        assert f"import {name} as {name}\n" in stub or f"\n{name}: str" in stub, name


def test_published_numbers_as_a_frame() -> None:
    frame = locbench.published("pgl-period")
    row = frame[(frame["row"].str.endswith("Q=2")) & (frame["column"] == "P=10")].iloc[0]
    assert (row["value"], row["unit"], row["metric"], row["text"]) == (
        88.85,
        "%",
        "test_acc",
        "88.85",
    )
    assert len(frame) == 13
    whole = locbench.published()
    assert len(whole) == sum(table.values for table in load_tables())


def test_a_recipe_is_run_once_and_progress_is_told(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[locbench.Progress] = []
    before = signal.getsignal(signal.SIGINT)
    frame = locbench.run(small(), progress=told.append)
    assert [(each.number, each.runs, each.epoch, each.epochs) for each in told] == [
        (1, 1, 0, 2),
        (1, 1, 1, 2),
        (1, 1, 2, 2),
        (1, 1, 2, 2),
    ]
    assert told[0].metrics == {}
    assert told[-1].record is not None
    assert told[-1].record.metrics["test_acc"] == frame["test_acc"].item()
    assert frame["key"].tolist() == [record.key for record in bench.records()]
    files = bench.files()
    again = locbench.run(small(), progress=told.append)
    assert len(told) == 4
    assert bench.files() == files
    pd.testing.assert_frame_equal(frame, again)
    assert signal.getsignal(signal.SIGINT) is before
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_what_progress_raises_ends_the_training_and_keeps_epochs(bench: Bench) -> None:
    def stop(now: locbench.Progress) -> None:
        if now.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        locbench.run(small(), progress=stop)
    assert not bench.records()
    told: list[int] = []
    locbench.run(small(), progress=lambda now: told.append(now.epoch))
    assert told[-1] == 2


def test_a_table_is_run_and_compared(bench: Bench) -> None:
    frame = locbench.run("mini", rows="Digits / DGL", columns="J=2", seeds=2, epochs=1)
    assert sorted(frame["seed"]) == [0, 1]
    compared = locbench.compare("mini")
    found = compared.to_pandas()
    line = found[found["n"] == 2].iloc[0]
    assert line["mean"] == pytest.approx(frame["test_acc"].mean(), abs=5e-5)
    assert line["published_mean"] == 85.70
    assert line["verdict"] == "reduced"
    assert "85.70" in compared.to_markdown()
    assert "tabular" in compared.to_latex()
    assert "85.7" in compared._repr_html_()
    called = bench.call("report", "mini", "--format", "csv")
    assert list(found.columns) == called.out.splitlines()[0].split(",")


def test_records_of_several_folders_and_their_epochs(bench: Bench) -> None:
    one, other = small(), small("bp")
    locbench.run(one, results="a")
    locbench.run([one, other], results="b")
    frame = locbench.records("a", "b")
    assert sorted(frame["method"]) == ["bp", "dgl"]
    assert len(locbench.histories("a", "b")) == 4
    first = next(Store(Path("a")).all())
    epochs = locbench.histories("a")
    assert epochs["train_loss"].tolist() == [row["train_loss"] for row in first.history]


def test_costs_are_predicted(tmp_path: Path) -> None:
    costs = locbench.predict_costs(small(modules=4, batch_size=16), tmp_path).iloc[0]
    stem, head = 3 * 16 * 9 + 32, 64 * 10 + 10
    first = 2 * 16 * 16 * 9 + 2 * 32
    second = (16 + 32) * 32 * 9 + 2 * 64 + 16 * 32 + 64
    third = (32 + 64) * 64 * 9 + 2 * 128 + 32 * 64 + 128
    assert costs["params_primary"] == stem + first + second + third + head
    assert costs["memory_peak_bytes"] > 0


def test_it_works_within_a_running_loop(bench: Bench) -> None:
    async def cell() -> int:
        return len(locbench.run(small(epochs=1)))

    assert asyncio.run(cell()) == 1


def test_weights_are_analysed(bench: Bench) -> None:
    frame = locbench.run([small("bp"), small()], keep_weights=True)
    bp, dgl = frame["key"]
    cka = locbench.analyse("cka", bp, dgl, images=40)
    assert cka["layer"].tolist() == [0, 1, 2, 3]
    assert cka["value"].between(-1, 1.000001).all()


def test_remarks_go_to_the_logger(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    locbench.run(small(epochs=1))
    (bench.results / "records" / "foreign-123456789012.json").write_text("{}")
    with caplog.at_level(logging.INFO, logger="locbench"):
        assert len(locbench.records()) == 1
    assert "set aside" in caplog.text


def test_mistakes_are_errors_with_a_remedy(bench: Bench) -> None:
    with pytest.raises(UsageError, match="unknown method 'dlg'"):
        small("dlg")
    with pytest.raises(UsageError, match="unknown table 'min'"):
        locbench.compare("min")
    with pytest.raises(TypeError, match="rows: for tables alone"):
        locbench.run(small(), rows="x")


def test_the_example_of_the_guide_runs(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    guide = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
    _, _, rest = guide.partition("## Scripts and notebooks")
    code = rest.split("```python")[1].split("```")[0]
    for old, new in (
        ('"pgl-period", preset="smoke", columns="P=5"', '"mini", columns="J=2", seeds=1'),
        ('"pgl-period"', '"mini"'),
        ('"resnet110", "auglocal"', '"resnet8", "dgl"'),
    ):
        assert old in code
        code = code.replace(old, new)
    exec(compile(code, "CONTRIBUTING.md", "exec"), {})
    assert "1 of 2" in capsys.readouterr().out
    assert len(locbench.records("mine")) == 3  # its recipe, and two of the table in that column
