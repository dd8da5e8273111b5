"""What the command line does, for scripts and notebooks.

Numbers come as pandas data frames. Nothing is printed, no signal handler is set and no event loop
is needed. What the command line says beside its results goes to the logger ``locbench``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from locbench.commands.report import comparisons_of, read_records
from locbench.console import remarks_to
from locbench.costs.measured.store import MeasurementStore
from locbench.costs.memory.store import PredictionStore
from locbench.costs.table_rows import CostRow, recipe_row, row_entry, table_rows
from locbench.datasets.catalogue import default_root
from locbench.execution.config import ExecutionConfig, execution_config, with_device
from locbench.execution.events import Event, JobDone, JobStarted
from locbench.execution.identity import Contents
from locbench.execution.job import Job, state_of
from locbench.execution.plan import make_plan
from locbench.plugins import load_plugins
from locbench.report.machine_formats import COLUMNS, tidy_rows
from locbench.report.model import Comparison
from locbench.report.render import render_all
from locbench.results.named import named_record
from locbench.results.record import Record
from locbench.results.store import Store
from locbench.spec.arguments import recipes_from
from locbench.spec.choices import AnalysisKind, Preset
from locbench.spec.recipe import Recipe
from locbench.spec.selection import RunOptions
from locbench.spec.table_files import load_table, load_tables
from locbench.spec.tables import Table
from locbench.training.events import EpochDone, RunStarted

Folder: TypeAlias = str | Path

RESULTS = "results"


@dataclass(frozen=True)
class Progress:
    """How far a training is, told when a run begins, after each epoch and at its end.

    Attributes:
        recipe: what is trained.
        number, runs: which run it is, from 1, of how many.
        epoch, epochs: how many epochs of it are over, of how many.
        metrics: of the last epoch, see `Record.history`; empty before the first.
        record: the record once it is written; None before.
    """

    recipe: Recipe
    number: int
    runs: int
    epoch: int = 0
    epochs: int = 0
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    record: Record | None = None


class Compared:
    """A table beside our records, one comparison for each way in which runs are reduced.

    Args:
        table: the published table.
        comparisons: full runs first.
    """

    def __init__(self, table: Table, comparisons: Sequence[Comparison]) -> None:
        self.table, self.comparisons = table, tuple(comparisons)

    def to_pandas(self) -> pd.DataFrame:
        """Return one line per published number, with the columns of the CSV report."""
        return pd.DataFrame(tidy_rows(self.table, self.comparisons), columns=list(COLUMNS))

    def to_markdown(self) -> str:
        """Return the report in Markdown."""
        return render_all([(self.table, list(self.comparisons))], "md")

    def to_latex(self) -> str:
        """Return the report in LaTeX."""
        return render_all([(self.table, list(self.comparisons))], "tex")

    def _repr_html_(self) -> str:
        columns = ["row", "column", "metric", "measured", "published", "verdict", "how"]
        return str(self.to_pandas()[columns].to_html(index=False))


def published(*tables: str | Table) -> pd.DataFrame:
    """Return the published numbers, one line per number.

    Args:
        tables: tables or their ids; none means all.

    Returns:
        ``table``, ``paper``, ``number``, ``row``, ``column``, ``metric``, ``unit``, ``value`` (not
        a number for texts), ``std``, ``text`` as printed, and ``key`` of the published recipe.

    Raises:
        LocbenchError: there is no such table.
    """
    found = [_table(each) for each in tables] or load_tables()
    rows = [
        {
            "table": table.id,
            "paper": table.paper,
            "number": table.number,
            "row": cell.row,
            "column": cell.column,
            "metric": metric,
            "unit": table.metrics[metric].unit,
            "value": printed.value,
            "std": printed.std,
            "text": printed.text,
            "key": cell.recipe.key if cell.recipe else None,
        }
        for table in found
        for cell in table.cells
        for metric, printed in cell.published.items()
    ]
    return pd.DataFrame(rows)


def recipe(network: str, method: str, dataset: str = "digits", **settings: Any) -> Recipe:
    """Return a recipe as ``locbench run`` makes it.

    Args:
        network: for example ``resnet32`` or ``timm:resnet18``.
        method: for example ``auglocal`` or ``hpff+dgl``.
        dataset: a data set of ``locbench data``.
        settings: ``modules`` (K), ``options`` (of the method, a mapping), ``epochs``,
            ``batch_size``, ``lr``, ``train_limit``, ``seed`` and any other field of `Recipe`; what
            is left out is the published value for the data set.

    Raises:
        UsageError: a setting is unknown or does not fit.
    """
    given = {"network": network, "method": method, "dataset": dataset, **settings}
    return recipes_from(given, 1, default_root())[0]


def run(
    what: Recipe | Sequence[Recipe] | Table | str,
    *,
    results: Folder = RESULTS,
    data: Folder | None = None,
    device: str = "auto",
    engine: str = "auto",
    progress: Callable[[Progress], None] | None = None,
    preset: Preset = "paper",
    rerun: bool = False,
    keep_weights: bool = False,
    **options: Any,
) -> pd.DataFrame:
    """Train what is missing, one record per run, and return the records.

    Args:
        what: a recipe, several, or a table or its id.
        results: folder of the records; what is recorded there is not trained again.
        data: folder of the data sets; default ``$LOCBENCH_DATA`` or ``.data``.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``auto``.
        engine: see ``locbench table --help``.
        progress: called when a run begins, after each epoch and at its end. What it raises ends the
            training; whole epochs are kept.
        preset: of a table's runs.
        rerun: train what is recorded again.
        keep_weights: keep final weights; recorded runs without them are trained again.
        options: of a table's runs: ``rows``, ``columns``, ``dataset``, ``seeds``, ``epochs``,
            ``limit``, ``precision``, ``memory``; see `RunOptions`.

    Returns:
        See `records`.

    Raises:
        LocbenchError: something does not fit or is missing, or a record cannot be written. A run
            that fails by itself is recorded so, and the others go on.
    """
    root = Path(data) if data is not None else default_root()
    config = execution_config(Path(results), root, device, engine=engine)
    with _quietly():
        store = Store(config.results)
        again = "all" if rerun else None
        if isinstance(what, str | Table):
            asked = RunOptions(preset=preset, keep_weights=keep_weights, **_tuples(options))
            asked = with_device(asked, config.devices[0])
            jobs = make_plan(_table(what), asked, store, root, again).jobs
        else:
            _refuse_options(options, preset)
            recipes = [what] if isinstance(what, Recipe) else list(what)
            contents = Contents(root)
            jobs = tuple(
                Job(each, (), state, keeps_weights=keep_weights)
                for each in map(contents.with_content, recipes)
                for state in [state_of(each.key, store, again, needs_weights=keep_weights)]
            )
        _train([job for job in jobs if job.open], config, progress)
        found = (Store(config.results).find(job.recipe.key) for job in jobs)
        return _frame(record for record in found if record is not None)


def records(*results: Folder) -> pd.DataFrame:
    """Return the records of results folders, one line per run.

    Args:
        results: folders; none means ``results``. Of runs that several have, the first counts.

    Returns:
        ``key``, ``status``, ``network``, ``modules``, ``method``, ``dataset``, ``epochs``,
        ``batch_size``, ``lr``, ``seed``, ``train_images``, every metric, ``params_primary``,
        ``params_auxiliary``, ``seconds``, ``device``, ``engine``, ``started``, ``commit``,
        ``error`` and ``name``.

    Raises:
        FailureError: a folder cannot be read.
    """
    return _frame(_read(results).values())


def histories(*results: Folder) -> pd.DataFrame:
    """Return the epochs of all records, one line per epoch, with the ``key`` of the record."""
    rows = [
        {"key": record.key, "method": record.recipe.method, "seed": record.recipe.seed, **row}
        for record in _read(results).values()
        for row in record.history
    ]
    return pd.DataFrame(rows)


def compare(table: Table | str, results: Folder = RESULTS) -> Compared:
    """Return a table beside the records, predicted and measured costs of a results folder.

    Raises:
        LocbenchError: there is no such table, or the folder cannot be read.
    """
    folder, shown = Path(results), _table(table)
    with _quietly():
        found = comparisons_of(
            shown, read_records(folder), PredictionStore(folder), MeasurementStore(folder)
        )
    return Compared(shown, found)


def predict_costs(what: Recipe | Table | str, results: Folder = RESULTS) -> pd.DataFrame:
    """Return parameters, operations and predicted peak memory, without a GPU.

    Args:
        what: a recipe, or a table or its id.
        results: folder where predictions are kept.

    Returns:
        One line per recipe, with the fields of ``locbench costs --json``; bytes and counts.

    Raises:
        LocbenchError: there is no such table, or a step cannot be predicted.
    """
    with _quietly():
        store = PredictionStore(Path(results), trace=True)
        rows: list[CostRow] = (
            [recipe_row(what, store)]
            if isinstance(what, Recipe)
            else list(table_rows(_table(what), store))
        )
        return pd.DataFrame([row_entry(row) for row in rows])


def analyse(
    kind: AnalysisKind,
    *names: str,
    results: Folder = RESULTS,
    data: Folder | None = None,
    images: int = 2000,
    seed: int = 0,
    target: int = 0,
) -> pd.DataFrame:
    """Return an analysis of recorded runs with kept weights; see ``locbench analyse --help``.

    Args:
        kind: ``cka`` (against the first record), ``probe``, ``tsne``, ``features`` or ``curves``.
        names: records by file, key or a part of their names.
        results: folder of the records.
        data: folder of the data sets.
        images: how many test images at most.
        seed: of a probe's halves and of t-SNE.
        target: the class that t-SNE tells from the others.

    Raises:
        LocbenchError: there is no such record, its weights were not kept, or it does not fit.
    """
    from locbench.analysis.analyses import Settings
    from locbench.analysis.analyses import analyse as analysed
    from locbench.analysis.recorded import subjects_of

    root = Path(data) if data is not None else default_root()
    with _quietly():
        store = Store(Path(results))
        subjects = subjects_of(kind, [named_record(name, store) for name in names])
        return analysed(kind, subjects, Settings(root, images, seed, target))


def load_plugin(*files: Folder) -> None:
    """Register what plugin files bring; see ``locbench --plugin``.

    Raises:
        LocbenchError: a file is missing, cannot be imported, or registers a name that is taken.
    """
    load_plugins(map(Path, files))


def _table(what: Table | str) -> Table:
    return what if isinstance(what, Table) else load_table(what)


def _tuples(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with single rows and columns as those alone."""
    patterns = {
        name: (value,) if isinstance(value, str) else tuple(value)
        for name, value in options.items()
        if name in ("rows", "columns")
    }
    return {**options, **patterns}


