"""Parameters, operations and memory of a table's recipes, beside the printed ones."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from locbench.costs.counts import flops_by_part, parameter_counts
from locbench.costs.memory.deviations import deviation_of
from locbench.costs.memory.options import TraceOptions, legacy
from locbench.costs.memory.store import PredictionStore
from locbench.costs.table_values import MEMORY, memory_scale
from locbench.spec.compatibility import lean_obstacle
from locbench.spec.expression import backpropagation
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe
from locbench.spec.tables import Cell, Published, Table


class CostRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one recipe costs.

    Attributes:
        row, column: the first place of the table that the recipe fills; empty outside a table.
        places: all of these places, as (row, column).
        recipe: the recipe.
        params_primary, params_auxiliary: parameters of the network and of all auxiliary nets.
        macs, flops: forward operations of one image through the network and the classifying
            auxiliary nets.
        extra_macs: those of branches that run in training alone and that published FLOPs leave out.
        memory_peak_bytes: predicted peak of live tensor bytes in a training step; with PGL, the
            mean over epochs.
        memory_local_bytes, memory_guided_bytes: of a local and of a global step; None without
            phases.
        memory_lean_bytes: the peak with ``--memory lean``; None where the method does not have it.
        memory_peak_bytes_legacy: of a transformer, the peak as it was measured in 2022: see
            `costs.memory.options.legacy`.
        bp_peak_bytes: the predicted peak of backpropagation on the same network, data and batch.
        published: what the paper prints for the recipe, by metric.
        published_bp: the memory that the paper prints for backpropagation, in ``unit``.
        unit: of the published memory: ``GB`` (10^9 bytes) or ``MiB``; GB where none is printed.
        seconds: time it took to work this row out; a trace that was kept from before takes none.
        made_with: versions of locbench, torch and timm that the peak was traced with.
    """

    row: str
    column: str
    places: tuple[tuple[str, str], ...]
    recipe: Recipe
    params_primary: int
    params_auxiliary: int
    macs: int
    flops: int
    extra_macs: int
    memory_peak_bytes: int
    memory_local_bytes: int | None
    memory_guided_bytes: int | None
    memory_lean_bytes: int | None
    memory_peak_bytes_legacy: int | None = None
    bp_peak_bytes: int
    published: dict[str, Published]
    published_bp: float | None
    unit: str
    seconds: float
    made_with: str = ""

    @property
    def ratio(self) -> float:
        """Predicted memory as a share of backpropagation's."""
        return self.memory_peak_bytes / self.bp_peak_bytes

    @property
    def published_ratio(self) -> float | None:
        """Published memory as a share of the published backpropagation's.

        None where one is not printed.
        """
        memory = self.published.get(MEMORY)
        if memory is None or memory.value is None or not self.published_bp:
            return None
        return memory.value / self.published_bp


def table_rows(table: Table, predictions: PredictionStore) -> Iterator[CostRow]:
    """Yield one row per recipe of which a table prints a cost, in the table's order.

    Where it prints none there is a row for every recipe.

    Raises:
        FailureError: the table's memory is in no known unit.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in table.cells:
        if cell.recipe is not None:
            groups.setdefault(cell.recipe.key, []).append(cell)
    costly = {
        key: cells for key, cells in groups.items() if any(_prints_costs(table, c) for c in cells)
    }
    published = {
        key: {metric: value for cell in reversed(cells) for metric, value in cell.published.items()}
        for key, cells in groups.items()
    }
    unit = _unit(table)
    for key, cells in (costly or groups).items():
        recipe = cells[0].recipe
        assert recipe is not None
        bp_memory = published.get(backpropagation(recipe).key, {}).get(MEMORY)
        yield recipe_row(
            recipe,
            predictions,
            places=tuple((cell.row, cell.column) for cell in cells),
            published=published[key],
            published_bp=None if bp_memory is None else bp_memory.value,
            unit=unit,
        )


def recipe_row(
    recipe: Recipe,
    predictions: PredictionStore,
    setting: TraceOptions = TraceOptions(),
    *,
    places: tuple[tuple[str, str], ...] = (),
    published: Mapping[str, Published] = {},
    published_bp: float | None = None,
    unit: str = "GB",
) -> CostRow:
    """Return the costs of a recipe.

    Args:
        recipe: the recipe.
        predictions: a store that may trace.
        setting: of the traces.
        places, published, published_bp, unit: see `CostRow`; empty outside a table.
    """
    begun = time.perf_counter()
    counts, parts = parameter_counts(recipe), flops_by_part(recipe, setting.side)
    footprint = predictions.footprint(recipe, setting)
    assert footprint is not None  # the store may trace
    seconds = time.perf_counter() - begun
    bp_bytes = _mean_bytes(backpropagation(recipe), predictions, setting)
    assert bp_bytes is not None
    lean = None if lean_obstacle(recipe) else msgspec.structs.replace(recipe, memory="lean")
    transformer = NETWORKS[recipe.network].transformer is not None
    row, column = places[0] if places else ("", "")
    return CostRow(
        row=row,
        column=column,
        places=places,
        recipe=recipe,
        params_primary=counts["primary"],
        params_auxiliary=counts["auxiliary"],
        macs=parts.network.macs + parts.heads.macs,
        flops=parts.network.flops + parts.heads.flops,
        extra_macs=parts.extra.macs,
        memory_peak_bytes=round(footprint.mean),
        memory_local_bytes=footprint.local.peak if footprint.guided else None,
        memory_guided_bytes=footprint.guided.peak if footprint.guided else None,
        memory_lean_bytes=_mean_bytes(lean, predictions, setting) if lean else None,
        memory_peak_bytes_legacy=(
            _mean_bytes(recipe, predictions, legacy(setting)) if transformer else None
        ),
        bp_peak_bytes=bp_bytes,
        published=dict(published),
        published_bp=published_bp,
        unit=unit,
        seconds=round(seconds, 3),
        made_with=footprint.local.made_with,
    )


def _mean_bytes(recipe: Recipe, predictions: PredictionStore, setting: TraceOptions) -> int | None:
    footprint = predictions.footprint(recipe, setting)
    return None if footprint is None else round(footprint.mean)


def row_entry(row: CostRow) -> dict[str, Any]:
    """Return a row as plain JSON types: bytes, operations and parameters, not rounded.

    Published values are as printed.
    """
    other = ("recipe", "published", "unit")
    entry = {name: getattr(row, name) for name in CostRow.__struct_fields__ if name not in other}
    published = {
        metric: value.text if value.value is None else value.value
        for metric, value in row.published.items()
    }
    memory = row.published.get(MEMORY)
    mib = memory.value if memory is not None and row.unit == "MiB" else None
    entry |= {
        "published": published,
        "published_memory_unit": row.unit,
        "published_memory_mib": mib,
    }
    deviation = deviation_of(row.recipe)
    entry["memory_deviation"] = deviation._asdict() if deviation.words else None
    return entry | {"key": row.recipe.key, "recipe": row.recipe.describe()}


def _prints_costs(table: Table, cell: Cell) -> bool:
    names = cell.metrics if cell.own else cell.published
    return any(
        table.metrics[name].kind in ("exact", "predicted", "measured", "text") for name in names
    )


def _unit(table: Table) -> str:
    if MEMORY not in table.metrics:
        return "GB"
    memory_scale(table)  # refuses what is no unit of memory
    return table.metrics[MEMORY].unit
