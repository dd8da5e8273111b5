"""What reports say in words, the same in every format and before a format escapes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import product

from locbench.costs.memory.deviations import Deviation, deviation_of
from locbench.report.formatting import DAGGER, NOTHING, OWN, tau_text
from locbench.report.model import VERDICTS, Comparison, Entry, Verdict
from locbench.spec.tables import Paper, Table

PAPERS = {
    "auglocal": "AugLocal",
    "hpff": "HPFF",
    "pgl": "PGL",
    "swin": "Swin feature reconstruction",
}

REDUCED_WARNING = (
    f"Numbers marked {DAGGER} are of this reduced run: ranked against the paper's, never "
    "subtracted from them."
)

HOW_TO_READ = (
    f"How to read: ours is mean ± sample standard deviation over (n) seeds; {NOTHING} is not run. "
    "Below it stands what the paper prints."
)

MEANING: dict[Verdict, str] = {
    "match": "within max(0.1, two standard errors) of the paper over 3 or more seeds, "
    "or equal after its rounding",
    "off": "not so",
    "unconfirmed": "fewer than 3 seeds, or nothing legible printed",
    "predicted": "computed without a device and not judged; "
    "in brackets ours - paper and ours / paper",
    "measured": "of one device, and not judged",
    "reduced": f"shorter schedule or other data, marked {DAGGER}: "
    "compared by rank, never by difference",
    "own": "nothing is published to compare it with",
    "missing": "not run",
    "failed": "the run ended in an error",
    "blocked": "cannot be run yet",
}

_METRICS = {
    "test_acc": "Test accuracy",
    "test_err": "Test error",
    "top1_err": "Top-1 error",
    "top5_acc": "Top-5 accuracy",
    "top5_err": "Top-5 error",
    "params": "Parameters",
    "flops": "FLOPs",
    "flops_reduction": "FLOPs reduction",
    "wall_clock_overhead": "Wall-clock overhead",
    "gpu_memory": "GPU memory",
    "box_ap": "Box AP",
    "box_ap50": "Box AP50",
    "box_ap75": "Box AP75",
    "mask_ap": "Mask AP",
    "mask_ap50": "Mask AP50",
    "mask_ap75": "Mask AP75",
}


def heading(table: Table) -> str:
    """Return the paper, the table's number and its title."""
    paper = paper_name(table) if table.paper else ""
    place = ", ".join(filter(None, (paper, table.number, "extended" if table.extends else "")))
    return f"{place}: {table.title}" if place else table.title


def paper_name(table: Table) -> str:
    """Return what a table's paper is called; ``own`` without one."""
    return PAPERS.get(table.paper_name, table.paper_name)


def origin(table: Table) -> str:
    """Return where the table is printed and how many runs stand behind a published number."""
    if table.unpublished:
        return " ".join(filter(None, (_cited(table), "Nothing is published of this table.")))
    return " ".join(
        filter(None, (_cited(table), f"{table.source}. Runs per number: {table.trials}."))
    )


def _cited(table: Table) -> str:
    """Return what the table's own file says of its paper."""
    if not isinstance(table.paper, Paper):
        return ""
    paper = table.paper
    said = " ".join(filter(None, (paper.venue, str(paper.year or ""))))
    parts = [each for each in (paper.authors, said, paper.link) if each]
    return f"{'. '.join(parts)}." if parts else ""


def own_labels(table: Table) -> tuple[str, ...]:
    """Return the labels that are marked: of own rows and columns beside published ones."""
    axes = (*table.rows, *table.columns) if table.marks_own else ()
    return tuple(axis.label for axis in axes if axis.own)


def own_remarks(table: Table) -> list[str]:
    """Return what the mark of own rows and columns means; none where there are none."""
    return [f"{OWN} not of the paper: {MEANING['own']}."] if own_labels(table) else []


def metric_label(table: Table, metric: str) -> str:
    """Return a metric's name and unit: ``Test accuracy (%)``."""
    name = _METRICS.get(metric) or metric.replace("_", " ").capitalize()
    return with_unit(name, table.metrics[metric].unit)


def with_unit(name: str, unit: str) -> str:
    """Return a name with its unit in brackets, if it has one."""
    return f"{name} ({unit})" if unit else name


def what_runs(comparison: Comparison) -> str:
    """Return in a few words what kind of runs a comparison is of."""
    if comparison.reduced:
        return f"Reduced run: {comparison.how}"
    started = any(entry.epochs is not None for entry in comparison.entries)
    return "Full runs: the published schedule" if started else "No full run yet"


