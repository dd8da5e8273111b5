"""Several tables within a budget of time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from rich.console import Console

from locbench.commands.train import train
from locbench.console import Output, print_json
from locbench.datasets.naming import IMAGEFOLDER, PREFIXES, parse_name
from locbench.errors import BudgetSpentError, FailureError, LocbenchError, StoppedError, UsageError
from locbench.execution.budget import seconds_of
from locbench.execution.config import ExecutionConfig, with_device
from locbench.execution.job import Job, recorded_notes
from locbench.execution.plan import Plan, make_plan
from locbench.execution.preflight import check_devices
from locbench.printable import duration
from locbench.spec.selection import RunOptions
from locbench.spec.table_files import folder_options, load_table
from locbench.terminal.columns import empty_table
from locbench.terminal.lines import say
from locbench.torchrun import process_count


@dataclass(frozen=True)
class TablePart:
    """A table or a part of one: ``ID[@DATASET][:ROWS[:COLUMNS]]``.

    Attributes:
        text: as it was written.
    """

    text: str
    table: str
    dataset: str | None
    rows: tuple[str, ...]
    columns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> TablePart:
        """Read an entry.

        Raises:
            UsageError: the text names no table.
        """
        head, *patterns = text.split(":")
        table, at, dataset = (part.strip() for part in head.partition("@"))
        if at:
            dataset, patterns = _dataset_of(text.partition("@")[2])
        patterns = [each.strip() for each in patterns]
        if not table or len(patterns) > 2:
            raise UsageError(
                f"{text!r} is no part of a table",
                "For example: 'auglocal-depth@cifar10:ResNet-32 / *'",
            )
        rows, columns = ((each,) if each else () for each in (*patterns, "", "")[:2])
        return cls(text, table, dataset or None, rows, columns)


def _dataset_of(text: str) -> tuple[str, list[str]]:
    """Split what follows the ``@`` into a data set, which may have colons, and the patterns.

    The longest folder that is there is taken. ``imagenet`` and ``coco`` alone are data sets too.
    """
    words = text.split(":")
    kind = f"{words[0].strip()}:"
    if kind not in PREFIXES or len(words) == 1:
        return words[0].strip(), words[1:]
    names = {count: ":".join(words[:count]).strip() for count in range(len(words), 1, -1)}
    there = next(
        (count for count, name in names.items() if len(words) - count <= 2 and _is_there(name)), 0
    )
    if not there and (kind == IMAGEFOLDER or words[1].strip().startswith(("/", "~", "."))):
        there = 2  # a folder that is missing is told as such
    return (names[there], words[there:]) if there else (words[0].strip(), words[1:])


def _is_there(name: str) -> bool:
    try:
        return parse_name(name).folder.is_dir()
    except LocbenchError:
        return False


STANDARD = tuple(
    TablePart.parse(each)
    for each in (
        "pgl-period@cifar10",
        "auglocal-depth@cifar10:ResNet-32 / *",
        "pgl-blocks@cifar10",
        "hpff-benchmarks@cifar10::ResNet-32*",
    )
)
"""What a campaign trains if nobody says otherwise: the cells that say most of each paper for their
price.
"""


class Campaign:
    """Entries within one budget.

    Args:
        entries: what to train, most valuable first.
        options: preset, seeds and precision for all of them.
        config: where to train, and where records go; its ``until`` is set by `run`.
        console: where to talk.
        results: where to print what is there in the end; None for the console.
    """

    def __init__(
        self,
        entries: Sequence[TablePart],
        options: RunOptions,
        config: ExecutionConfig,
        console: Console,
        results: Console | None = None,
    ) -> None:
        self.entries, self.options = tuple(entries), options
        self.config, self.console, self.results = config, console, results or console
        self.store = config.store
        self._plans: list[Plan] = []

    def plans(self) -> list[Plan]:
        """Return the plan of every entry, made once before and once after training."""
        if not self._plans:
            self._plans = [self._plan(entry) for entry in self.entries]
        return self._plans

    def jobs(self) -> list[Job]:
        """Return the open jobs, each once: all entries with the first seed, then the second ..."""
        opened = [job for plan in self.plans() for job in plan.open]
        seeds = sorted({job.recipe.seed for job in opened})
        ordered = [job for seed in seeds for job in opened if job.recipe.seed == seed]
        return list({job.recipe.key: job for job in ordered}.values())

    def run(self, budget: float) -> None:
        """Train within ``budget`` seconds from now, and say what is there then.

        Raises:
            StoppedError: Ctrl-C; what is recorded is kept.
            FailureError: runs have failed; all others are recorded.
            LocbenchError: see `train`.
        """
        until = time.monotonic() + budget
        jobs = self.jobs()
        self.show()
        self._plans = []  # from here on records change
        try:
            if jobs:
                train(jobs, replace(self.config, until=until), self.console)
        except BudgetSpentError:
            self._say(f"The {duration(budget)} are over.")
        except KeyboardInterrupt:
            raise StoppedError(
                "stopped: every finished run is recorded, and whole epochs of the "
                "ones in progress are kept",
                "To go on: the same command.",
            ) from None
        self.show(self.results)
        left = len(self.jobs())
        self._say(
            "Nothing is left to do."
            if not left
            else f"{left} runs are left. To go on: the same command."
        )
        self._say(
            f"Reports: locbench report{folder_options()}"
            f"{''.join(f' --results {folder}' for folder in self.store.folders)} "
            f"--out {self.config.results}"
        )
        self._complain()

    def show(self, console: Console | None = None) -> None:
        """Print how many runs of every entry there are."""
        grid = empty_table(("table", "runs", "recorded", "begun", "failed", "to do"), "lrrrrr")
        for row in self.counts():
            grid.add_row(*map(str, row.values()))
        (console or self.console).print(grid)

    def show_plan(self) -> None:
        """Print the same with the time that is left, and what is missing."""
        from locbench.execution.estimates import Estimator, Forecast
        from locbench.execution.readiness import missing_for
        from locbench.training.device import choose_device

        self.show()
        jobs, device = self.jobs(), choose_device(self.config.devices[0])
        forecast = Forecast(
            Estimator(self.store.all(), device), (), tuple(missing_for(jobs, self.config.root))
        )
        for entry, plan in zip(self.entries, self.plans(), strict=True):
            self._say(f"{entry.text}: about {duration(forecast.left(plan.jobs))} on one device")
        self._say(
            f"All of them, each run once: about {duration(forecast.left(jobs))}. "
            f"{forecast.words(jobs)}".rstrip()
        )
        for each in forecast.lacking:
            self._say(f"Missing: {each}")

    def report_records(self) -> None:
        """Say which records came with the repository, and which files cannot be used."""
        for note in recorded_notes([job for plan in self.plans() for job in plan.jobs], self.store):
            self._say(note)
        self.store.report()

    def counts(self) -> list[dict[str, Any]]:
        """Return the number of runs of every entry by their state."""
        counted = []
        for entry, plan in zip(self.entries, self.plans(), strict=True):
            states = [job.state for job in plan.jobs]
            names = {
                "recorded": "done",
                "begun": "unfinished",
                "failed": "failed",
                "to do": "to do",
            }
            counts = {name: states.count(state) for name, state in names.items()}  # type: ignore[arg-type]
            counted.append({"table": entry.text, "runs": len(states), **counts})
        return counted

    def _plan(self, entry: TablePart) -> Plan:
        dataset = entry.dataset
        options = msgspec.structs.replace(
            self.options, dataset=dataset, rows=entry.rows, columns=entry.columns
        )
        return make_plan(load_table(entry.table), options, self.store, self.config.root)

    def _complain(self) -> None:
        failed = [count for count in self.counts() if count["failed"]]
        if failed:
            runs = sum(count["failed"] for count in failed)
            tables = dict.fromkeys(TablePart.parse(count["table"]).table for count in failed)
            raise FailureError(
                f"{runs} run{'s' if runs > 1 else ''} failed, of {', '.join(tables)}",
                f"See why, and run again: locbench table {next(iter(tables))} "
                "--rerun failed with the same options.",
            )

    def _say(self, text: str) -> None:
        say(self.console, text)


def start(
    tables: Sequence[str],
    options: RunOptions,
    budget: str,
    config: ExecutionConfig,
    *,
    check: bool,
    plan_only: bool,
    as_json: bool,
) -> None:
    """Do what `locbench campaign` asks; its options are explained there.

    Raises:
        LocbenchError: an option is wrong, or see `Campaign.run`.
    """
    if process_count() > 1:
        raise UsageError(
            "torchrun's processes share every run, a campaign's do not", "Use --device all instead."
        )
    seconds, output = seconds_of(budget), Output(as_json)
    console = output.results if plan_only else output.console
    begun = time.monotonic()
    entries = [TablePart.parse(each) for each in tables] or STANDARD
    options = with_device(options, config.devices[0])
    campaign = Campaign(entries, options, config, console, output.results)
    campaign.report_records()
    if plan_only:
        campaign.show_plan()
    else:
        if check:
            check_devices(config, console)
        campaign.run(seconds - (time.monotonic() - begun))
    if as_json:
        print_json(campaign.counts())
