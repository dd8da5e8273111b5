"""The page that says what of all tables and figures is reproduced, in Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from locbench.files import listed, write_atomically
from locbench.report.compare import unmeasured
from locbench.report.formatting import DAGGER, NOTHING
from locbench.report.markdown import escaped
from locbench.report.model import TableComparisons
from locbench.report.scoreboard import EXTENTS, RankScore, TableScore, table_score, total_score
from locbench.report.text import paper_name
from locbench.results.record import Record
from locbench.spec.choices import Preset
from locbench.spec.figures import load_figures
from locbench.spec.presets import same_task_key, with_preset
from locbench.spec.recipe import Recipe
from locbench.spec.selection import trains
from locbench.spec.tables import Table

MARK = "<!-- made by locbench report -->"
"""First line of a page of ours; a README.md without it is somebody's own and stays."""

PRESETS: tuple[Preset, ...] = ("paper", "short", "quick", "smoke")


def write_overview(
    found: Sequence[TableComparisons], records: Sequence[Record], out: Path
) -> Path | None:
    """Write ``<out>/README.md``, unless there is one that somebody wrote.

    Args:
        found: all tables with their comparisons.
        records: all records there are.
        out: the folder of the reports.

    Returns:
        The file; None where there is another one.

    Raises:
        FailureError: it cannot be written.
    """
    path = out / "README.md"
    if path.is_file() and not path.read_bytes().startswith(MARK.encode()):
        return None
    write_atomically(path, overview(found, records, out).encode())
    return path


def overview(found: Sequence[TableComparisons], records: Sequence[Record], out: Path) -> str:
    """Return the page; see `write_overview`."""
    scores = sorted(
        (table_score(table, comparisons or [unmeasured(table)]) for table, comparisons in found),
        key=lambda score: _order_of(score.table),
    )
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    ).get_template("overview.md")
    return template.render(
        mark=MARK,
        summary=_summary(scores),
        tables=list(_tables(scores, out)),
        extents=EXTENTS,
        figures=list(_figures(out)),
        commands=list(_commands([score.table for score in scores], records)),
        pages=[folder.name for folder in listed(out) if (folder / "README.md").is_file()],
    )


def _order_of(table: Table) -> tuple[str, int, str]:
    number = table.number.rpartition(" ")[2]
    return table.paper_name, int(number) if number.isdigit() else 0, table.id


def _summary(scores: Sequence[TableScore]) -> str:
    total = total_score(scores)
    full, reduced = total.extents["full"], total.extents["reduced"]
    computed = total.extents["counted"] + total.extents["predicted"]
    return (
        f"Of {total.numbers} numbers in {len(scores)} tables, {full} are "
        f"trained on the published schedule, {reduced} on a reduced one, and {computed} are "
        f"computed; {total.exact_equal} of {total.exact} counted ones equal the paper's."
    )


def _tables(scores: Sequence[TableScore], out: Path) -> Iterator[str]:
    names = ("paper", "table", "numbers", "full", "reduced", "computed", "exact equal")
    yield f"| {' | '.join((*names, 'order of cells', 'claims'))} |"
    yield "|---|---|--:|--:|--:|--:|--:|---|---|"
    for score in scores:
        table = score.table
        name = f"[{table.id}]({table.id}.md)" if (out / f"{table.id}.md").is_file() else table.id
        cells = [f"{escaped(paper_name(table))}, {table.number}", name, str(score.numbers)]
        yield f"| {' | '.join([*cells, *_counts(score)])} |"


def _counts(score: TableScore) -> list[str]:
    known = score.extents
    return [
        _some(known["full"]),
        _some(known["reduced"], DAGGER),
        _some(known["counted"] + known["predicted"]),
        f"{score.exact_equal} of {score.exact}" if score.exact else "",
        "; ".join(_order(each) for each in score.ranks if each.rank.tau is not None),
        ", ".join(f"{count} {verdict}" for verdict, count in score.claims.items()),
    ]


def _some(count: int, mark: str = "") -> str:
    return f"{count}{mark}" if count else ""


def _order(score: RankScore) -> str:
    rank = score.rank
    between = (
        f" ({_signed(rank.low)} to {_signed(rank.high)})"
        if rank.low is not None and rank.high is not None
        else ""
    )
    mark = DAGGER if score.reduced else ""
    return (
        f"{score.metric}{mark}: {score.alike} of {score.pairs} pairs as in the paper, "
        f"tau {_signed(rank.tau or 0.0)}{between}"
    )


def _signed(number: float) -> str:
    return f"{round(number, 2) + 0.0:.2f}"  # no minus zero


def _figures(out: Path) -> Iterator[str]:
    drawn = {path.stem: path.name for path in listed(out / "figures") if path.suffix == ".png"}
    yield "| figure | shows | drawn |"
    yield "|---|---|---|"
    for figure in load_figures([]):
        there = drawn.get(figure.id)
        link = f"[{there}](figures/{there})" if there else NOTHING
        yield f"| {figure.id} | {escaped(figure.title)} | {link} |"


def _commands(tables: Sequence[Table], records: Sequence[Record]) -> Iterator[str]:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    seen: set[str] = set()
    for table in tables:
        cells: dict[str, list[Recipe]] = defaultdict(list)
        for cell in table.cells:
            if cell.recipe is not None and trains(table, cell):
                cells[same_task_key(cell.recipe)].append(cell.recipe)
        for record in records:
            published = cells.get(same_task_key(record.recipe))
            if published and record.status == "done":
                seen.add(record.key)
                counts[table.id][_preset_of(record.recipe, published[0])] += 1
    for table_id, by_preset in counts.items():
        for preset, count in by_preset.items():
            option = "" if preset == "paper" else f" --preset {preset}"
            command = (
                f"`locbench table {table_id}{option}`" if preset else f"{table_id}, by options"
            )
            yield f"* {command}: {count} run{'' if count == 1 else 's'}"
    apart = len({record.key for record in records} - seen)
    if apart:
        yield f"* {apart} runs of no table: `locbench list --runs`"
    if not counts and not apart:
        yield "Nothing was trained."


def _preset_of(recipe: Recipe, published: Recipe) -> str:
    """Return the preset whose schedule a run has, or nothing."""
    names = ("epochs", "batch_size", "lr", "train_limit", "network")
    for preset in PRESETS:
        expected = with_preset(published, preset, None)
        if all(getattr(recipe, name) == getattr(expected, name) for name in names):
            return preset
    return ""