_WITHOUT_SEEDS = {
    "exact": "counted",
    "predicted": "predicted without a device, tensors alone, not judged",
}


def ours_words(entries: Sequence[Entry], ours: str, *, counted: bool = True) -> str:
    """Return what our numbers are, for a caption.

    Args:
        entries: all that it is of.
        ours: what they are called and where they stand.
        counted: whether the number of seeds stands at every number.
    """
    counts = sorted({entry.n for entry in entries if entry.n})
    if counts == [1]:
        return f"{ours}: one seed"
    if counts:
        several = "(n) seeds" if counted else f"{counts[0]} to {counts[-1]} seeds"
        seeds = f"{counts[0]} seeds" if len(counts) == 1 else several
        return f"{ours}: mean ± sample standard deviation over {seeds}"
    known = [entry.kind for entry in entries if entry.measured is not None]
    words = dict.fromkeys(_WITHOUT_SEEDS[kind] for kind in known if kind in _WITHOUT_SEEDS)
    return ours + (f": {' or '.join(words)}" if words else "")


def legend(comparison: Comparison) -> str:
    """Return the meaning of the verdicts that occur."""
    occurring = [
        verdict
        for verdict in VERDICTS
        if verdict in {**comparison.counts, **comparison.text_counts}
    ]
    return "; ".join(f"{verdict}: {MEANING[verdict]}" for verdict in occurring)


def tau_lines(table: Table, comparison: Comparison, metrics: Collection[str]) -> list[str]:
    """Return one line per metric over the table, its columns and its rows."""
    scopes = {"table": "the whole table", "column": "columns", "row": "rows"}
    lines: dict[tuple[str, str], list[str]] = {}
    for metric, scope in product(dict.fromkeys(rank.metric for rank in comparison.ranks), scopes):
        reduced = comparison.reduced and table.metrics[metric].kind == "trained"
        lines[metric, scope] = [
            ": ".join(filter(None, [short_label(table, rank.label), tau_text(rank, reduced)]))
            for rank in comparison.ranks
            if (rank.metric, rank.scope) == (metric, scope) and metric in metrics
        ]
    return [
        f"Kendall's tau-b (95 % interval) of {metric_label(table, metric)}, {scopes[scope]}: "
        + "; ".join(texts)
        for (metric, scope), texts in lines.items()
        if texts
    ]


def split_label(label: str) -> tuple[str, str]:
    """Split ``CIFAR-10 / DGL`` into the group ``CIFAR-10`` and the row's own ``DGL``."""
    group, _, own = label.rpartition(" / ")
    return group, own


def short_label(table: Table, label: str) -> str:
    """Return a row's own part of its label, if no other row has the same."""
    own = split_label(label)[1]
    return own if sum(split_label(row.label)[1] == own for row in table.rows) == 1 else label


def details(entries: Iterable[Entry]) -> list[str]:
    """Return why numbers are missing or few, places with the same reason together."""
    places: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        if entry.detail:
            reason = f"blocked, {entry.detail}" if entry.verdict == "blocked" else entry.detail
            places[reason].append(f"{entry.row}, {entry.column}")
    return [f"{reason} ({some(list(dict.fromkeys(where)))})" for reason, where in places.items()]


def table_notes(table: Table) -> list[str]:
    """Return the table's notes, those of its rows and columns, and those on predictions."""
    axes = [f"{axis.label}: {axis.note}" for axis in [*table.rows, *table.columns] if axis.note]
    return [*table.notes, *axes, *_deviations(table)]


def _deviations(table: Table) -> Iterator[str]:
    """Yield where predicted memory differs from a CUDA device's, by how much and why."""
    found = {
        (cell.row, cell.column): deviation_of(cell.recipe)
        for cell in table.cells
        if cell.recipe and any(table.metrics[each].kind == "predicted" for each in cell.published)
    }
    of_rows: dict[str, set[Deviation]] = defaultdict(set)
    for (row, _), deviation in found.items():
        of_rows[row].add(deviation)
    places: dict[Deviation, dict[str, None]] = defaultdict(dict)
    for (row, column), deviation in found.items():
        places[deviation][row if len(of_rows[row]) == 1 else f"{row}, {column}"] = None
    for deviation, where in places.items():
        if deviation.words:
            yield (
                f"On a CUDA device PyTorch's allocator gives out {deviation.words} than predicted: "
                f"{deviation.why} ({some(list(where))})."
            )


def some(places: Sequence[str], most: int = 3) -> str:
    """Return the first places, and how many more there are."""
    rest = len(places) - most
    return "; ".join(places[:most]) + (f"; and {rest} more" if rest > 0 else "")
