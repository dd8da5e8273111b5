"""What `locbench table` and `locbench run` do: plan, train, compare, show."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from locbench.commands.measure import Measuring
from locbench.commands.report import comparisons_of
from locbench.commands.train import train
from locbench.console import Output, Terminal, remark
from locbench.costs.measured.store import MeasurementStore
from locbench.costs.memory.store import PredictionStore
from locbench.errors import FailureError, StoppedError
from locbench.execution.config import ExecutionConfig, with_device
from locbench.execution.identity import Contents
from locbench.execution.job import Job, recorded_notes, state_of
from locbench.execution.plan import Plan, make_plan
from locbench.execution.readiness import missing_for
from locbench.report.machine_formats import document
from locbench.report.measured import measured_blocks
from locbench.report.model import Comparison
from locbench.report.sections import comparison_blocks, title_blocks
from locbench.results.record import Record
from locbench.spec.recipe import Recipe
from locbench.spec.selection import RunOptions, narrow
from locbench.spec.table_files import folder_options, load_table
from locbench.spec.tables import Table
from locbench.terminal.comparison import print_blocks
from locbench.terminal.lines import say
from locbench.terminal.progress import summary
from locbench.torchrun import is_main_process, process_count


class Training:
    """Training from the command line: a table, or recipes that belong to none.

    Args:
        config: where records go, where images are, and on what devices to train.
        as_json: print JSON on standard output, and progress on standard error.
    """

    def __init__(self, config: ExecutionConfig, *, as_json: bool) -> None:
        self.config, self.store, self.device = config, config.store, config.devices[0]
        self.output = Output(as_json, quiet=not is_main_process())
        self.console = self.output.console

    def table(
        self,
        table_id: str,
        options: RunOptions,
        *,
        rerun: str | None,
        plan_only: bool,
        measure: bool | None = None,
    ) -> None:
        """Run what is missing of a table and show it, then measure its costs.

        Args:
            table_id: which table.
            options: selection and schedule.
            rerun: ``failed`` or ``all``, runs and measurements alike.
            plan_only: show the plan, run and measure nothing.
            measure: see `Measuring`.

        Raises:
            LocbenchError: see `make_plan`, `Sweep.run` and `Measuring.run`.
            FailureError: a cell failed; the others are recorded and shown.
        """
        options = msgspec.structs.replace(options, processes=process_count())
        options = with_device(options, self.device)
        plan = make_plan(load_table(table_id), options, self.store, self.config.root, rerun)
        assert plan.table is not None
        shown, measurements = narrow(plan.table, plan.cells), MeasurementStore(*self.store.folders)
        measuring = Measuring(shown, measurements, self.device, options, asked=measure, rerun=rerun)
        if plan_only:
            self._report_set_aside()
            self._show_plan(plan, measuring)
            return
        self._records(plan)
        self._report_set_aside()
        self._announce(plan)
        self.train_jobs(plan.open, again=f"locbench table {table_id} with the same options")
        if not is_main_process():
            return
        records = self._records(plan)
        self._show(shown, records, measuring)
        _complain(records, "--rerun failed")

    def train_cells(
        self, table: Table, options: RunOptions, *, again: str, plan_only: bool
    ) -> Plan | None:
        """Train what is missing of cells, for others to look at.

        Args:
            table: whose cells.
            options: selection and schedule.
            again: the command that goes on after an interruption.
            plan_only: show the plan, run nothing.

        Returns:
            The plan, with the runs of this and of earlier commands; None if it was shown alone.

        Raises:
            LocbenchError: see `make_plan` and `Sweep.run`.
        """
        options = msgspec.structs.replace(options, processes=process_count())
        options = with_device(options, self.device)
        plan = make_plan(table, options, self.store, self.config.root)
        self._report_set_aside()
        if plan_only:
            self._show_plan(plan, None)
            return None
        self._announce(plan)
        self.train_jobs(plan.open, again=again)
        return plan

    def _show(self, table: Table, records: Sequence[Record], measuring: Measuring) -> None:
        """Show the records and the predictions, then measure, then show what is measured.

        JSON comes in one piece.
        """
        comparisons = self._compared(table, records, measuring.measurements)
        if not self.output.as_json:
            print_blocks(self.output.results, title_blocks(table))
            for comparison in comparisons:
                print_blocks(self.output.results, comparison_blocks(table, comparison))
        if measuring.wanted:
            measuring.run(self.console)
            comparisons = self._compared(table, records, measuring.measurements)
        measured = comparisons[0].measured if comparisons else ()
        folders = "".join(f" --results {folder}" for folder in self.store.folders)
        report = f"locbench report {table.id}{folder_options()}{folders}"

        def view(console: Terminal) -> None:
            print_blocks(console, measured_blocks(table, measured))
            say(console, f"Records: {self.store.records}. Report: {report}")

        self.output.show(lambda: document(table, comparisons), view)

    def _compared(
        self, table: Table, records: Sequence[Record], measured: MeasurementStore
    ) -> list[Comparison]:
        with self.console.status("predicting costs"):
            predictions = PredictionStore(*self.store.folders, trace=True)
            comparisons = comparisons_of(
                table, records, predictions, measured, conflicts=self.store.conflicts
            )
        remark(*predictions.log.lines)
        return comparisons

    def run(
        self,
        recipes: Sequence[Recipe],
        *,
        rerun: bool,
        plan_only: bool,
        keep_weights: bool = False,
    ) -> None:
        """Run recipes that belong to no table."""
        contents = Contents(self.config.root)
        recipes = [
            msgspec.structs.replace(contents.with_content(each), processes=process_count())
            for each in recipes
        ]
        jobs = [
            Job(
                recipe,
                (),
                state_of(
                    recipe.key, self.store, "all" if rerun else None, needs_weights=keep_weights
                ),
                keeps_weights=keep_weights,
            )
            for recipe in recipes
        ]
        self._report_set_aside()
        if plan_only:
            self._show_plan(Plan(None, tuple(jobs), ()), None)
            return
        open_jobs = [job for job in jobs if job.open]
        for note in contents.notes(jobs, self.store) + recorded_notes(
            jobs, self.store, rerun="--rerun"
        ):
            say(self.console, note)
        self.train_jobs(open_jobs, again="the same command")
        if not is_main_process():
            return
        trained = {job.recipe.key for job in open_jobs}
        records = [record for recipe in recipes if (record := self.store.find(recipe.key))]

        def view(console: Terminal) -> None:
            for record in records:
                if record.key not in trained or self.console.quiet:
                    say(console, summary(record))
                say(console, f"  {self.store.file(record)}")

        self.output.show(lambda: records, view)
        _complain(records, "--rerun")

    def train_jobs(self, jobs: Sequence[Job], again: str) -> None:
        """Train jobs and record each; ``again`` is the command that goes on after Ctrl-C.

        Raises:
            LocbenchError: see `train`.
        """
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

    def _report_set_aside(self) -> None:
        if is_main_process():
            self.store.report()

    def _announce(self, plan: Plan) -> None:
        there = len(plan.jobs) - len(plan.open)
        say(self.console, f"{plan.title}: {len(plan.jobs)} runs, {there} recorded")
        for note in plan.notes:
            say(self.console, note)

    def _records(self, plan: Plan) -> list[Record]:
        """Return all records on the plan's schedules, of whatever seed."""
        keys = {msgspec.structs.replace(job.recipe, seed=0).key for job in plan.jobs}
        return [
            record
            for record in self.store.all()
            if msgspec.structs.replace(record.recipe, seed=0).key in keys
        ]

    def _show_plan(self, plan: Plan, measuring: Measuring | None) -> None:
        if not is_main_process():
            return
        from locbench.execution.estimates import Estimator, Forecast, missing_traces
        from locbench.terminal.plan import plan_entry, print_plan
        from locbench.training.device import choose_device

        estimator = Estimator(self.store.all(), choose_device(self.device))
        traces = (
            missing_traces(narrow(plan.table, plan.cells), self.store.folders) if plan.table else ()
        )
        lacking = missing_for(plan.jobs, self.config.root, download=self.config.download)
        forecast = Forecast(estimator, traces, tuple(lacking))

        def view(console: Terminal) -> None:
            print_plan(console, plan, forecast)
            if measuring and (line := measuring.plan_line()):
                say(console, line)

        self.output.show(lambda: plan_entry(plan, forecast), view)


def _complain(records: Sequence[Record], option: str) -> None:
    failed = [record for record in records if record.status == "failed"]
    if failed:
        runs = "1 run" if len(failed) == 1 else f"{len(failed)} runs"
        raise FailureError(
            f"{runs} failed: {failed[0].error}",
            f"Run what failed again with {option} once that is mended.",
        )
