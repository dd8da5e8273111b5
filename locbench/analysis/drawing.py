"""Pictures of analyses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from locbench.analysis.analyses import ACROSS, summaries
from locbench.figures import figure_file
from locbench.spec.choices import FigureKind as Kind

LABELS: dict[Kind, tuple[str, str]] = {
    "cka": ("local layer", "similarity (linear CKA)"),
    "probe": ("local layer", "accuracy of a linear probe (%)"),
    "curves": ("epoch", "training loss of the output"),
    "reduction": ("FLOPs reduction of the auxiliary nets (%)", "test accuracy (%)"),
    "accuracy": ("", "test accuracy (%)"),
}
"""Axes of the kinds that have some."""

TITLES: dict[Kind, str] = {
    "cka": "Layer-wise similarity of representations",
    "probe": "Layer-wise linear separability",
    "tsne": "t-SNE of the last layer's features",
    "features": "Feature maps",
    "curves": "Learning curves",
}

_LEGENDS: dict[Kind, str] = {"cka": ".3f", "probe": ".1f", "curves": ".3f", "reduction": ".1f"}

TARGET, OTHERS = "tab:blue", "gold"


def draw(kind: Kind, frame: pd.DataFrame, path: Path, *, title: str, note: str = "") -> None:
    """Draw an analysis into a file.

    Args:
        kind: which analysis.
        frame: as `analyse` returns it.
        path: its ending says the format.
        title: above the picture.
        note: below it, such as how reduced the runs are.

    Raises:
        FailureError: the file cannot be written.
    """
    panels = list(dict.fromkeys(frame["panel"]))
    labels = list(dict.fromkeys(frame["label"]))
    if kind == "tsne":
        grid, size = (len(panels), len(labels)), (3.4 * len(labels), 3.6 * len(panels) + 0.6)
    elif kind == "features":
        runs = len(frame.groupby(["panel", "label"]))
        grid = (frame["image"].nunique(), runs * frame["stage"].nunique())
        size = (1.3 * grid[1] + 0.4, 1.35 * grid[0] + 1.0)
    else:
        grid, size = (1, len(panels)), (6.8 * len(panels) + 0.4, 4.2)
    with figure_file(path, grid=grid, size=size) as (figure, axes):
        figure.suptitle(title, fontsize="medium", wrap=True)
        if note:
            figure.supxlabel(note, fontsize="x-small", color="dimgray", wrap=True)
        if kind == "tsne":
            _scatter(axes, frame, panels, labels)
        elif kind == "features":
            _maps(axes, frame)
        elif kind == "accuracy":
            _bars(axes[0], frame, panels)
        else:
            _lines(kind, axes[0], frame, panels)


def _lines(kind: Kind, axes: Any, frame: pd.DataFrame, panels: list[str]) -> None:
    across, found = ACROSS[kind], summaries(kind, frame)
    x_label, y_label = LABELS[kind]
    for panel, axis in zip(panels, axes, strict=True):
        part = frame[frame["panel"] == panel]
        for label, lines in part.groupby("label", sort=False):
            by_x = lines.groupby(across)["value"]
            mean, spread = by_x.mean(), by_x.std().fillna(0)
            name = f"{label} ({found[panel, str(label)]:{_LEGENDS[kind]}})"
            (line,) = axis.plot(mean.index, mean, marker="o", markersize=3, label=name)
            if (spread > 0).any():
                axis.fill_between(
                    mean.index, mean - spread, mean + spread, color=line.get_color(), alpha=0.2
                )
        axis.set(title=panel, xlabel=x_label, ylabel=y_label)
        if kind != "reduction":
            axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))


def _bars(axes: Any, frame: pd.DataFrame, panels: list[str]) -> None:
    for panel, axis in zip(panels, axes, strict=True):
        by_label = frame[frame["panel"] == panel].groupby("label", sort=False)["value"]
        means, spreads = by_label.mean(), by_label.std()
        bars = axis.barh(means.index, means, xerr=spreads.fillna(0), color="tab:blue", height=0.7)
        axis.bar_label(bars, fmt="%.1f", padding=3, fontsize="small")
        low = means.min()
        axis.set(
            title=panel, xlabel=LABELS["accuracy"][1], xlim=(max(0, low - 15), means.max() + 6)
        )
        axis.invert_yaxis()


def _scatter(axes: Any, frame: pd.DataFrame, panels: list[str], labels: list[str]) -> None:
    for row, panel in zip(axes, panels, strict=True):
        for axis, label in zip(row, labels, strict=True):
            part = frame[(frame["panel"] == panel) & (frame["label"] == label)]
            part = part[part["seed"] == part["seed"].min()] if len(part) else part
            axis.set(xticks=[], yticks=[])
            if part.empty:
                axis.set_axis_off()
                continue
            for target, color in ((False, OTHERS), (True, TARGET)):
                points = part[part["target"] == target]
                axis.scatter(points["x"], points["y"], s=9, c=color, linewidths=0)
            apart = part["separation"].iloc[0]
            axis.set_title(
                f"{panel + ': ' if panel else ''}{label}, s = {apart:.2f}", fontsize="small"
            )


def _maps(axes: Any, frame: pd.DataFrame) -> None:
    first = frame[frame["seed"] == frame["seed"].min()]
    for line, (_, of_image) in zip(axes, first.groupby("image"), strict=True):
        maps = of_image.groupby(["panel", "label", "stage"], sort=False)
        for axis, ((panel, label, stage), each) in zip(line, maps, strict=True):
            axis.imshow(each.pivot(index="row", columns="column", values="value"), vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            if each["image"].iloc[0] == first["image"].min():
                run = f"{panel}: {label}" if panel else label
                axis.set_title(f"{run}\nstage {stage}", fontsize="x-small")
