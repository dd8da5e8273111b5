"""Published tables as data: axes, cells and printed numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from locbench.errors import LocbenchError, UsageError
from locbench.spec.recipe import Recipe
from locbench.spec.validation import make_recipe

_SOME = msgspec.Meta(min_length=1)


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A quantity that a table prints.

    Attributes:
        unit: as printed, for example ``%``, ``M``, ``GB``; empty for text.
        kind: ``trained`` numbers carry noise, ``exact`` ones must agree after rounding,
            ``predicted`` ones are costs computed without a device, ``measured`` ones are costs that
            only a device tells, ``text`` is an architecture string.
        better: which direction is better, for ranks.
    """

    unit: str
    kind: Literal["trained", "exact", "predicted", "measured", "text"] = "trained"
    better: Literal["higher", "lower", "none"] = "higher"


KnownPaper: TypeAlias = Literal["auglocal", "hpff", "pgl", "swin"]


class Paper(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A paper that a table describes in its own file.

    Attributes:
        name: a short one, for headings and lists.
        link: to where it can be read.
    """

    name: str
    authors: str = ""
    venue: str = ""
    year: Annotated[int, msgspec.Meta(ge=1000, le=9999)] | None = None
    link: str = ""


class Axis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row or a column: its printed label and what it says of the recipes along it.

    Attributes:
        at: what else it says where it meets a row or column of that label; ranks above everything.
        alone: the row's recipe takes nothing from the columns (a row whose one value the paper
            prints once).
        blocked: why the cells along it cannot be run yet; empty if they can.
        note: what a reader should know of this row or column.
        own: the paper has no such row or column: nothing is published of it.
    """

    label: str
    recipe: dict[str, Any] = {}
    at: dict[str, dict[str, Any]] = {}
    alone: bool = False
    blocked: str = ""
    note: str = ""
    own: bool = False


class Derived(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values that the paper prints but that follow from others, such as HPFF's arrows.

    Attributes:
        label: what the derived value is called.
        metric: the metric it is derived from.
        formula: ``difference`` is reference - value, ``reduction`` is 100 * (1 - value / reference)
            in percent.
        against: for each row label, the row label of its reference.
        printed: for each row label, the printed values by column, as strings; an empty one is not
            printed.
    """

    label: str
    metric: str
    unit: str
    formula: Literal["difference", "reduction"]
    against: dict[str, str]
    printed: dict[str, list[str]]


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sentence of the paper about the numbers of its table.

    Attributes:
        text: the claim in a few words.
        section: where the paper makes it.
        metric: whose numbers are compared; of several, each by itself.
        expect: one or more orders of cells, see the grammar of `locbench.spec.claims`.
        mean: compare means over the other axis, not the numbers at each of its places.
        only: parts of labels; if given, the order is looked at where one of them is.
        note: what a reader should know, such as that the paper's own numbers say otherwise.
    """

    text: str
    section: str
    metric: str | list[str]
    expect: str | list[str]
    mean: bool = False
    only: list[str] = []
    note: str = ""

    @property
    def metrics(self) -> list[str]:
        """The metrics as a list."""
        return [self.metric] if isinstance(self.metric, str) else self.metric

    @property
    def orders(self) -> list[str]:
        """The expected orders as a list."""
        return [self.expect] if isinstance(self.expect, str) else self.expect


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A note that says why computed values of some metrics are not the paper's.

    Attributes:
        text: one sentence or two.
        of: these metrics.
    """

    text: str
    of: list[str]


class Published(msgspec.Struct, frozen=True):
    """A number as the paper prints it: value, spread if any, and printed decimals."""

    text: str
    value: float | None
    std: float | None
    decimals: int


class Cell(msgspec.Struct, frozen=True):
    """One place of a table: a recipe, and what the paper prints there by metric.

    Attributes:
        metrics: what is shown there, whether printed or not.
        own: nothing is published of its row, its column or its table.
    """

    row: str
    column: str
    recipe: Recipe | None
    published: dict[str, Published]
    blocked: str = ""
    metrics: tuple[str, ...] = ()
    own: bool = False


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A published table or figure, or one of one's own.

    Attributes:
        id, paper, number, title, source: what it is and where it is printed. A table of which
            nothing is published needs neither paper nor number nor source.
        trials: number of runs behind a published number.
        noted: contradictions and choices, one sentence or two each; the key is ``notes``.
        recipe: settings that all cells share; rows and then columns add to them.
        published: for each metric, for each row label, the printed strings by column; an empty one
            is not printed.
        computed: every cell of the grid exists, also where nothing legible is printed.
        calibration: what the published memory holds beyond tensors, if that was looked into.
        claims: what the paper says of the numbers, see `locbench.spec.claims`.
        extends: id of the table whose cells are among its own, see `locbench.spec.extensions`.
        own_places: the metrics at places of one's own, by (row, column), where the rest of the
            table does not tell since a part of it was left out.
    """

    id: str
    title: str
    rows: Annotated[list[Axis], _SOME]
    columns: Annotated[list[Axis], _SOME]
    metrics: Annotated[dict[str, Metric], _SOME]
    published: dict[str, dict[str, list[str]]] = {}
    paper: KnownPaper | Paper | None = None
    number: str = ""
    source: str = ""
    trials: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    noted: list[str | Note] = msgspec.field(default_factory=list, name="notes")
    recipe: dict[str, Any] = {}
    derived: list[Derived] = []
    computed: bool = False
    calibration: Calibration | None = None
    claims: list[Claim] = []
    extends: str = ""
    own_places: dict[tuple[str, str], tuple[str, ...]] = {}

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, row by row; a place where the paper prints nothing is no cell."""
        return tuple(self._cells())

    @property
    def notes(self) -> list[str]:
        """The texts of its notes."""
        return [note if isinstance(note, str) else note.text for note in self.noted]

    def notes_of(self, metric: str) -> list[str]:
        """Return why computed values of a metric are not the paper's."""
        return [note.text for note in self.noted if isinstance(note, Note) and metric in note.of]

    @property
    def values(self) -> int:
        """How many numbers the paper prints in it."""
        return sum(len(cell.published) for cell in self.cells)

    @property
    def caption(self) -> str:
        """Its number in the paper, if it has one, and its title."""
        return ": ".join(filter(None, (self.number, self.title)))

    @property
    def marks_own(self) -> bool:
        """Whether places of one's own stand beside published ones."""
        return not self.unpublished and any(axis.own for axis in (*self.rows, *self.columns))

    @property
    def unpublished(self) -> bool:
        """Whether it is one's own as a whole; a figure that is not legible is published."""
        return not (self.published or self.computed)

    @property
    def paper_name(self) -> str:
        """The paper in one word or a few: a known one's key, or ``own`` without a paper."""
        return self.paper.name if isinstance(self.paper, Paper) else self.paper or "own"

    def _cells(self) -> Iterator[Cell]:
        for row in self.rows:
            for index, column in enumerate(self.columns):
                try:
                    metrics = self._shown(row, index)
                    cell = self._cell(row, column, index, metrics) if metrics else None
                except (LocbenchError, ValueError, TypeError, OverflowError) as error:
                    raise UsageError(
                        f"row {row.label!r}, column {column.label!r}: {error}"
                    ) from None
                if cell is not None:
                    yield cell

    def _published(self, row: str, column: int) -> dict[str, Published]:
        texts = {
            metric: rows[row][column] for metric, rows in self.published.items() if row in rows
        }
        return {
            metric: parse_published(text, self.metrics[metric].kind)
            for metric, text in texts.items()
            if text
        }

    def _shown(self, row: Axis, column: int) -> tuple[str, ...]:
        """Return the metrics of a place: those that are printed there.

        At a place of one's own these are the metrics that the paper prints along the other axis, or
        all of them where there is none of the paper's.
        """
        own = self._is_own(row, self.columns[column])
        place = row.label, self.columns[column].label
        if own and place in self.own_places:
            return self.own_places[place]
        if own and row.alone and column:
            return ()
        if self.computed or self.unpublished:
            return tuple(self.metrics)
        rows = [row.label] if not row.own else [each.label for each in self.rows if not each.own]
        places = range(len(self.columns)) if self.columns[column].own else (column,)
        return tuple(
            metric
            for metric in self.metrics
            if any(
                texts[place]
                for texts in map(self.published.get(metric, {}).get, rows)
                if texts is not None
                for place in places
            )
        )

    def _is_own(self, row: Axis, column: Axis) -> bool:
        return self.unpublished or row.own or column.own

    def _cell(self, row: Axis, column: Axis, index: int, metrics: tuple[str, ...]) -> Cell:
        blocked = row.blocked or column.blocked
        return Cell(
            row=row.label,
            column=column.label,
            recipe=None if blocked else make_recipe(self._settings(row, column)),
            published=self._published(row.label, index),
            blocked=blocked,
            metrics=metrics,
            own=self._is_own(row, column),
        )

    def settings(self, cell: Cell) -> dict[str, Any]:
        """Return the flat settings behind a cell's recipe, before presets change them."""
        row = next(line for line in self.rows if line.label == cell.row)
        column = next(line for line in self.columns if line.label == cell.column)
        return self._settings(row, column)

    def _settings(self, row: Axis, column: Axis) -> dict[str, Any]:
        along = {} if row.alone else merge(column.recipe, column.at.get(row.label, {}))
        return merge(self.recipe, row.recipe, along, row.at.get(column.label, {}))


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge settings, later layers first in rank; ``options`` merge key by key."""
    merged: dict[str, Any] = {}
    for layer in layers:
        options = {**merged.get("options", {}), **layer.get("options", {})}
        merged |= layer
        if options:
            merged["options"] = options
    return merged


_NUMBER = re.compile(
    r"^\s*(?P<value>-?\d+(?:\.(?P<decimals>\d+))?)\s*(?:(?:±|\+-)\s*(?P<std>\d+(?:\.\d+)?))?\s*$"
)


def parse_published(text: str, kind: str) -> Published:
    """Read ``93.73 ± 0.04`` into value, spread and number of decimals; ``text`` cells stay text.

    Raises:
        ValueError: the text is no number.
    """
    if kind == "text":
        return Published(text=text, value=None, std=None, decimals=0)
    match = _NUMBER.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a number such as '93.73' or '93.73 ± 0.04'")
    std = match["std"]
    decimals = len(match["decimals"] or "")
    return Published(
        text=text,
        value=float(match["value"]),
        std=None if std is None else float(std),
        decimals=decimals,
    )


class Term(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One constant of a calibration.

    Attributes:
        gigabytes: what is added.
        fitted: the (row, column) places that it was fitted on: the mean of what they print beyond
            the base.
        shape: what it is added to: the live bytes after the first backward pass of this shape of
            convolution, as `costs.memory.tracker` names it, or with an empty one the predicted
            peak.
    """

    gigabytes: Annotated[float, msgspec.Meta(ge=0, lt=1000)]
    fitted: list[tuple[str, str]] = []
    shape: str = ""

    def base(self, peak: int, backwards: Mapping[str, int]) -> int | None:
        """Return what it is added to in a step; None where no convolution has the shape.

        Args:
            peak: of the step, in bytes.
            backwards: live bytes after the first backward pass of each shape of convolution.
        """
        return backwards.get(self.shape) if self.shape else peak


class Unfit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A place that a calibration is known not to fit, and why."""

    row: str
    column: str
    why: str


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a paper's memory seems to hold beyond tensors; never part of a prediction.

    Attributes:
        how: the reasoning, and how well it does.
        terms: the calibrated value is the largest of the predicted peak and of each term's base and
            gigabytes.
        legacy: instead of constants: the prediction as training was measured in 2022, with softmax
            keeping its input (torch up to 1.10) and one more copy of all parameters
            (DistributedDataParallel's buckets). Nothing is fitted.
        of: id of the paper's other table whose terms apply; empty if they are here.
        unfit: places that are neither fitted on nor counted as a test.
    """

    how: str
    terms: list[Term] = []
    legacy: bool = False
    of: str = ""
    unfit: list[Unfit] = []

    @property
    def unfit_places(self) -> dict[tuple[str, str], str]:
        """Why it does not fit, by (row, column)."""
        return {(each.row, each.column): each.why for each in self.unfit}
