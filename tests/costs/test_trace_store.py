"""Stored traces: when they are current, void or unusable."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest
import torch
from small_table import Bench
from specimens import recipe

from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.store import TRACE_VERSION, PredictionStore, TracedStep
from locbench.costs.memory.trace import trace_step
from locbench.costs.memory.tracker import ConvolutionBytes
from locbench.costs.splits.store import SPLIT_VERSION, Splits, SplitStore
from locbench.results.json_store import SetAside
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe, without_schedule

COMMITTED = Path(__file__).parents[2] / "results" / "costs"

TRACED = {
    "bp": "resnet32-cifar10-b1024-0fae58fd6860",
    "bp, lean": "resnet32-cifar10-b1024-4de063e0b09a",
    "dgl, lean": "resnet32-cifar10-b1024-a243f769d9c3",
    "infopro": "resnet32-cifar10-b1024-b2e3493c7706",
    "infopro, lean": "resnet32-cifar10-b1024-17a8b177df77",
    "auglocal": "resnet32-cifar10-b1024-828f561e2885",
    "auglocal, lean": "resnet32-cifar10-b1024-61f60595c81d",
    "auglocal on ImageNet": "resnet34-imagenet-b1024-5e311b98c9a2",
    "hpff+dgl": "resnet32-cifar10-b1024-1dd21e622c80",
    "hpff+predsim": "resnet32-cifar10-b1024-e099213e85bb",
    "pgl, global": "resnet32-cifar10-b1024-guided-2ad489cb5900",
    "pgl, global, lean": "resnet32-cifar10-b1024-guided-1f1573f3d89e",
    "swin, two blocks": "swin-tiny-cifar100-b140-5b355229e7f5",
    "swin, torch 1.10": "swin-tiny-cifar100-b140-060e3ef12b50",
}


@pytest.mark.parametrize("name", TRACED.values(), ids=TRACED)
def test_a_step_traced_anew_is_as_it_is_stored(name: str) -> None:
    """Where this fails, peaks have changed.

    Raise TRACE_VERSION then, and make the committed traces anew.
    """
    stored = msgspec.json.decode((COMMITTED / f"{name}.json").read_bytes(), type=TracedStep)
    if name == TRACED["hpff+predsim"] and torch.__version__ < (2, 9):
        pytest.skip("before PyTorch 2.9 autograd keeps one map more in steps of HPFF")
    assert stored.trace_version == TRACE_VERSION
    primed, live = NETWORKS[stored.recipe.network].transformer is not None, ConvolutionBytes()
    step = trace_step(stored.recipe, stored.setting, live, primed=primed)
    assert (step.peak, step.by_kind()) == (stored.peak, stored.kinds)
    assert stored.backwards == ({} if primed else live.first_backwards())


def test_divisions_found_anew_are_as_they_were(tmp_path: Path) -> None:
    """Where this fails, divisions have changed.

    Raise SPLIT_VERSION then, and make the committed ones anew.
    """
    assert SPLIT_VERSION == 1
    found = SplitStore(tmp_path, trace=True).splits(recipe("infopro", modules=2), count=2)
    assert found is not None
    assert [(each.units, each.peaks) for each in found.best] == [
        ((2, 2), (1603072, 1705984)),
        ((1, 3), (1012224, 2296832)),
    ]


def test_every_committed_trace_is_current_under_any_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locbench.results.provenance.metadata.version", lambda name: "0.0.7")
    store = PredictionStore(COMMITTED.parent)
    for path in COMMITTED.glob("*.json"):
        content = path.read_bytes()
        found: TracedStep | Splits | None
        if path.name.startswith("splits-"):
            kept = msgspec.json.decode(content, type=Splits)
            found = SplitStore(COMMITTED.parent, log=store.log).splits(kept.recipe, kept.setting)
        else:
            step = msgspec.json.decode(content, type=TracedStep)
            found = store.step(step.recipe, step.setting)
        assert found is not None, path.name
        assert "torch 0.0.7" not in found.made_with
    assert store.log.lines == ()


def test_reading_rewrites_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under another torch, costs and reports of committed traces leave every byte."""
    bench.ship()
    monkeypatch.setattr("locbench.results.provenance.metadata.version", lambda name: "0.0.7")
    # Would fail if it were called.
    monkeypatch.setattr("locbench.costs.memory.trace.trace_step", None)
    shutil.copytree(COMMITTED, bench.results / "costs")
    before = {path.name: path.read_bytes() for path in (bench.results / "costs").iterdir()}
    costs = bench.call("costs", "--network", "resnet32", "--method", "bp", "--json")
    assert (costs.code, costs.err, costs.json["memory_peak_bytes"]) == (0, "", 2_597_891_584)
    report = bench.call("report", "pgl-costs", "swin-splits", "--out", "out")
    assert (report.code, report.err) == (0, "")
    for table in ("pgl-costs", "swin-splits"):
        (comparison,) = json.loads(
            (bench.folder / "out" / f"{table}.json").read_text(encoding="utf-8")
        )["comparisons"]
        values = [
            each for each in comparison["entries"] if each["metric"] in ("gpu_memory", "split")
        ]
        assert values
        assert all(each["measured"] is not None for each in values)
    assert {path.name: path.read_bytes() for path in (bench.results / "costs").iterdir()} == before


