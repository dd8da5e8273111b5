"""What `locbench table` and `locbench run` do: plan, train, compare, show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from locbench.errors import FailureError, StoppedError
from locbench.launch.plan import Job, Plan, Wishes, make_plan
from locbench.launch.plan_view import plan_entry, print_plan
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
        self.console = Console(stderr=as_json, highlight=False)

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
        self._announce(plan)
        self._train(plan.open, again=f"locbench table {table_id} with the same options")
        assert plan.table is not None
        records = self._records(plan)
        shown = narrow(plan.table, plan.cells)
        comparisons = comparisons_of(shown, records)
        if self.as_json:
            print(msgspec.json.format(msgspec.json.encode(document(shown, comparisons)), indent=2).decode())
        else:
            for comparison in comparisons:
                print_comparison(self.console, shown, comparison)
            self.console.print(f"Records: {self.store.records}. Report: locbench report {table_id}", soft_wrap=True)
        _complain(records)

    def run(self, recipes: Sequence[Recipe], *, rerun: bool, plan_only: bool) -> None:
        """Run recipes that belong to no table."""
        jobs = [Job(recipe, (), "to do" if rerun or not self.store.find(recipe.key) else "done") for recipe in recipes]
        if plan_only:
            self._show_plan(Plan(None, tuple(jobs), ()))
            return
        self._train([job for job in jobs if job.state == "to do"], again="the same command")
        records = [record for recipe in recipes if (record := self.store.find(recipe.key))]
        if self.as_json:
            print(msgspec.json.format(msgspec.json.encode(records), indent=2).decode())
        else:
            for record in records:
                self.console.print(summary(record), markup=False, soft_wrap=True)
                self.console.print(f"  {self.store.path(record)}", markup=False, soft_wrap=True)
        _complain(records)

    def _train(self, jobs: Sequence[Job], again: str) -> None:
        if not jobs:
            return
        self.store.prepare()
        from locbench.launch.sweep import Sweep
        from locbench.training.precision import choose_device

        sweep = Sweep(self.store, choose_device(self.device), self.root, download=self.download)
        try:
            with watcher(self.console) as progress:
                sweep.run(jobs, progress)
        except KeyboardInterrupt:
            done = sum(self.store.find(job.recipe.key) is not None for job in jobs)
            raise StoppedError(
                f"stopped: {done} of {len(jobs)} runs are recorded, and every whole epoch of the one in progress is kept",
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
        from locbench.training.precision import choose_device

        rate = measured_rate(choose_device(self.device))
        if self.as_json:
            entry: dict[str, Any] = plan_entry(plan, rate)
            print(msgspec.json.format(msgspec.json.encode(entry), indent=2).decode())
        else:
            print_plan(self.console, plan, rate)


def _complain(records: Sequence[Record]) -> None:
    failed = [record for record in records if record.status == "failed"]
    if failed:
        raise FailureError(
            f"{len(failed)} run(s) failed: {failed[0].error}", "Run them again with --rerun failed once that is mended."
        )
