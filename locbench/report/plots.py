"""Tables as pictures: the plot that suits each of their metrics."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from locbench.errors import UsageError
from locbench.figures import figure_file
from locbench.report.model import Comparison, Entry
from locbench.report.text import heading, metric_label
from locbench.spec.tables import Table

PanelKind: TypeAlias = Literal["heat", "lines", "bars", "scatter"]

Side: TypeAlias = Literal["ours", "paper"]

COLORS: dict[Side, str] = {"ours": "tab:blue", "paper": "tab:orange"}

MOST_PANELS = 12
"""Most parts of a picture; those with most of ours are drawn."""


@dataclass(frozen=True)
class Panel:
    """A part of a picture.

    Attributes:
        kind: a heat map over two numeric axes, lines along one, bars, or ours against the paper.
        title: what of the table it shows.
        entries: its values; those without ours and without a published number are left out.
        places: for each entry the numbers or words of its axes: (x, y) of a heat map, (x, line) of
            lines, (label, "") of bars; unused by a scatter.
        axes: labels of x and y.
        beside: entries without a number of their own, drawn as levels beside lines.
        sides: whose numbers are drawn.
    """

    kind: PanelKind
    title: str
    entries: tuple[Entry, ...]
    places: tuple[tuple[Any, Any], ...] = ()
    axes: tuple[str, str] = ("", "")
    beside: tuple[tuple[str, Entry], ...] = ()
    sides: tuple[Side, ...] = ("ours", "paper")

    @property
    def ours(self) -> int:
        """How many of its values are ours."""
        entries = (*self.entries, *(entry for _, entry in self.beside))
        return sum(isinstance(entry.measured, float | int) for entry in entries)


def plot_table(table: Table, comparisons: Sequence[Comparison], path: Path) -> None:
    """Draw a table's numbers beside the paper's.

    Of runs that are reduced in several ways, those are drawn that fill most cells; full runs first.

    Args:
        table: the table.
        comparisons: full runs first; see `compare`.
        path: the file; its ending says the format.

    Raises:
        UsageError: the table has nothing but words.
        FailureError: the file cannot be written.
    """
    if not comparisons:
        raise UsageError(
            f"there is nothing of {table.id} to draw", f"Run it first: locbench table {table.id}"
        )
    comparison = chosen_comparison(comparisons)
    panels = table_panels(table, comparison)
    if not panels:
        raise UsageError(
            f"{table.id} prints words alone, which no plot shows",
            f"See: locbench report {table.id}",
        )
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    height = max(_height(panel) for panel in panels)
    with figure_file(path, grid=(rows, columns), size=(5.4 * columns, height * rows + 0.6)) as (
        figure,
        axes,
    ):
        figure.suptitle(heading(table), fontsize="medium", wrap=True)
        note = f"Ours are reduced runs: {comparison.how}." if comparison.reduced else ""
        if note:
            figure.supxlabel(note, fontsize="x-small", color="dimgray", wrap=True)
        for index, axis in enumerate(axes.flat):
            if index < len(panels):
                _DRAWN[panels[index].kind](axis, panels[index])
            else:
                axis.set_axis_off()


def plottable(table: Table) -> bool:
    """Whether a table prints anything but words."""
    return any(metric.kind != "text" for metric in table.metrics.values())


def chosen_comparison(comparisons: Sequence[Comparison]) -> Comparison:
    """Return the comparison with most numbers of ours, the first of several."""
    return max(
        comparisons, key=lambda each: sum(entry.measured is not None for entry in each.entries)
    )


def table_panels(table: Table, comparison: Comparison) -> list[Panel]:
    """Return the parts of a table's picture, metric by metric.

    Numbers in the labels decide: in those of rows and columns, a heat map, ours and the paper's; in
    one of them, lines. Costs and all else are bars. A scatter of ours against the paper follows
    where both have five trained numbers or more.
    """
    panels: list[Panel] = []
    for metric, about in table.metrics.items():
        entries = [
            entry
            for entry in comparison.entries
            if entry.metric == metric and (_ours(entry) is not None or _paper(entry) is not None)
        ]
        if about.kind == "text" or not entries:
            continue
        label = metric_label(table, metric)
        found = _heat(entries, label) or _sweeps(entries, label) or _bars(entries, label)
        if about.kind == "trained" and comparison.reduced:
            found = [each for panel in found for each in _apart(panel)]
        panels += [panel for panel in found if panel.ours] or found
        both = [entry for entry in entries if None not in (_ours(entry), _paper(entry))]
        if about.kind == "trained" and len(both) >= FEWEST_BOTH:
            tau = next(
                (
                    f", tau {rank.tau:.2f}"
                    for rank in comparison.ranks
                    if rank.metric == metric and rank.scope == "table" and rank.tau is not None
                ),
                "",
            )
            panels.append(
                Panel("scatter", f"ours against the paper{tau}", tuple(both), axes=(label, label))
            )
    shown = sorted(panels, key=lambda panel: -panel.ours)[:MOST_PANELS]
    return [panel for panel in panels if panel in shown]


FEWEST_BOTH = 5

_NUMBERED = re.compile(r"^(?P<rest>.*?)\b(?P<name>[A-Za-z]+)\s*=\s*(?P<number>\d+(?:\.\d+)?)$")


def numbered(label: str) -> tuple[str, str, float] | None:
    """Return what stands before a label's number, the number's name, and the number.

    ``AugLocal d=2`` is ("AugLocal", "d", 2.0); None without a number at the end.
    """
    match = _NUMBERED.match(label)
    return (match["rest"].strip(" /"), match["name"], float(match["number"])) if match else None


def _ours(entry: Entry) -> float | None:
    return float(entry.measured) if isinstance(entry.measured, float | int) else None


def _paper(entry: Entry) -> float | None:
    return entry.published.value if entry.published is not None else None


_VALUES: dict[Side, Callable[[Entry], float | None]] = {"ours": _ours, "paper": _paper}


def _apart(panel: Panel) -> list[Panel]:
    """Return ours and the paper's as panels of their own: reduced runs lie far below."""
    if panel.kind != "lines":
        return [panel]
    return [
        replace(panel, title=f"{panel.title}, {side}", sides=(side,))
        for side in (("ours", "paper") if panel.ours else panel.sides[1:])
    ]


