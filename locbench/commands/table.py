"""What `locbench table` and `locbench run` do: plan, train, compare, show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from locbench.commands.measure import Measuring
from locbench.commands.report import comparisons_of
from locbench.commands.train import train
from locbench.console import Terminal, print_json, remark
from locbench.costs.measured.store import MeasurementStore
from locbench.costs.memory.store import PredictionStore
from locbench.errors import FailureError, StoppedError
from locbench.execution.config import ExecutionConfig, device_names, with_device
from locbench.execution.identity import Contents
from locbench.execution.job import Job, shipped_notes
from locbench.execution.plan import Plan, make_plan
from locbench.execution.readiness import missing_for
from locbench.report.machine_formats import document
from locbench.report.measured import measured_blocks
from locbench.report.model import Comparison
from locbench.report.sections import comparison_blocks, title_blocks
from locbench.results.record import Record
from locbench.results.store import Store
from locbench.spec.recipe import Recipe
from locbench.spec.selection import RunOptions, narrow
from locbench.spec.table_files import load_table
from locbench.spec.tables import Table
from locbench.terminal.comparison import print_blocks
from locbench.terminal.progress import summary
from locbench.torchrun import is_main_process, local_device, process_count


class Session:
    """One command: where records go, where images are, and on what device to train.

    Args:
        results: the results folder.
        root: folder of the data sets.
        device: name of the device; several with commas between them, or ``all``, train one cell
            each at a time.
        download: fetch a data set that is missing.
        as_json: print JSON on standard output, and progress on standard error.
        weights: file of pretrained weights; None asks timm's hub where a run wants some.
        engine: how training steps are run; see `choose_engine`.
        jobs_per_device: cells at a time on each device.
    """

    def __init__(
        self,
        results: Path,
        root: Path,
        device: str,
        *,
        download: bool = False,
        as_json: bool = False,
        weights: Path | None = None,
        engine: str = "auto",
        jobs_per_device: int = 1,
    ) -> None:
        self.store, self.root, self.as_json = Store(results), root, as_json
        devices = tuple(map(local_device, device_names(device, jobs_per_device)))
        self.config = ExecutionConfig(results, root, devices, engine, download, weights)
        self.device = devices[0]
        self.console = Terminal(stderr=as_json, quiet=not is_main_process())

    def table(
        self,
        table_id: str,
        options: RunOptions,
        *,
        rerun: str | None,
        plan_only: bool,
        measure: bool | None = None,
    ) -> None:
        """Run what is missing of a table and show it, then measure its costs; with ``plan_only``
        show the plan.

        Args:
            table_id: which table.
            options: selection and schedule.
            rerun: ``failed`` or ``all``, runs and measurements alike.
            plan_only: run and measure nothing.
            measure: see `Measuring`.

        Raises:
            LocbenchError: see `make_plan`, `Sweep.run` and `Measuring.run`.
            FailureError: a cell failed; the others are recorded and shown.
        """
        options = msgspec.structs.replace(options, processes=process_count())
        options = with_device(options, self.device)
        plan = make_plan(load_table(table_id), options, self.store, self.root, rerun)
        assert plan.table is not None
        shown, measurements = narrow(plan.table, plan.cells), MeasurementStore(self.store.folder)
        measuring = Measuring(shown, measurements, self.device, options, asked=measure, rerun=rerun)
        if plan_only:
            self._tell_set_aside()
            self._show_plan(plan, measuring)
            return
        self._records(plan)
        self._tell_set_aside()
        self._announce(plan)
        self._train(plan.open, again=f"locbench table {table_id} with the same options")
        if not is_main_process():
            return
        records = self._records(plan)
        self._show(shown, records, measuring)
        _complain(records, "--rerun failed")

    def _show(self, table: Table, records: Sequence[Record], measuring: Measuring) -> None:
        """Show the records and the predictions, then measure, then show what is measured.

        JSON comes in one piece.
        """
        comparisons = self._compared(table, records, measuring.measurements)
        if not self.as_json:
            print_blocks(self.console, title_blocks(table))
            for comparison in comparisons:
                print_blocks(self.console, comparison_blocks(table, comparison))
        if measuring.wanted:
            measuring.run(self.console)
            comparisons = self._compared(table, records, measuring.measurements)
        if self.as_json:
            print_json(document(table, comparisons))
            return
        measured = comparisons[0].measured if comparisons else ()
        print_blocks(self.console, measured_blocks(table, measured))
        where = (
            f"Records: {self.store.records}. Report: locbench report {table.id} "
            f"--results {self.store.folder}"
        )
        self.console.print(where, markup=False, soft_wrap=True)

    def _compared(
        self, table: Table, records: Sequence[Record], measured: MeasurementStore
    ) -> list[Comparison]:
        with self.console.status("predicting costs"):
            predictions = PredictionStore(self.store.folder, trace=True)
            found = comparisons_of(table, records, predictions, measured)
        remark(*predictions.log.lines)
        return found

    def run(self, recipes: Sequence[Recipe], *, rerun: bool, plan_only: bool) -> None:
        """Run recipes that belong to no table."""
        contents = Contents(self.root)
        recipes = [
            msgspec.structs.replace(contents.told(each), processes=process_count())
            for each in recipes
        ]
        jobs = [
            Job(recipe, (), "to do" if rerun or not self.store.find(recipe.key) else "done")
            for recipe in recipes
        ]
        self._tell_set_aside()
        if plan_only:
            self._show_plan(Plan(None, tuple(jobs), ()), None)
            return
        open_jobs = [job for job in jobs if job.state == "to do"]
        for note in contents.notes(jobs, self.store) + shipped_notes(
            jobs, self.store, rerun="--rerun"
        ):
            self.console.print(note, markup=False, soft_wrap=True)
        self._train(open_jobs, again="the same command")
        if not is_main_process():
            return
        said = {job.recipe.key for job in open_jobs}
        records = [record for recipe in recipes if (record := self.store.find(recipe.key))]
        if self.as_json:
            print_json(records)
        else:
            for record in records:
                if record.key not in said:
                    self.console.print(summary(record), markup=False, soft_wrap=True)
                self.console.print(f"  {self.store.path(record)}", markup=False, soft_wrap=True)
        _complain(records, "--rerun")

    def _train(self, jobs: Sequence[Job], again: str) -> None:
        if not jobs:
            return
        try:
            train(jobs, self.config, self.console)
        except KeyboardInterrupt:
            done = sum(self.store.find(job.recipe.key) is not None for job in jobs)
            raise StoppedError(
                f"stopped: {done} of {len(jobs)} runs are recorded; whole epochs of "
                "the one in progress are kept",
                f"To go on: {again}.",
            ) from None

    def _tell_set_aside(self) -> None:
        if is_main_process():
            self.store.set_aside.tell()

    def _announce(self, plan: Plan) -> None:
        there = len(plan.jobs) - len(plan.open)
        self.console.print(
            f"{plan.title}: {len(plan.jobs)} runs, {there} recorded", markup=False, soft_wrap=True
        )
        for note in plan.notes:
            self.console.print(note, markup=False, soft_wrap=True)

    def _records(self, plan: Plan) -> list[Record]:
        """Return all records on the plan's schedules, of whatever seed."""
        wanted = {msgspec.structs.replace(job.recipe, seed=0).key for job in plan.jobs}
        return [
            each
            for each in self.store.all()
            if msgspec.structs.replace(each.recipe, seed=0).key in wanted
        ]

    def _show_plan(self, plan: Plan, measuring: Measuring | None) -> None:
        if not is_main_process():
            return
        from locbench.execution.estimates import Estimator, Forecast, missing_traces
        from locbench.terminal.plan import plan_entry, print_plan
        from locbench.training.device import choose_device

        estimator = Estimator(self.store.all(), choose_device(self.device))
        traces = (
            missing_traces(narrow(plan.table, plan.cells), self.store.folder) if plan.table else ()
        )
        lacking = missing_for(plan.jobs, self.root, download=self.config.download)
        forecast = Forecast(estimator, traces, tuple(lacking))
        if self.as_json:
            entry: dict[str, Any] = plan_entry(plan, forecast)
            print_json(entry)
        else:
            print_plan(self.console, plan, forecast)
            line = measuring.plan_line() if measuring else ""
            if line:
                self.console.print(line, markup=False, soft_wrap=True)


def _complain(records: Sequence[Record], option: str) -> None:
    failed = [record for record in records if record.status == "failed"]
    if failed:
        runs = "1 run" if len(failed) == 1 else f"{len(failed)} runs"
        raise FailureError(
            f"{runs} failed: {failed[0].error}",
            f"Run what failed again with {option} once that is mended.",
        )
