"""A table's report as blocks: values, claims, derived and calibrated numbers, sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from locbench.costs.calibration import Residuals, residuals
from locbench.report.claim_blocks import claim_blocks
from locbench.report.document import Block, Bullets, Cell, Grid, Heading, Paragraph, Row, Tone
from locbench.report.formatting import derived_texts, verdict_words
from locbench.report.measured import measured_blocks
from locbench.report.model import Comparison, DerivedValue
from locbench.report.provenance import source_lines
from locbench.report.text import (
    HOW_TO_READ,
    REDUCED_WARNING,
    details,
    heading,
    legend,
    origin,
    short_label,
    some,
    split_label,
    table_notes,
    what_runs,
    with_unit,
)
from locbench.report.value_grids import under_groups, value_grids
from locbench.spec.tables import Table


def report_blocks(table: Table, comparisons: Sequence[Comparison]) -> list[Block]:
    """Return a table's report: a section per comparison, then measured costs and notes."""
    blocks: list[Block] = [*title_blocks(table), Paragraph(HOW_TO_READ, "quiet")]
    for number, comparison in enumerate(comparisons, start=1):
        blocks += comparison_blocks(table, comparison, number)
    return [*blocks, *closing_blocks(table, comparisons)]


def closing_blocks(table: Table, comparisons: Sequence[Comparison]) -> Iterator[Block]:
    """Yield what belongs to the table as a whole: costs measured on devices, and notes."""
    yield from measured_blocks(table, comparisons[0].measured if comparisons else ())
    if notes := table_notes(table):
        yield from (Heading(2, "Notes"), Bullets(tuple(notes)))


def title_blocks(table: Table) -> list[Block]:
    """Return which table it is and where it is printed."""
    return [Heading(1, heading(table)), Paragraph(origin(table), "quiet")]


def comparison_blocks(
    table: Table, comparison: Comparison, number: int = 1, *, legends: bool = True
) -> Iterator[Block]:
    """Yield the section of one comparison, the ``number``-th of its table.

    Args:
        table: the table.
        comparison: one of it.
        number: of the comparison, from 1.
        legends: whether the meaning of verdicts on numbers is among them.
    """
    tone: Tone = "reduced" if comparison.reduced else "plain"
    yield Heading(2, what_runs(comparison), tone)
    if comparison.reduced:
        yield Paragraph(REDUCED_WARNING, tone)
    label = f"{table.id}-{number}"
    grids = value_grids(table, comparison, label)
    yield from grids
    counts = [verdict_words(comparison)] if len(grids) != 1 else []
    if counts or details(comparison.entries):
        yield Bullets((*counts, *details(comparison.entries)))
    if legends:
        yield Paragraph(f"Verdicts. {legend(comparison)}.", "quiet")
    yield from claim_blocks(table, comparison, label)
    yield from _derived(table, comparison, label)
    yield from _calibrated(table, comparison, label)
    if sources := source_lines(comparison.sources):
        yield Paragraph("Where these numbers come from:", "quiet")
        yield Bullets(tuple(sources), "quiet")


def _derived(table: Table, comparison: Comparison, label: str) -> Iterator[Block]:
    kinds = dict.fromkeys((value.label, value.unit) for value in comparison.derived)
    for index, (name, unit) in enumerate(kinds):
        values = [
            value for value in comparison.derived if (value.label, value.unit) == (name, unit)
        ]
        common, rows = under_groups(
            [(split_label(value.row)[0], [_derived_row(table, value)]) for value in values]
        )
        yield Grid(
            title=heading(table),
            caption=f"Derived: {with_unit(name, unit)}",
            label=f"{label}-derived" + (f"-{index + 1}" if index else ""),
            header=(common, "against", "column", "printed", "from the paper's", "from ours"),
            align="lllrrr",
            rows=rows,
            runs=what_runs(comparison) if any(value.reduced for value in values) else "",
            remarks=comparison.notes if index == 0 else (),
        )


def _derived_row(table: Table, value: DerivedValue) -> Row:
    (group, name), (other_group, other) = split_label(value.row), split_label(value.reference)
    reference = other if other_group == group else short_label(table, value.reference)
    return Row(tuple(map(Cell, (name, reference, value.column, *derived_texts(value)))))


def _calibrated(table: Table, comparison: Comparison, label: str) -> Iterator[Block]:
    """Yield a table's calibrated memory: hundredths of a GB, or whole MiB."""
    values = comparison.calibrated
    if table.calibration is None or not values:
        return
    unit = values[0].unit
    digits = 2 if unit == "GB" else 0
    parts = []
    for value in values:
        group, name = split_label(value.row)
        numbers = value.published, value.predicted, value.calibrated
        texts = (
            name,
            value.column,
            *(f"{number:.{digits}f}" for number in numbers),
            f"{value.residual:+.{digits}f}, {value.residual / value.published:+.1%}",
            "does not fit" if value.role == "unfit" else value.role,
        )
        parts.append((group, [Row(tuple(map(Cell, texts)))]))
    common, rows = under_groups(parts)
    remarks = [table.calibration.how]
    remarks += [_residual_line(each) for each in residuals(values) if each.role != "unfit"]
    for why in dict.fromkeys(value.why for value in values if value.why):
        places = [f"{value.row}, {value.column}" for value in values if value.why == why]
        remarks.append(f"Does not fit: {why} ({some(places)}).")
    yield Grid(
        title=heading(table),
        caption=f"GPU memory with a calibration beyond tensors ({unit})",
        label=f"{label}-calibrated",
        header=(common, "column", "paper", "predicted", "predicted + calibration", "residual", ""),
        align="llrrrrl",
        rows=rows,
        remarks=tuple(remarks),
    )


def _residual_line(found: Residuals) -> str:
    digits = 3 if found.unit == "GB" else 0
    mean, worst, mean_before, worst_before = (
        f"{distance:.{digits}f}"
        for distance in (found.mean, found.worst, found.mean_before, found.worst_before)
    )
    return (
        f"{found.n} number{'s' if found.n != 1 else ''} {found.role}: off by {mean} {found.unit} "
        f"on average and {worst} at most, without calibration by {mean_before} and {worst_before}; "
        f"{found.within} of {found.n} within 1 % of what is printed."
    )