def _heat(entries: Sequence[Entry], label: str) -> list[Panel]:
    places = [(numbered(entry.column), numbered(entry.row)) for entry in entries]
    kept = [
        (entry, column, row)
        for entry, (column, row) in zip(entries, places, strict=True)
        if column and row
    ]
    if len({column[2] for _, column, _ in kept}) < 2 or len({row[2] for _, _, row in kept}) < 2:
        return []
    if len({(column[:2], row[:2]) for _, column, row in kept}) > 1:
        return []  # several networks or methods: no one grid
    axes = (kept[0][1][1], kept[0][2][1])
    shown = tuple(entry for entry, _, _ in kept)
    at = tuple((column[2], row[2]) for _, column, row in kept)
    return [
        Panel("heat", f"{label}, {side}", shown, at, axes, sides=(side,))
        for side, value in _VALUES.items()
        if any(value(entry) is not None for entry in shown)
    ]


def _sweeps(entries: Sequence[Entry], label: str) -> list[Panel]:
    """Return lines along the number in the labels of rows or, if these have none, of columns."""
    for of, other in (("row", "column"), ("column", "row")):
        numbers = [numbered(getattr(entry, of)) for entry in entries]
        steps = {found[2] for found in numbers if found}
        if len(steps) < 3:
            continue
        name = next(found[1] for found in numbers if found)
        panels: dict[tuple[str, str], list[tuple[Entry, float | None, str]]] = defaultdict(list)
        for entry, found in zip(entries, numbers, strict=True):
            rest, _, last = (found[0] if found else getattr(entry, of)).rpartition(" / ")
            place = (rest, getattr(entry, other))
            if of == "column":  # every row is a line of one panel
                place, last = ("", ""), getattr(entry, other)
            panels[place].append((entry, found[2] if found else None, last))
        return [
            Panel(
                "lines",
                ", ".join(filter(None, place)) or label,
                tuple(entry for entry, x, _ in values if x is not None),
                tuple((x, line) for _, x, line in values if x is not None),
                (name, label),
                tuple((line, entry) for entry, x, line in values if x is None),
            )
            for place, values in panels.items()
            if sum(x is not None for _, x, _ in values) >= 2
        ]
    return []


def _bars(entries: Sequence[Entry], label: str) -> list[Panel]:
    columns = list(dict.fromkeys(entry.column for entry in entries))
    by_column = [[entry for entry in entries if entry.column == column] for column in columns]
    return [
        Panel(
            "bars",
            f"{label}, {column}" if len(columns) > 1 else label,
            tuple(values),
            tuple((entry.row, "") for entry in values),
            (label, ""),
        )
        for column, values in zip(columns, by_column, strict=True)
    ]


def _height(panel: Panel) -> float:
    return 0.34 * len(panel.entries) + 1.4 if panel.kind == "bars" else 4.0


