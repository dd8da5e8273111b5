"""The timeline of a step's live bytes."""

from __future__ import annotations

from pathlib import Path

from specimens import recipe

from locbench.costs.memory.timeline import KINDS, draw, series
from locbench.costs.memory.trace import trace_step

PNG = b"\x89PNG"


def test_timeline_adds_up_to_the_peak(tmp_path: Path) -> None:
    step = trace_step(recipe("auglocal"))
    bands = series(step, lambda storage: storage.kind, KINDS)
    assert bands.sum(axis=0).max() == step.peak
    assert (bands >= 0).all()
    assert bands[KINDS.index("parameters")].min() > 0  # the learner outlives the step
    draw(step, 3, "auglocal", tmp_path / "step.png")
    assert (tmp_path / "step.png").read_bytes().startswith(PNG)