def _refuse_options(options: Mapping[str, Any], preset: str) -> None:
    given = [*options, *(["preset"] if preset != "paper" else [])]
    if given:
        raise TypeError(f"{', '.join(given)}: for tables alone; a recipe has its own settings")


@contextmanager
def _quietly() -> Iterator[None]:
    with remarks_to(logging.getLogger("locbench").info):
        yield


def _train(
    jobs: Sequence[Job], config: ExecutionConfig, progress: Callable[[Progress], None] | None
) -> None:
    if not jobs:
        return
    from locbench.data.decoding import stop_workers

    try:
        sweep = config.sweep(config.devices[0])
        sweep.prepare(jobs)
        sweep.run(jobs, _Caller(progress))
    finally:
        stop_workers()


class _Caller:
    """Turns events of a sweep into calls of a user's function."""

    def __init__(self, progress: Callable[[Progress], None] | None) -> None:
        self._call = progress
        self._now: Progress | None = None

    def on(self, event: Event, /) -> None:
        """Take note of an event."""
        if self._call is None:
            return
        if isinstance(event, JobStarted):
            self._now = Progress(event.job.recipe, event.number, event.jobs)
            return
        assert self._now is not None
        if isinstance(event, RunStarted):
            changes: dict[str, Any] = {"epochs": event.epochs, "epoch": event.done}
        elif isinstance(event, EpochDone):
            changes = {"epoch": int(event.metrics["epoch"] or 0), "metrics": event.metrics}
        elif isinstance(event, JobDone):
            changes = {"record": event.record}
        else:
            return
        self._now = replace(self._now, **changes)
        self._call(self._now)


def _read(results: Sequence[Folder]) -> dict[str, Record]:
    found: dict[str, Record] = {}
    with _quietly():
        for folder in results or (RESULTS,):
            for record in read_records(Path(folder)):
                found.setdefault(record.key, record)
    return found


def _frame(found: Iterable[Record]) -> pd.DataFrame:
    return pd.DataFrame([_row(record) for record in found])


def _row(record: Record) -> dict[str, Any]:
    recipe, made = record.recipe, record.provenance
    names = ("network", "modules", "method", "dataset", "epochs", "batch_size", "lr", "seed")
    return {
        "key": record.key,
        "status": record.status,
        **{name: getattr(recipe, name) for name in names},
        "train_images": record.data.train if record.data else None,
        **record.metrics,
        "params_primary": record.parameters.get("primary"),
        "params_auxiliary": record.parameters.get("auxiliary"),
        "seconds": made.seconds,
        "device": made.device,
        "engine": made.engine,
        "started": made.started,
        "commit": made.commit,
        "error": record.error,
        "name": recipe.name,
    }