def _draw_heat(axis: Any, panel: Panel) -> None:
    value = _VALUES[panel.sides[0]]
    xs = sorted({x for x, _ in panel.places})
    ys = sorted({y for _, y in panel.places})
    cells: list[list[float]] = [[float("nan")] * len(xs) for _ in ys]
    for entry, (x, y) in zip(panel.entries, panel.places, strict=True):
        number = value(entry)
        if number is not None:
            cells[ys.index(y)][xs.index(x)] = number
    image = axis.imshow(cells, aspect="auto", cmap="viridis")
    known = [number for line in cells for number in line if number == number]
    middle = (min(known) + max(known)) / 2
    for row, line in enumerate(cells):
        for column, number in enumerate(line):
            if number == number:
                color = "black" if number > middle else "white"
                axis.text(column, row, f"{number:.4g}", ha="center", va="center", color=color)
    axis.set_xticks(range(len(xs)), [f"{x:g}" for x in xs])
    axis.set_yticks(range(len(ys)), [f"{y:g}" for y in ys])
    axis.set(title=panel.title, xlabel=panel.axes[0], ylabel=panel.axes[1])
    image.axes.figure.colorbar(image, ax=axis)


def _draw_lines(axis: Any, panel: Panel) -> None:
    lines: dict[str, list[tuple[float, Entry]]] = defaultdict(list)
    for entry, (x, line) in zip(panel.entries, panel.places, strict=True):
        lines[line].append((x, entry))
    names = _short([*lines, *(name for name, _ in panel.beside)])
    colors = {name: f"C{index % 10}" for index, name in enumerate(names)}
    both = len(panel.sides) > 1
    for side in panel.sides:
        dotted = both and side == "paper"
        style: dict[str, Any] = {"linestyle": ":" if dotted else "-"}
        for line, points in lines.items():
            values = ((x, _VALUES[side](entry), entry.std or 0) for x, entry in points)
            known = sorted((x, y, spread) for x, y, spread in values if y is not None)
            if known:
                xs, ys, spreads = zip(*known, strict=True)
                axis.errorbar(
                    xs,
                    ys,
                    yerr=spreads if side == "ours" and any(spreads) else None,
                    marker="x" if dotted else "o",
                    capsize=2,
                    color=colors[line],
                    label=None if dotted else names[line],
                    **style,
                )
        for name, entry in panel.beside:
            level = _VALUES[side](entry)
            if level is not None:
                label = None if dotted else names[name]
                axis.axhline(level, color=colors[name], linewidth=1, label=label, **style)
    if both:
        axis.plot([], [], color="gray", linestyle=":", marker="x", label="paper")
    axis.set_xticks(sorted({x for x, _ in panel.places}))
    axis.set(title=panel.title, xlabel=panel.axes[0], ylabel=panel.axes[1])
    axis.legend(frameon=False, fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))


def _short(labels: Sequence[str]) -> dict[str, str]:
    """Return labels without the parts that all of several begin with."""
    parts = [label.split(" / ") for label in labels]
    shared = 0
    while len(parts) > 1 and all(
        len(each) > shared + 1 and each[shared] == parts[0][shared] for each in parts
    ):
        shared += 1
    return {label: " / ".join(each[shared:]) for label, each in zip(labels, parts, strict=True)}


def _draw_bars(axis: Any, panel: Panel) -> None:
    labels = [label for label, _ in panel.places]
    names = _short(labels)
    ticks = range(len(labels))
    shifts: dict[Side, float] = {"ours": -0.2, "paper": 0.2}
    for name, shift in shifts.items():
        numbers = [_VALUES[name](entry) for entry in panel.entries]
        if all(number is None for number in numbers):
            continue
        spreads = [(entry.std or 0) if name == "ours" else 0 for entry in panel.entries]
        widths = [number or 0 for number in numbers]
        bars = axis.barh(
            [tick + shift for tick in ticks],
            widths,
            height=0.38,
            color=COLORS[name],
            label=name,
            xerr=spreads if any(spreads) else None,
        )
        texts = ["" if number is None else f" {number:.4g}" for number in numbers]
        axis.bar_label(bars, texts, fontsize="x-small")
    axis.set_yticks(list(ticks), [names[each] for each in labels], fontsize="x-small")
    axis.margins(x=0.15)
    axis.invert_yaxis()
    axis.set(title=panel.title, xlabel=panel.axes[0])
    axis.legend(frameon=False, fontsize="x-small")


def _draw_scatter(axis: Any, panel: Panel) -> None:
    pairs = [(_paper(entry), _ours(entry), entry.std or 0) for entry in panel.entries]
    x, y, spread = zip(*pairs, strict=True)
    axis.errorbar(x, y, yerr=spread, fmt="o", markersize=4, capsize=2)
    axis.set(title=panel.title, xlabel=f"{panel.axes[0]}, paper", ylabel=f"{panel.axes[1]}, ours")


_DRAWN = {"heat": _draw_heat, "lines": _draw_lines, "bars": _draw_bars, "scatter": _draw_scatter}
