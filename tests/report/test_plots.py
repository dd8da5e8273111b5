"""The plot of the pyramid."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from report_builders import make_record, reduced

from locbench.errors import UsageError
from locbench.report.plots import accuracy_by_task, plot_reduction
from locbench.spec.table_files import load_table

PNG = b"\x89PNG"


def test_pyramid_plot(tmp_path: Path) -> None:
    table = load_table("auglocal-pyramid")
    reductions = {(cell.row, cell.column): 10.0 for cell in table.cells}
    plot_reduction(table, reductions, [], tmp_path / "pyramid.png")
    assert (tmp_path / "pyramid.png").read_bytes().startswith(PNG)
    first = table.cells[0].recipe
    assert first is not None
    quick = reduced(first, "quick")
    records = [
        make_record(msgspec.structs.replace(quick, seed=seed), 50.0 + 2 * seed) for seed in (0, 1)
    ]
    accuracies, how = accuracy_by_task(table, [*records, make_record(first, 90.0)])
    assert list(accuracies.values()) == [51.0]
    assert f"{quick.epochs} epochs" in how
    with pytest.raises(UsageError, match="no plot of pgl-period"):
        plot_reduction(load_table("pgl-period"), {}, [], tmp_path / "no.png")
