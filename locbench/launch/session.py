"""What `locbench table` and `locbench run` do: plan, train, compare, show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from locbench.console import Terminal
from locbench.costs.memory_book import MemoryBook
from locbench.errors import FailureError, StoppedError
from locbench.json_output import print_json
from locbench.launch.plan import Job, Plan, Wishes, make_plan
from locbench.launch.progress import summary, watcher
from locbench.launch.reporting import comparisons_of
from locbench.recipe import Recipe
from locbench.report.document import document
from locbench.report.terminal import print_comparison
from locbench.results.record import Record
from locbench.results.store import Store
from locbench.tables import load_table, narrow


class Session:
    """One command: where records go, where images are, and on what device to train.

    Args:
        results: the results folder.
        root: folder of the data sets.
        device: name of the device.
        download: fetch a data set that is missing.
        as_json: print JSON on standard output, and progress on standard error.
    """

    def __init__(
        self, results: Path, root: Path, device: str, *, download: bool = False, as_json: bool = False
    ) -> None:
        self.store, self.root, self.device, self.download, self.as_json = (
            Store(results),
            root,
            device,
            download,
            as_json,
        )
        self.console = Terminal(stderr=as_json)

    def table(self, table_id: str, wishes: Wishes, *, rerun: str | None, plan_only: bool) -> None:
        """Run what is missing of a table and show it; with ``plan_only`` show the plan.

        Raises:
            LocbenchError: see `make_plan` and `Sweep.run`.
            FailureError: a cell failed; the others are recorded and shown.
        """
        plan = make_plan(load_table(table_id), wishes, self.store, self.root, rerun)
        if plan_only:
            self._show_plan(plan)
            return
        self._records(plan)  # a corrupt one is reported before anything is computed
        self._announce(plan)
        self._train(plan.open, again=f"locbench table {table_id} with the same options")
        assert plan.table is not None
        records = self._records(plan)
        shown = narrow(plan.table, plan.cells)
        with self.console.status("predicting costs"):
            comparisons = comparisons_of(shown, records, MemoryBook(self.store.folder, trace=True))
        if self.as_json:
            print_json(document(shown, comparisons))
        else:
            for comparison in comparisons:
                print_comparison(self.console, shown, comparison)
            where = f"Records: {self.store.records}. Report: locbench report {table_id} --results {self.store.folder}"
            self.console.print(where, markup=False, soft_wrap=True)
        _complain(records, "--rerun failed")

    def run(self, recipes: Sequence[Recipe], *, rerun: bool, plan_only: bool) -> None:
        """Run recipes that belong to no table."""
        jobs = [Job(recipe, (), "to do" if rerun or not self.store.find(recipe.key) else "done") for recipe in recipes]
        if plan_only:
            self._show_plan(Plan(None, tuple(jobs), ()))
            return
        open_jobs = [job for job in jobs if job.state == "to do"]
        self._train(open_jobs, again="the same command")
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
        self.store.prepare()
        try:
            from locbench.launch.sweep import Sweep
            from locbench.training.precision import choose_device

            sweep = Sweep(self.store, choose_device(self.device), self.root, download=self.download)
            with watcher(self.console) as progress:
                sweep.run(jobs, progress)
        except (KeyboardInterrupt, BrokenPipeError) as cause:
            done = sum(self.store.find(job.recipe.key) is not None for job in jobs)
            gone = "" if isinstance(cause, KeyboardInterrupt) else " since nobody reads the output any more"
            raise StoppedError(
                f"stopped{gone}: {done} of {len(jobs)} runs are recorded; whole epochs of the one in progress are kept",
                f"To go on: {again}.",
            ) from None

    def _announce(self, plan: Plan) -> None:
        there = len(plan.jobs) - len(plan.open)
        self.console.print(f"{plan.title}: {len(plan.jobs)} runs, {there} recorded", markup=False, soft_wrap=True)
        for note in plan.notes:
            self.console.print(note, markup=False, soft_wrap=True)

    def _records(self, plan: Plan) -> list[Record]:
        """Return all records on the plan's schedules, of whatever seed."""
        wanted = {msgspec.structs.replace(job.recipe, seed=0).key for job in plan.jobs}
        return [each for each in self.store.all() if msgspec.structs.replace(each.recipe, seed=0).key in wanted]

    def _show_plan(self, plan: Plan) -> None:
        from locbench.costs.duration import measured_rate
        from locbench.launch.plan_view import plan_entry, print_plan
        from locbench.training.precision import choose_device

        rate = measured_rate(choose_device(self.device))
        if self.as_json:
            entry: dict[str, Any] = plan_entry(plan, rate)
            print_json(entry)
        else:
            print_plan(self.console, plan, rate)


def _complain(records: Sequence[Record], option: str) -> None:
    failed = [record for record in records if record.status == "failed"]
    if failed:
        runs = "1 run" if len(failed) == 1 else f"{len(failed)} runs"
        raise FailureError(
            f"{runs} failed: {failed[0].error}", f"Run what failed again with {option} once that is mended."
        )
