"""Predicted memory: fake tensors against a real step, a peak worked out by hand, and the
calibrations.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from specimens import recipe
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from locbench.costs.calibration import Calibrated, calibrated_values, refitted, residuals
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.store import Footprint, PredictionStore, TracedStep
from locbench.costs.memory.trace import StepMemory, peak_bytes, trace_step
from locbench.costs.memory.tracker import GRANULE, ConvolutionBytes, MemoryTracker
from locbench.costs.table_values import predicted_memory
from locbench.costs.trace_store import made_with
from locbench.report.compare import compare
from locbench.report.render import render
from locbench.results.record import Record
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table
from locbench.spec.tables import Table

SMALL = TraceOptions(batch_size=8, side=16)
REAL = msgspec.structs.replace(SMALL, fake=False)
STEPS = [
    ("bp", {}, False),
    ("bp+checkpointed", {"segments": 2}, False),
    ("dgl", {}, False),
    ("predsim", {}, False),
    ("auglocal", {"depth": 3}, False),
    ("hpff+dgl", {}, False),
    ("pgl+head", {}, False),
    ("pgl+head", {}, True),
]


def traced(method: str, setting: TraceOptions, **options: object) -> StepMemory:
    return trace_step(recipe(method, network="resnet14", **options), setting)


@pytest.mark.parametrize(("method", "options", "guided"), STEPS, ids=str)
def test_fake_tensors_live_as_real_ones(
    method: str, options: dict[str, object], guided: bool
) -> None:
    fake, real = (
        traced(method, msgspec.structs.replace(each, guided=guided), **options)
        for each in (SMALL, REAL)
    )
    assert fake.peak == real.peak
    assert fake.by_kind() == real.by_kind()
    assert sum(fake.by_kind().values()) == fake.peak


def test_real_reconstruction_takes_one_buffer_more() -> None:
    """The CPU's binary cross-entropy holds the loss of every pixel before it averages.

    The fake one does not.
    """
    fake, real = (traced("infopro", each) for each in (SMALL, REAL))
    image = 8 * 3 * 16 * 16 * 4
    assert real.peak - fake.peak == image - GRANULE  # and not the average itself
    kinds = {name: real.by_kind()[name] - size for name, size in fake.by_kind().items()}
    assert {name for name, difference in kinds.items() if difference} == {"temporaries"}


def test_a_chain_worked_out_by_hand() -> None:
    """Two linear layers without biases, 64 -> 32 -> 64, with a ReLU between; batch 256."""
    with FakeTensorMode(), MemoryTracker() as live:
        first, second = nn.Linear(64, 32, bias=False), nn.Linear(32, 64, bias=False)
        images = torch.zeros(256, 64)
        start = len(live.trace.events)
        hidden = first(images).relu_()
        loss = second(hidden).sum()
        loss.backward()
    weight, wide, narrow = 64 * 32 * 4, 256 * 64 * 4, 256 * 32 * 4
    always = (
        2 * weight + wide + narrow
    )  # both weights, the images, and the hidden map, in place after the ReLU
    forward = always + wide + GRANULE  # the output is freed once it is summed
    # At the ReLU: the loss and its gradient, the second weight's gradient, and the hidden map's
    # before and after.
    backward = always + 2 * GRANULE + weight + 2 * narrow
    changes = [change for _, change in live.trace.events]
    assert sum(changes[: start + 3]) == forward
    assert live.trace.peak(start)[0] == max(forward, backward) == backward == 189_440
    assert sum(changes) == always + GRANULE + 2 * weight  # what is left: gradients and the loss


def test_sizes_are_rounded_up_to_granules() -> None:
    with FakeTensorMode(), MemoryTracker() as live:
        kept: list[Tensor] = [torch.zeros(1), torch.zeros(128), torch.zeros(129)]
    assert [change for _, change in live.trace.events] == [512, 512, 1024]
    assert live.trace.peak()[0] == 2048
    del kept[2]
    assert live.trace.events[-1][1] == -1024


def test_views_and_changes_in_place_are_no_new_storage() -> None:
    with FakeTensorMode(), MemoryTracker() as live:
        x = torch.zeros(256)
        x.view(16, 16).relu_().t().add_(1)
    assert len([1 for _, change in live.trace.events if change > 0]) == 1


def test_memory_grows_with_the_batch_and_not_with_the_schedule() -> None:
    one = recipe("dgl", network="resnet14")
    peaks = [
        peak_bytes(one, msgspec.structs.replace(SMALL, batch_size=batch))
        for batch in (64, 128, 256)
    ]
    assert peaks[2] - peaks[1] == pytest.approx(2 * (peaks[1] - peaks[0]), rel=0.01)
    longer = msgspec.structs.replace(one, epochs=9, seed=5, lr=0.3)
    assert peak_bytes(longer, SMALL) == peak_bytes(one, SMALL)


def test_first_backward_of_every_shape_of_convolution() -> None:
    live = ConvolutionBytes()
    step = trace_step(recipe("bp", network="resnet14"), SMALL, live)
    found = live.first_backwards()
    assert set(found) == {
        "3-16 3x3/1 at 16",
        "16-16 3x3/1 at 16",
        "16-32 3x3/2 at 16",
        "16-32 1x1/2 at 16",
        "32-32 3x3/1 at 8",
        "32-64 3x3/2 at 8",
        "32-64 1x1/2 at 8",
        "64-64 3x3/1 at 4",
    }
    # Backpropagation goes from the top down and frees as it goes; the first step has no momentum
    # yet.
    order = ["32-32 3x3/1 at 8", "16-16 3x3/1 at 16", "3-16 3x3/1 at 16"]
    assert [found[shape] for shape in order] == sorted(
        (found[shape] for shape in order), reverse=True
    )
    assert max(found.values()) <= step.peak


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
    monkeypatch.setattr(
        "locbench.costs.memory.trace.trace_step", None
    )  # would fail if it were called
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
    stale = path.read_text(encoding="utf-8").replace('"trace_version": 1', '"trace_version": 0')
    path.write_text(stale if content == "stale" else content, encoding="utf-8")
    assert PredictionStore(tmp_path).step(one) is None
    assert PredictionStore(tmp_path, trace=True).step(one) == step
    assert PredictionStore(tmp_path).step(one) == step


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
        made_with=made_with(),
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
    store = Known({full.key: 10**9})
    footprint = store.footprint(full)
    assert footprint is not None
    assert footprint.share == pytest.approx(0.2)


class Known(PredictionStore):
    """A store of made-up peaks by recipe key.

    Every shape of convolution is first back-propagated at half the peak.
    """

    def __init__(self, peaks: dict[str, int]) -> None:
        super().__init__(Path("nowhere"))
        self.peaks = peaks

    def step(self, recipe: Recipe, setting: TraceOptions = TraceOptions()) -> TracedStep | None:
        if recipe.key not in self.peaks:
            return None
        peak = self.peaks[recipe.key]
        return step_of(peak, recipe, **{"16-16 3x3/1 at 32": peak // 2})


def known(table: Table, gigabytes: float) -> Known:
    return Known({each.recipe.key: int(gigabytes * 1e9) for each in table.cells if each.recipe})


def test_calibration_is_the_largest_of_peak_and_terms() -> None:
    table = load_table("auglocal-costs")
    small, large = (calibrated_values(table, known(table, each)) for each in (0.5, 8.0))
    assert len(small) == len(large) == 10
    assert {round(each.calibrated, 6) for each in small} == {0.25 + 1.165}
    assert {each.calibrated for each in large} == {8.0}
    assert {each.predicted for each in small} == {0.5}
    roles = {each.column: each.role for each in small}
    assert roles["BP"] == roles["AugLocal d=3"] == "fitted"
    assert roles["DGL"] == roles["AugLocal d=6"] == "held out"
    assert roles["InfoPro"] == roles["Gradient Checkpoint"] == "unfit"


def test_other_tables_use_the_terms_and_roles_of_their_paper() -> None:
    memory = load_table("auglocal-memory")
    roles = {each.row: each.role for each in calibrated_values(memory, known(memory, 0.5))}
    assert roles["CIFAR-10 / ResNet-110 / BP"] == "fitted"  # it is in Table 7
    assert roles["CIFAR-10 / ResNet-32 / AugLocal"] == "held out"
    assert {role for row, role in roles.items() if "ImageNet" in row} == {"unfit"}
    assert calibrated_values(load_table("pgl-blocks"), known(memory, 0.5)) == ()


def test_refitting_takes_the_mean_excess_of_the_fitted_places() -> None:
    table = load_table("pgl-costs")
    (term,) = refitted(table, known(table, 1.0))
    assert term.gigabytes == pytest.approx(
        (1.62 + 2.18 + 2.03 + 2.48 + 2.08 + 2.55 + 2.12 + 2.56) / 8 - 1.0
    )
    (kept,) = refitted(table, PredictionStore(Path("nowhere")))
    assert kept.gigabytes == 1.1


def test_residuals_count_a_number_of_two_tables_once() -> None:
    def value(table: str, published: float, role: str) -> Calibrated:
        return Calibrated("auglocal", table, "row", "column", published, 1.0, 2.0, role)  # type: ignore[arg-type]

    values = [
        value("one", 1.5, "fitted"),
        value("two", 1.5, "fitted"),
        value("one", 2.25, "held out"),
    ]
    fitted, held_out = residuals(values)
    assert (fitted.n, fitted.mean, fitted.mean_before) == (1, 0.5, 0.5)
    assert (held_out.n, held_out.worst, held_out.worst_before) == (1, 0.25, 1.25)


def test_calibrated_values_stand_apart_from_predictions() -> None:
    table = load_table("auglocal-costs")
    store = known(table, 0.5)
    predicted = {
        place: {"gpu_memory": value} for place, value in predicted_memory(table, store).items()
    }
    records: list[Record] = []
    (comparison,) = compare(table, records, predicted, calibrated_values(table, store))
    ours = {each.measured for each in comparison.entries if each.metric == "gpu_memory"}
    assert ours == {0.5}
    text = render(table, [comparison], "md")
    assert "predicted + calibration" in text
    assert "4 numbers held out" in text
    assert "does not fit" in text


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PredictionStore:
    return PredictionStore(tmp_path_factory.mktemp("results"), trace=True)


def only(table: Table, rows: list[str], columns: list[str]) -> Table:
    """Return a table narrowed to some places, so that no more is traced."""
    from locbench.spec.selection import narrow

    return narrow(
        table, [each for each in table.cells if each.row in rows and each.column in columns]
    )


@pytest.mark.parametrize("table_id", ["auglocal-costs", "pgl-costs", "hpff-memory"])
def test_the_tables_hold_what_fitting_gives(store: PredictionStore, table_id: str) -> None:
    table = load_table(table_id)
    assert table.calibration is not None
    assert all(term.fitted for term in table.calibration.terms)
    for stored, fitted in zip(table.calibration.terms, refitted(table, store), strict=True):
        assert stored.gigabytes == pytest.approx(fitted.gigabytes, abs=0.0006), (
            stored.shape or "constant"
        )


def test_auglocal_fits_within_a_hundredth_of_a_gigabyte(store: PredictionStore) -> None:
    """On ResNet-32, on which nothing was fitted, at the paper's batch; the others take minutes."""
    rows = ["CIFAR-10 / ResNet-32 / BP", "CIFAR-10 / ResNet-32 / AugLocal"]
    values = calibrated_values(only(load_table("auglocal-memory"), rows, ["GPU Memory"]), store)
    assert [each.role for each in values] == ["held out"] * 2
    assert all(abs(each.residual) < 0.011 for each in values)
    assert all(each.predicted < each.published - 0.5 for each in values)


def test_pgl_fits_within_a_tenth_of_a_gigabyte(store: PredictionStore) -> None:
    rows = [
        f"CIFAR-10 / ResNet-32 / {name}"
        for name in ("DGL (Baseline)", "PGL (1Conv-2FC)", "PGL (2Conv-2FC)")
    ]
    values = calibrated_values(only(load_table("pgl-costs"), rows, ["J=8", "J=2"]), store)
    assert [each.role for each in values] == ["held out"] * 6
    assert all(abs(each.residual) < 0.05 for each in values)


def test_pgls_memory_comes_in_the_published_order(store: PredictionStore) -> None:
    """DGL < PGL < backpropagation, growing as modules grow."""
    table = load_table("pgl-costs")
    rows = [f"CIFAR-10 / ResNet-32 / {name}" for name in ("DGL (Baseline)", "PGL (1Conv-2FC)")]
    found = predicted_memory(only(table, [*rows, "Backprop"], ["J=16", "J=8", "J=2"]), store)
    for row in rows:
        assert (
            found[row, "J=16"] < found[row, "J=8"] < found[row, "J=2"] < found["Backprop", "J=16"]
        )
    assert all(found[rows[0], column] < found[rows[1], column] for column in ("J=16", "J=8", "J=2"))
