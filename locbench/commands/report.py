"""From the records of a results folder to reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from msgspec.structs import replace

from locbench.console import print_document, remark
from locbench.costs.calibration import calibrated_values
from locbench.costs.measured.store import MeasurementStore
from locbench.costs.measured.table import measured_costs
from locbench.costs.memory.store import PredictionStore
from locbench.costs.table_values import computed_if_needed
from locbench.errors import FailureError, LocbenchError, UsageError
from locbench.files import listed
from locbench.printable import printable
from locbench.report.compare import compare, only_run
from locbench.report.model import Comparison, TableComparisons
from locbench.report.ranks import FEWEST_ASKED, FEWEST_CELLS
from locbench.report.render import (
    DOCUMENTS,
    render_all,
    render_claims,
    with_published,
    write_claims,
    write_reports,
)
from locbench.results.record import Record
from locbench.results.store import Conflict, Store
from locbench.spec.selection import chosen, narrow
from locbench.spec.table_files import load_table, load_tables
from locbench.spec.tables import Table

_FIRST = "Run a table first: locbench table pgl-period --preset smoke."

ENDINGS = {"markdown": "md", "latex": "tex", "csv": "csv", "json": "json"}


@dataclass(frozen=True)
class Selection:
    """Which rows and columns of the tables are shown, and whether only what was run."""

    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    only_run: bool = False


def report_tables(
    table_ids: Sequence[str],
    formats: Sequence[str],
    out: Path | None,
    folders: Sequence[Path],
    selection: Selection = Selection(),
    *,
    rank_few: bool = False,
    claims: bool = False,
) -> None:
    """Print or write the reports of tables, or their claims on one page.

    Without ids, of all that have records.
    """
    found = compared(
        table_ids,
        folders,
        selection,
        fewest=FEWEST_ASKED if rank_few else FEWEST_CELLS,
        written=out is not None,
        all_tables=claims,
    )
    endings = [ENDINGS[each] for each in formats] or (list(ENDINGS.values()) if out else ["md"])
    if out is None:
        print_reports(found, endings, render_claims if claims else render_all)
        return
    reports = (path for each in found for path in write_reports(*each, out, endings))
    for path in write_claims(found, out, endings) if claims else reports:
        print(printable(str(path)))
    if not (table_ids or claims) and selection == Selection() and "md" in endings:
        _write_overview(found, records_of(Store(*folders)), out)


def _write_overview(
    found: Sequence[TableComparisons], records: Sequence[Record], out: Path
) -> None:
    """Write the page of all tables, those without a number too, beside their reports."""
    from locbench.report.overview import write_overview

    known = {table.id for table, _ in found}
    others: list[TableComparisons] = [
        (table, []) for table in load_tables([]) if table.id not in known
    ]
    path = write_overview([*found, *others], records, out)
    if path is not None:
        print(printable(str(path)))


def compared(
    table_ids: Sequence[str],
    folders: Sequence[Path],
    selection: Selection,
    *,
    fewest: int = FEWEST_CELLS,
    written: bool = False,
    all_tables: bool = False,
    store: Store | None = None,
) -> list[TableComparisons]:
    """Return tables with their comparisons, and say on standard error what is left out.

    Args:
        table_ids: which tables; none means those that have records.
        folders: of the records, which are read as one.
        selection: rows and columns of them.
        fewest: the number of cells below which nothing is ranked.
        written: refuse to go on where no prediction can be used, since older reports would be
            replaced by poorer ones.
        all_tables: without ids, also tables without records.
        store: of these folders, where a caller needs the records too.

    Raises:
        UsageError: there are no records, no such tables, rows or columns.
        FailureError: no record or no prediction can be used.
    """
    faults: list[LocbenchError] = []
    tables, predictions = (
        [load_table(each) for each in table_ids] or load_tables(faults),
        PredictionStore(*folders),
    )
    remark(*(f"left out: {fault}" for fault in faults))
    measurements, store = MeasurementStore(*folders), store or Store(*folders)
    records, nothing = records_of(store), _nothing(store)
    kept = [each / name for each in folders for name in ("costs", "measured")]
    if not (records or store.set_aside.why or any(map(listed, kept))):
        raise UsageError(nothing, f"{_FIRST} Or name another folder with --results.")
    found = [
        (
            table,
            comparisons_of(table, records, predictions, measurements, fewest, store.conflicts),
        )
        for table in selected(tables, selection, given=bool(table_ids))
    ]
    if not found:
        raise UsageError("no table has these rows and columns", "See: locbench show ID")
    if selection.only_run:
        found = [(table, [only_run(each) for each in comparisons]) for table, comparisons in found]
    remark(*measurements.lines, *predictions.log.lines)
    if written and predictions.log.set_aside.why and not predictions.log.usable:
        raise FailureError(
            f"no file in {predictions.folder} can be used as a prediction, "
            f"of {len(predictions.log.set_aside.why)} that were looked at",
            "Mend what is said above, move the files to another folder, or make "
            "them anew: locbench costs ID",
        )
    if not (table_ids or all_tables):
        found = [(table, comparisons) for table, comparisons in found if comparisons]
    if not found:
        raise UsageError(nothing, _FIRST)
    return [(table, comparisons) for table, comparisons in found]


def _nothing(store: Store) -> str:
    aside = len(store.set_aside.why)
    unused = f" that can be used here, and {aside} that cannot" if aside else ""
    return f"there are no records below {' and '.join(map(str, store.folders))}{unused}"


def report_site(
    table_ids: Sequence[str],
    out: Path | None,
    folders: Sequence[Path],
    selection: Selection = Selection(),
    *,
    fewest: int = FEWEST_CELLS,
) -> None:
    """Write tables, methods and records as a site, and print where it begins.

    Raises:
        UsageError: no folder is named, it holds something else, or there are no records.
        FailureError: the folder cannot be written to, or no record can be used.
    """
    from locbench.report.site.pages import Site
    from locbench.report.site.write import refuse_other_folder, write_site

    if out is None:
        raise UsageError("a site is a folder of files", "Name it: --format html --out site.")
    refuse_other_folder(out)
    store = Store(*folders)
    found = compared(table_ids, folders, selection, fewest=fewest, all_tables=True, store=store)
    site = Site(with_published(found), list(store.all()), store.file)
    print(printable(str(write_site(site, out))))


def print_reports(
    found: Sequence[TableComparisons],
    endings: Sequence[str],
    write: Callable[[Sequence[TableComparisons], str], str],
) -> None:
    """Print tables in formats by their endings.

    Raises:
        UsageError: one of several formats is a document of its own.
    """
    if len(set(endings)) > 1 and any(ending in DOCUMENTS for ending in endings):
        raise UsageError(
            "JSON and CSV are printed alone",
            "Ask for one format, or for files of each with --out FOLDER.",
        )
    for ending in dict.fromkeys(endings):
        print_document(write(found, ending))


def read_records(results: Path, *others: Path) -> list[Record]:
    """Read all records of results folders; see `records_of`."""
    return records_of(Store(results, *others))


def records_of(store: Store) -> list[Record]:
    """Read all records, and name the files that cannot be used and the runs that differ.

    Raises:
        FailureError: a folder cannot be read, or none of the files, some of them spoilt: a report
            would call every run missing.
    """
    records = list(store.all())
    store.report()
    if not records and set(store.set_aside.why) - store.set_aside.foreign:
        raise FailureError(
            f"no file in {store.records} can be used as a record, and there are "
            f"{len(store.set_aside.why)}",
            "Mend what is said above, move the files to another folder, or name "
            "another one with --results DIR.",
        )
    return records


def selected(tables: Sequence[Table], selection: Selection, *, given: bool) -> Iterator[Table]:
    """Yield the tables with the chosen rows and columns alone.

    Of all tables, those that have such.
    """
    for table in tables:
        try:
            cells = chosen(table, selection.rows, selection.columns)
        except UsageError:
            if given:
                raise
        else:
            yield narrow(table, cells) if selection.rows or selection.columns else table


def plot_tables(table_ids: Sequence[str], path: Path, folders: Sequence[Path]) -> None:
    """Draw one table into a file, or several, or all with numbers, into a folder.

    Raises:
        LocbenchError: there is no such table or nothing to draw, or a file cannot be written.
    """
    from locbench.report.plots import plot_table, plottable

    found = compared(table_ids, folders, Selection())
    if len(table_ids) == 1:
        plot_table(*found[0], path)
        print(printable(str(path)))
        return
    if path.suffix:
        raise UsageError(
            f"several tables do not fit into the one file {path}",
            "Name a table, or a folder: locbench report --plot plots",
        )
    for table, comparisons in found:
        if plottable(table) and comparisons:
            plot_table(table, comparisons, path / f"{table.id}.png")
            print(printable(str(path / f"{table.id}.png")))


def comparisons_of(
    table: Table,
    records: Sequence[Record],
    predictions: PredictionStore,
    measurements: MeasurementStore | None = None,
    fewest: int = FEWEST_CELLS,
    conflicts: Mapping[str, Conflict] = MappingProxyType({}),
) -> list[Comparison]:
    """Return a table's comparisons, with computed values and those measured on devices."""
    predictions.log.origins.clear()
    measured = measured_costs(table, measurements, predictions) if measurements else ()
    computed, calibrated = (
        computed_if_needed(table, predictions),
        calibrated_values(table, predictions),
    )
    found = compare(table, records, computed, calibrated, measured, fewest, conflicts)
    return [
        replace(each, sources=replace(each.sources, predictions=predictions.log.origin))
        for each in found
    ]