def test_reports_are_not_written_over_where_no_prediction_can_be_used(bench: Bench) -> None:
    """A folder of which nothing can be read would empty a good report of its predictions."""
    bench.write(
        (COMMITTED.parents[1] / "tables" / "pgl-costs.toml").read_text(encoding="utf-8"),
        "pgl-costs",
    )
    shutil.copytree(COMMITTED, bench.results / "costs")
    good = bench.call("report", "pgl-costs", "--out", "out")
    assert (good.code, good.err) == (0, "")
    before = {path.name: path.read_bytes() for path in (bench.folder / "out").iterdir()}
    paths = sorted((bench.results / "costs").iterdir())
    kept = {path: path.read_bytes() for path in paths}
    for path in paths:
        path.write_text("{", encoding="utf-8")
    refused = bench.call("report", "pgl-costs", "--out", "out")
    assert refused.code == 1
    assert "can be used as a prediction" in refused.err
    assert {path.name: path.read_bytes() for path in (bench.folder / "out").iterdir()} == before
    for path in paths[1:]:
        path.write_bytes(kept[path])
    assert bench.call("report", "pgl-costs", "--out", "out").code == 0


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(tmp_path, monkeypatch, capsys)


def stored(store: PredictionStore, one: Recipe, peak: int, /, **changes: object) -> Path:
    """Write a trace of a made-up peak and return its file."""
    step = TracedStep(
        recipe=without_schedule(one),
        setting=TraceOptions(),
        made_with="by hand",
        trace_version=store.version,
        peak=peak,
        kinds={},
        backwards={},
    )
    path = store.path(one, TraceOptions())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(msgspec.to_builtins(step) | changes), encoding="utf-8")
    return path


def test_a_raised_version_voids_what_is_older(tmp_path: Path) -> None:
    one, store = recipe("bp"), PredictionStore(tmp_path, version=2)
    path = stored(store, one, 12345, trace_version=1)
    assert store.step(one) is None
    (line,) = store.log.lines
    assert str(path) in line
    assert "version 1 of the rules, and these are version 2" in line
    assert "locbench costs" in line
    tracing = PredictionStore(tmp_path, trace=True, version=2)
    step = tracing.step(one)
    assert step is not None
    assert (step.trace_version, step.peak != 12345, tracing.log.lines) == (2, True, ())
    assert store.step(one) == step
    assert store.log.lines == ()  # what was said of the older file is no longer so


def test_a_file_without_a_version_is_of_the_first_and_a_later_one_is_kept(tmp_path: Path) -> None:
    one, store = recipe("bp"), PredictionStore(tmp_path, trace=True, version=1)
    path = stored(store, one, 12345)
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["trace_version"]
    for version in ({}, {"trace_version": 7, "more": "of a later locbench"}):
        path.write_text(json.dumps(content | version), encoding="utf-8")
        before = path.read_bytes()
        step = PredictionStore(tmp_path, trace=True, version=1).step(one)
        assert step is not None
        assert (step.peak, step.made_with) == (12345, "by hand")
        assert path.read_bytes() == before


def test_a_trace_is_read_once_and_known_to_be_kept(tmp_path: Path) -> None:
    one, store = recipe("bp"), PredictionStore(tmp_path, trace=True)
    path = stored(store, one, 12345)
    step = store.step(one)
    path.unlink()
    assert store.step(one) is step
    assert store.log.origin == "by hand"
    assert not store.has_traced(one)
    other = msgspec.structs.replace(one, batch_size=one.batch_size + 1)
    assert store.step(other) is not None
    assert store.has_traced(other)


