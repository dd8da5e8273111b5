"""Calibrations: what is fitted, held out and unfit, and the residuals."""

from __future__ import annotations

import statistics
from pathlib import Path

import msgspec
import pytest

from locbench.costs.calibration import Calibrated, calibrated_values, residuals
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.store import PredictionStore, TracedStep
from locbench.costs.table_values import memory_scale, predicted_memory
from locbench.costs.trace_store import made_with
from locbench.report.compare import compare
from locbench.report.render import render
from locbench.results.record import Record
from locbench.spec.recipe import Recipe
from locbench.spec.table_files import load_table
from locbench.spec.tables import Table, Term


def step_of(peak: int, recipe: Recipe, **backwards: int) -> TracedStep:
    return TracedStep(
        recipe=recipe,
        setting=TraceOptions(),
        made_with=made_with(recipe),
        peak=peak,
        kinds={},
        backwards=dict(backwards),
    )


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


def refitted(table: Table, predictions: PredictionStore) -> list[Term]:
    """Return a table's terms with their gigabytes fitted anew on their places.

    They are the mean of published - base. A term whose places the store lacks stays as it is.
    """
    cells = {(cell.row, cell.column): cell for cell in table.cells}
    terms = []
    for term in table.calibration.terms if table.calibration else ():
        excesses = []
        for place in term.fitted:
            recipe, published = cells[place].recipe, cells[place].published["gpu_memory"].value
            assert recipe is not None
            assert published is not None
            footprint = predictions.footprint(recipe)
            if footprint is not None:
                base = footprint.averaged(
                    lambda step, term=term: term.base(step.peak, step.backwards) or step.peak  # type: ignore[misc]
                )
                excesses.append((published * memory_scale(table) - base) / 1e9)
        fitted = statistics.fmean(excesses) if excesses else term.gigabytes
        terms.append(msgspec.structs.replace(term, gigabytes=fitted))
    return terms


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
