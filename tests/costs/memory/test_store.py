"""Stored predictions: made once, made again where unusable, weighted by phase."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from plugin_files import PLUGINS, loaded, writer
from specimens import recipe

from locbench.costs.memory.options import TraceOptions, phase_options
from locbench.costs.memory.store import TRACE_VERSION, Footprint, PredictionStore, TracedStep
from locbench.costs.memory.trace import peak_bytes
from locbench.costs.trace_store import made_with
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table


def test_a_trace_is_made_once_and_only_if_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = recipe("dgl", network="resnet8")
    assert PredictionStore(tmp_path).step(one) is None
    assert not any(tmp_path.iterdir())
    step = PredictionStore(tmp_path, trace=True).step(one)
    assert step is not None
    assert step.peak == peak_bytes(one)
    assert sum(step.kinds.values()) == step.peak
    # Would fail if it were called.
    monkeypatch.setattr("locbench.costs.memory.trace.trace_step", None)
    assert (
        PredictionStore(tmp_path, trace=True).step(msgspec.structs.replace(one, epochs=7, seed=3))
        == step
    )
    assert PredictionStore(tmp_path).step(recipe("predsim")) is None


@pytest.mark.parametrize("content", ["", "{}", '{"peak": 1}', "stale"])
def test_a_trace_that_cannot_be_used_is_made_again(tmp_path: Path, content: str) -> None:
    one, store = recipe("bp"), PredictionStore(tmp_path, trace=True)
    step = store.step(one)
    assert step is not None
    path = store.path(one, TraceOptions())
    stale = path.read_text(encoding="utf-8").replace(
        f'"trace_version": {TRACE_VERSION}', '"trace_version": 0'
    )
    path.write_text(stale if content == "stale" else content, encoding="utf-8")
    assert PredictionStore(tmp_path).step(one) is None
    assert PredictionStore(tmp_path, trace=True).step(one) == step
    assert PredictionStore(tmp_path).step(one) == step


def test_another_version_of_a_plugin_voids_its_traces(tmp_path: Path) -> None:
    text = (PLUGINS / "smoothed.py").read_text(encoding="utf-8")
    with loaded(PLUGINS / "smoothed.py"):
        assert PredictionStore(tmp_path, trace=True).step(recipe("bp")) is not None
        step = PredictionStore(tmp_path, trace=True).step(recipe("smoothed"))
        assert step is not None
        assert step.made_with.endswith(f"plugin smoothed {sha256(text.encode()).hexdigest()[:12]}")
        assert PredictionStore(tmp_path).step(recipe("smoothed")) == step
    with loaded(writer(tmp_path)(text.replace("32, 3", "16, 3"), "smoothed.py")):
        store = PredictionStore(tmp_path)
        assert store.step(recipe("smoothed")) is None
        (line,) = store.log.lines
        assert "it was traced with another version of the plugin 'smoothed'" in line
        assert store.step(recipe("bp")) is not None


def test_settings_and_recipes_have_files_of_their_own(tmp_path: Path) -> None:
    store, one = PredictionStore(tmp_path), recipe("pgl+head")
    settings = [
        TraceOptions(),
        TraceOptions(guided=True),
        TraceOptions(batch_size=4),
        TraceOptions(keep_gradients=False),
        TraceOptions(side=16),
    ]
    assert len({store.path(one, each) for each in settings}) == 5
    assert store.path(one, TraceOptions()) != store.path(recipe("head", net="2C2F"), TraceOptions())


def step_of(peak: int, recipe: Recipe, **backwards: int) -> TracedStep:
    return TracedStep(
        recipe=recipe,
        setting=TraceOptions(),
        made_with=made_with(recipe),
        peak=peak,
        kinds={},
        backwards=dict(backwards),
    )


def test_memory_of_two_phases_is_weighted_by_their_epochs() -> None:
    cell = next(each for each in load_table("pgl-costs").cells if "PGL" in each.row)
    assert cell.recipe is not None
    both = Footprint(step_of(100, cell.recipe), step_of(200, cell.recipe), 0.2)
    assert both.mean == pytest.approx(120)
    assert Footprint(step_of(100, cell.recipe)).mean == 100


def test_share_of_global_epochs_is_a_fifth(tmp_path: Path) -> None:
    found = PredictionStore(tmp_path, trace=True).footprint(recipe("pgl+head", network="resnet8"))
    assert found is not None
    assert found.guided is not None
    assert found.guided.setting.guided
    assert found.guided.peak > found.local.peak
    full = next(
        each for each in load_table("pgl-costs").cells if "PGL (1Conv-2FC)" in each.row
    ).recipe
    assert full is not None
    store = PredictionStore(tmp_path / "other")
    for options in phase_options(full):
        store.add(store.path(full, options), step_of(10**9, full))
    footprint = store.footprint(full)
    assert footprint is not None
    assert footprint.share == pytest.approx(0.2)