FOREIGN = {
    "nothing": b"",
    "no JSON": b"hello",
    "no UTF-8": b'{"made_with": "\xff\xfe"}',
    "deeply nested": b'{"recipe": ' + b"[" * 100_000,
    "other fields": b'{"peak": 1}',
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_foreign_content_counts_as_missing(tmp_path: Path, content: bytes) -> None:
    one, store = recipe("bp"), PredictionStore(tmp_path)
    path = stored(store, one, 1)
    path.write_bytes(content)
    assert store.step(one) is None
    (line,) = store.log.lines
    assert str(path) in line
    assert "elete" not in line
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "changes",
    [
        {"peak": -1},
        {"kinds": {"input": 5}},
        {"peak": "much"},
        {"trace_version": "x"},
        {"setting": {"side": 4}},
    ],
)
def test_absurd_numbers_and_other_steps_count_as_missing(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    one, store = recipe("bp"), PredictionStore(tmp_path)
    stored(store, one, 1, **changes)
    assert store.step(one) is None
    assert len(store.log.lines) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("kind", ["pipe", "folder", "endless", "huge"])
def test_what_is_no_file_of_sane_size_is_not_read(tmp_path: Path, kind: str) -> None:
    one, store = recipe("bp"), PredictionStore(tmp_path, trace=True)
    path = store.path(one, TraceOptions())
    path.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        (path / "within").mkdir(parents=True)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    reading = PredictionStore(tmp_path)
    assert reading.step(one) is None
    assert len(reading.log.lines) == 1
    step = store.step(one)
    assert step is not None
    assert step.peak > 0
    assert bool(store.log.unkept) == (kind == "folder")  # a folder is in the way of a file
    assert store.step(one) is step or store.step(one) == step


@pytest.mark.parametrize("name", ["costs", "measured"])
def test_a_folder_that_cannot_be_read_is_refused_by_reports(bench: Bench, name: str) -> None:
    bench.results.mkdir()
    (bench.results / name).symlink_to(name)  # leads to itself
    called = bench.call("report", "mini", "--out", "out")
    assert called.code == 1
    assert f"cannot read results/{name}" in called.err
    assert "--results DIR" in called.err
    assert not (bench.folder / "out").exists()


def test_faults_are_summed_up_by_reason() -> None:
    faults = SetAside()
    for name, why in (("a", "empty"), ("b", "old"), ("c", "empty")):
        faults.add(Path(name), why)
    assert faults.by_reason("prediction", "Make it anew.") == [
        "The prediction a and 1 more counts as missing: empty. Make it anew.",
        "The prediction b counts as missing: old. Make it anew.",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("costs", "--network", "resnet8", "--method", "dgl"),
        ("splits", "--network", "resnet8", "--modules", "2"),
    ],
    ids=lambda words: words[0],
)
def test_an_answer_is_printed_where_it_cannot_be_kept(
    bench: Bench, arguments: tuple[str, ...]
) -> None:
    (bench.folder / "file").write_text("in the way", encoding="utf-8")
    free = bench.call(*arguments, "--json")
    barred = bench.call(*arguments, "--json", "--results", "file/results")
    assert free.code == barred.code == 0
    assert free.err == ""
    assert barred.err.startswith("What was predicted is not kept: cannot write file/results")
    assert without_seconds(barred.json) == without_seconds(free.json)


def without_seconds(found: object) -> object:
    return {**found, "seconds": 0} if isinstance(found, dict) else found


def test_the_origin_of_predictions_is_told(bench: Bench) -> None:
    """Whoever made a trace: costs, divisions and reports name the versions in its file."""
    one = ("costs", "--network", "resnet8", "--method", "bp")
    made = bench.call(*one, "--json").json["made_with"]
    assert ", torch " in made
    for path in (bench.results / "costs").iterdir():
        path.write_text(
            path.read_text(encoding="utf-8").replace(made, "locbench 0.0.3, torch 9.9"),
            encoding="utf-8",
        )
    assert bench.call(*one, "--json").json["made_with"] == "locbench 0.0.3, torch 9.9"
    assert "Predictions are traced with locbench 0.0.3, torch 9.9." in bench.call(*one).out


def test_reports_tell_the_origin_of_each_tables_predictions(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.ship()
    shutil.copytree(COMMITTED, bench.results / "costs")
    bench.call("report", "swin-splits", "--out", "out")
    (kept,) = {
        json.loads(path.read_bytes())["made_with"] for path in COMMITTED.glob("splits-*.json")
    }
    report = json.loads((bench.folder / "out" / "swin-splits.json").read_text(encoding="utf-8"))
    assert report["comparisons"][0]["sources"]["predictions"] == kept
    assert f"- predictions: traced with {kept}" in (
        bench.folder / "out" / "swin-splits.md"
    ).read_text(encoding="utf-8")
