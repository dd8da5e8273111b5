"""The plot of a step's live bytes by kind and module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locbench.costs.memory.trace import StepMemory
from locbench.costs.memory.tracker import Storage
from locbench.figures import figure_file

KINDS = (
    "parameters",
    "buffers",
    "optimizer state",
    "gradients",
    "input",
    "activations",
    "temporaries",
)

_POINTS = 2000

_MODULE_BANDS = 12


def series(
    step: StepMemory, label: Callable[[Storage], str], labels: Sequence[str]
) -> NDArray[np.float64]:
    """Return the live bytes by label after every event of the second step.

    Args:
        step: a traced step.
        label: names a storage's band.
        labels: the bands, in order.

    Returns:
        labels x events, in bytes; the sum over labels is the live total.
    """
    index = {name: position for position, name in enumerate(labels)}
    events = step.trace.events
    changes = np.zeros((len(labels), len(events)))
    for position, (storage, change) in enumerate(events):
        changes[index[label(storage)], position] = change
    return np.asarray(changes.cumsum(axis=1)[:, step.start :])


def module_bands(step: StepMemory, modules: int) -> tuple[Callable[[Storage], str], list[str]]:
    """Return how storages fall into bands of local modules, and the bands' names.

    What belongs to no module's pass (parameters, optimizer) is a band of its own.
    """
    size = -(-modules // _MODULE_BANDS)

    def name(storage: Storage) -> str:
        if storage.module < 0 or storage.kind not in ("activations", "temporaries"):
            return "state"
        first = storage.module // size * size
        last = min(first + size, modules) - 1
        return f"module {first + 1}" if first == last else f"modules {first + 1}-{last + 1}"

    bands = {name(storage): storage.module for storage, _ in step.trace.events}
    return name, ["state", *sorted(bands.keys() - {"state"}, key=bands.__getitem__)]


def draw(step: StepMemory, modules: int, title: str, path: Path) -> None:
    """Draw both panels into a file; its ending says the format.

    Raises:
        FailureError: the file cannot be written.
    """
    with figure_file(path, panels=2, size=(9, 7)) as (figure, panels):
        _panel(panels[0], step, lambda storage: storage.kind, KINDS, "by kind")
        label, bands = module_bands(step, modules)
        _panel(panels[1], step, label, bands, "by local module")
        panels[1].set_xlabel("allocations and releases during one training step")
        figure.suptitle(f"{title}\npredicted peak {step.peak / 1e9:.3f} GB")


def _panel(
    axes: Any, step: StepMemory, label: Callable[[Storage], str], labels: Sequence[str], title: str
) -> None:
    values = series(step, label, labels) / 1e9
    places = _shown(values.shape[1], step.peak_event - step.start)
    shown = [row for row in range(len(labels)) if values[row].max() > 0]
    axes.stackplot(
        places, values[shown][:, places], labels=[labels[row] for row in shown], step="post"
    )
    axes.axvline(
        max(step.peak_event - step.start - 1, 0), color="black", linewidth=0.8, linestyle=":"
    )
    axes.set(title=title, ylabel="live bytes (GB)")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small", frameon=False)


def _shown(events: int, peak: int) -> NDArray[np.int64]:
    """Return at most some thousand places along the step, the peak among them."""
    places = np.linspace(0, events - 1, min(events, _POINTS)).astype(np.int64)
    return np.unique(np.append(places, min(max(peak - 1, 0), events - 1)))
