"""Reports in LaTeX: ``table`` environments to include with ``\\input``; they need the package booktabs only.

Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tabulate import tabulate

from locbench.printable import printable
from locbench.report.comparison import Comparison
from locbench.report.grid import GridLine, grids
from locbench.report.latex_text import escaped
from locbench.report.numbers import derived_texts, verdict_words
from locbench.report.sentences import heading, reduced_warning, source_lines, tau_lines, what_runs
from locbench.tables import Table


def latex(table: Table, comparisons: Sequence[Comparison]) -> str:
    """Return one ``table`` environment per grid, each with caption and label."""
    blocks = ["% Needs \\usepackage{booktabs}."]
    for number, comparison in enumerate(comparisons, start=1):
        blocks.append(_comment(comparison))
        blocks += _tables(table, comparison, number)
    return "\n\n".join(blocks) + "\n"


def _tables(table: Table, comparison: Comparison, number: int) -> Iterator[str]:
    for grid in grids(table, comparison):
        caption = f"{heading(table)}. {grid.caption}, ours above the paper's."
        label = "-".join(filter(None, [table.id, str(number), grid.metric]))
        below = [*tau_lines(table, comparison), verdict_words(comparison)]
        lines = [_cells(line, len(grid.header)) for line in grid.lines]
        align = ("left", "left", *("right" for _ in grid.header[2:]))
        body = _tabular([escaped(text) for text in grid.header], lines, align)
        yield _environment(_caption(caption, comparison), label, body, below)
    if comparison.derived:
        yield _derived(table, comparison, number)


def _derived(table: Table, comparison: Comparison, number: int) -> str:
    rows = [
        [escaped(text) for text in (value.label, value.row, value.column, *derived_texts(value))]
        for value in comparison.derived
    ]
    header = ["derived", "row", "column", "printed", "from the paper", "from ours"]
    body = _tabular(header, rows, ("left", "left", "left", "right", "right", "right"))
    caption = _caption(f"{heading(table)}. Derived values.", comparison)
    return _environment(caption, f"{table.id}-{number}-derived", body, comparison.notes)


def _caption(text: str, comparison: Comparison) -> str:
    reading = "Ours is mean ± sample standard deviation over (n) seeds."
    warning = f"{what_runs(comparison)}. {reduced_warning(comparison)}".strip()
    return f"{text} {reading} {warning}"


def _environment(caption: str, label: str, body: str, below: Sequence[str]) -> str:
    remarks = [f"\n\\par\\smallskip\\footnotesize {escaped(text.rstrip('.'))}." for text in below]
    name = re.sub(r"[^A-Za-z0-9-]+", "-", label)
    return (
        f"\\begin{{table}}[tbp]\n\\centering\n\\caption{{{escaped(caption)}}}\n\\label{{tab:{name}}}\n\\small\n"
        f"{body}{''.join(remarks)}\n\\end{{table}}"
    )


def _tabular(header: Sequence[str], rows: Sequence[Sequence[str]], align: Sequence[str]) -> str:
    # tabulate's booktabs format escapes what is escaped here already, so its raw format gets booktabs' rules.
    text = tabulate(rows, headers=header, tablefmt="latex_raw", disable_numparse=True, colalign=align)
    for rule in ("\\toprule", "\\midrule", "\\bottomrule"):
        text = text.replace("\\hline", rule, 1)
    return re.sub(r"(?m)^(\s*\\multicolumn.*?)(?:\s*(?<!\\)&)+\s*\\\\$", r"\1 \\\\", text)


def _cells(line: GridLine, width: int) -> list[str]:
    cells = [escaped(text) for text in line.cells]
    return [f"\\multicolumn{{{width}}}{{l}}{{\\textbf{{{cells[0]}}}}}", *cells[1:]] if line.kind == "group" else cells


def _comment(comparison: Comparison) -> str:
    lines = [what_runs(comparison), *(f"{name}: {value}" for name, value in source_lines(comparison))]
    return "\n".join(f"% {printable(' '.join(line.split()))}" for line in lines)
