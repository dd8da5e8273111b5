"""Values that follow from others, from the paper's numbers and from the measured ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from locbench.report.model import DerivedValue, Entry
from locbench.report.verdicts import equal_as_printed
from locbench.spec.tables import Derived, Published, Table, parse_published


def derive(formula: str, value: float | None, reference: float | None) -> float | None:
    """Return ``difference``, reference - value, or ``reduction``, 100 (1 - value / reference).

    The reduction is in percent. None where a number is missing, and for the reduction of a zero.
    """
    if value is None or reference is None:
        return None
    if formula == "difference":
        return reference - value
    return None if reference == 0 else 100 * (1 - value / reference)


def derived_values(table: Table, entries: Sequence[Entry]) -> tuple[DerivedValue, ...]:
    """Return every derived value that is printed or that the measured numbers give."""
    places = {(entry.row, entry.column, entry.metric): entry for entry in entries}
    return tuple(value for derived in table.derived for value in _values(table, derived, places))


def derived_notes(values: Sequence[DerivedValue]) -> list[str]:
    """Return one note for every printed value that the paper's own numbers do not give."""
    return [
        f"{value.label} of {value.row} ({value.column}): the paper prints {value.printed.text}, "
        f"its own numbers give {value.from_published:.{value.printed.decimals}f}."
        for value in values
        if value.agrees is False and value.printed is not None
    ]


def _values(
    table: Table, derived: Derived, places: Mapping[tuple[str, str, str], Entry]
) -> Iterator[DerivedValue]:
    for row, reference in derived.against.items():
        texts = derived.printed.get(row, [""] * len(table.columns))
        for column, text in zip((each.label for each in table.columns), texts, strict=True):
            own = places.get((row, column, derived.metric))
            other = places.get((reference, column, derived.metric))
            value = _value(derived, row, column, _printed(text), own, other)
            if text or value.from_measured is not None:
                yield value


def _value(
    derived: Derived,
    row: str,
    column: str,
    printed: Published | None,
    own: Entry | None,
    other: Entry | None,
) -> DerivedValue:
    from_published = derive(derived.formula, _published(own), _published(other))
    known = printed is not None and printed.value is not None and from_published is not None
    return DerivedValue(
        label=derived.label,
        metric=derived.metric,
        unit=derived.unit,
        row=row,
        reference=derived.against[row],
        column=column,
        printed=printed,
        from_published=from_published,
        from_measured=derive(derived.formula, _measured(own), _measured(other)),
        reduced=any(entry is not None and entry.verdict == "reduced" for entry in (own, other)),
        agrees=equal_as_printed(from_published, printed) if known else None,  # type: ignore[arg-type]
    )


def _printed(text: str) -> Published | None:
    if not text:
        return None
    try:
        return parse_published(text, "exact")
    except ValueError:
        return parse_published(text, "text")


def _published(entry: Entry | None) -> float | None:
    return entry.published.value if entry is not None and entry.published is not None else None


def _measured(entry: Entry | None) -> float | None:
    return entry.measured if entry is not None and isinstance(entry.measured, float) else None
