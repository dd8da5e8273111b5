"""Progress of a sweep: bars with time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import TimeRemainingColumn as TimeLeft

from locbench.datasets.naming import short
from locbench.execution.job import Job, place_of
from locbench.printable import duration, printable
from locbench.results.record import Record

if TYPE_CHECKING:
    from locbench.training.state import EpochMetrics


class Bars:
    """Three bars: the sweep, the cell in epochs, and the epoch in steps."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = bars(console)
        self.sweep: TaskID | None = None
        self.where = ""
        self.cell = self.progress.add_task("cell", total=None, visible=False)
        self.epoch = self.progress.add_task("epoch", visible=False)

    def __enter__(self) -> Bars:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def job_started(self, job: Job, index: int, jobs: int) -> None:  # noqa: ARG002
        """Name the cell; the sweep's bar appears with the first one."""
        if self.sweep is None:
            self.sweep = self.progress.add_task("sweep", total=jobs)
        self.where = place_of(job)
        self.progress.reset(self.cell, description=self.where, visible=True)

    def run_started(self, epochs: int, steps: int, done: int) -> None:
        """Set both inner bars."""
        self.progress.reset(self.cell, total=epochs, completed=done)
        self.progress.reset(self.epoch, total=steps, visible=True, description="  epoch")

    def step_done(self) -> None:
        """Move the epoch's bar."""
        self.progress.advance(self.epoch)

    def epoch_done(self, row: EpochMetrics) -> None:  # noqa: ARG002
        """Move the cell's bar and start the epoch's anew."""
        self.progress.advance(self.cell)
        self.progress.reset(self.epoch, description="  epoch")

    def job_done(self, record: Record) -> None:
        """Print the record's line and move the sweep's bar."""
        self.console.print(
            summary(record, self.where), highlight=False, markup=False, soft_wrap=True
        )
        if self.sweep is not None:
            self.progress.advance(self.sweep)


class Lines:
    """One line when a cell starts, one when it is done, and one every half minute in between."""

    def __init__(self, console: Console, every: float = 30.0) -> None:
        self.console, self.every = console, every
        self.begun = self.said = time.monotonic()
        self.jobs = self.finished = self.epochs = self.epoch = 0

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def job_started(self, job: Job, index: int, jobs: int) -> None:
        """Say which cell starts and, after the first one, how long the rest may take."""
        self.jobs = jobs
        left = ""
        if self.finished:
            per_job = (time.monotonic() - self.begun) / self.finished
            left = f", about {duration(per_job * (jobs - self.finished))} left"
        self._say(f"[{index}/{jobs}] {place_of(job)}{left}")

    def run_started(self, epochs: int, steps: int, done: int) -> None:  # noqa: ARG002
        """Note the length of the run."""
        self.epochs, self.epoch = epochs, done
        if done:
            self._say(f"  continued after epoch {done} of {epochs}")

    def step_done(self) -> None:
        """Say nothing."""

    def epoch_done(self, row: EpochMetrics) -> None:
        """Say where the cell is, if nothing was said for a while."""
        self.epoch += 1
        if time.monotonic() - self.said > self.every and self.epoch < self.epochs:
            tested = f", test {row['test_acc']:.2f} %" if row["test_acc"] is not None else ""
            self._say(
                f"  epoch {self.epoch}/{self.epochs}: training loss {row['train_loss']:.4f}{tested}"
            )

    def job_done(self, record: Record) -> None:
        """Print the record's line."""
        self.finished += 1
        self._say("  " + summary(record))

    def _say(self, text: str) -> None:
        self.said = time.monotonic()
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def bars(console: Console) -> Progress:
    """Return bars with counts, time spent and time left, which go when they are stopped.

    None but on a terminal.
    """
    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeLeft())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def watcher(console: Console) -> Bars | Lines:
    """Return bars for a terminal, lines for anything else."""
    return Bars(console) if console.is_terminal else Lines(console)


def summary(record: Record, where: str = "") -> str:
    """Return a record in one line, under the name of its cell or of its recipe."""
    trained = (
        f"Mask R-CNN ({record.recipe.backbone.method})"
        if record.recipe.backbone
        else record.recipe.method
    )
    name = where or printable(
        f"{trained} on {short(record.recipe.dataset)}, seed {record.recipe.seed}"
    )
    if record.status == "failed":
        return f"failed: {name}: {printable(' '.join(record.error.split()))}"
    accuracy = _result(record.metrics)
    epochs = f"{record.recipe.epochs} epoch{'s' if record.recipe.epochs > 1 else ''}"
    beside = f" beside {record.provenance.beside - 1} more" if record.provenance.beside > 1 else ""
    return f"done: {name}: {accuracy} after {epochs}, {duration(record.provenance.seconds)}{beside}"


def _result(metrics: Mapping[str, float]) -> str:
    if "test_acc" in metrics:
        return (
            f"{metrics['test_acc']:.2f} % test accuracy ({100 - metrics['test_acc']:.2f} % error)"
        )
    words = {"box AP": "box_ap", "mask AP": "mask_ap"}
    found = [f"{word} {metrics[name]:.1f}" for word, name in words.items() if name in metrics]
    return (
        ", ".join(found) or "no average precision"
    )  # without objects in the test images there is none


class SlotView:
    """What several slots share: a bar of the whole sweep on a terminal, and how many cells are
    done.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = bars(console)
        self.sweep: TaskID | None = None
        self.begun, self.done = time.monotonic(), 0

    def __enter__(self) -> SlotView:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def slot(self, index: int) -> Slot:
        """Return the watcher of one process."""
        return Slot(self, index)

    def started(self, jobs: int) -> None:
        """Show the sweep's bar, from the first cell on."""
        if self.sweep is None:
            self.sweep = self.progress.add_task("sweep", total=jobs)

    def finished(self) -> None:
        """Move the sweep's bar."""
        self.done += 1
        if self.sweep is not None:
            self.progress.advance(self.sweep)

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


class Slot:
    """The watcher of one process of several; it hears no single steps."""

    def __init__(self, view: SlotView, index: int) -> None:
        self.view, self.index = view, index
        self.bar = view.progress.add_task("", total=None, visible=False)
        self.where = ""

    def job_started(self, job: Job, index: int, jobs: int) -> None:
        """Name the cell; without bars, say how long the rest may take."""
        self.view.started(jobs)
        self.where = place_of(job)
        self.view.progress.reset(self.bar, description=self.where, visible=True)
        if not self.view.console.is_terminal:
            left = ""
            if self.view.done:
                rest = (
                    (jobs - self.view.done) * (time.monotonic() - self.view.begun) / self.view.done
                )
                left = f", about {duration(rest)} left"
            self.view.say(f"[{index}/{jobs}] {self.where}{left}")

    def run_started(self, epochs: int, steps: int, done: int) -> None:  # noqa: ARG002
        """Set the bar; without bars, say where an unfinished run goes on."""
        self.view.progress.reset(self.bar, total=epochs, completed=done)
        if done and not self.view.console.is_terminal:
            self.view.say(f"  {self.where}: continued after epoch {done} of {epochs}")

    def step_done(self) -> None:
        """Do nothing."""

    def epoch_done(self, row: EpochMetrics) -> None:  # noqa: ARG002
        """Move the bar."""
        self.view.progress.advance(self.bar)

    def job_done(self, record: Record) -> None:
        """Print the record's line."""
        self.view.say(summary(record, self.where))
        self.view.finished()
