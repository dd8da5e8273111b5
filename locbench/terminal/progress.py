"""Progress of a sweep: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

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
from locbench.execution.events import Event, JobDone, JobStarted
from locbench.execution.job import place_of
from locbench.printable import duration, printable
from locbench.results.record import Record
from locbench.terminal.lines import say
from locbench.training.events import EpochDone, EpochMetrics, RunStarted, StepDone


class SweepProgress:
    """A sweep and the runs in its processes: bars on a terminal, plain lines elsewhere.

    Args:
        console: where to print.
        rows: one per process. The run of a single one has a bar in steps too.
        every: seconds without a line after which one says in which epoch a run is.
        verbose: print a line for every epoch, beside bars too.
    """

    def __init__(
        self, console: Console, rows: int = 1, every: float = 30.0, *, verbose: bool = False
    ) -> None:
        self.console, self.every, self.single, self.verbose = console, every, rows == 1, verbose
        self.bars = bars(console)
        self.sweep = self.bars.add_task("sweep", visible=False)
        self.rows = [_Row(self.bars.add_task("", total=None, visible=False)) for _ in range(rows)]
        self.epoch = self.bars.add_task("  epoch", visible=False)
        self.begun = self.printed = time.monotonic()
        self.finished = 0

    def start(self) -> None:
        """Begin to show bars."""
        self.bars.start()

    def stop(self) -> None:
        """Let the bars go."""
        self.bars.stop()

    def on(self, event: Event, index: int = 0, /) -> None:
        """Show an event of the process with this index."""
        row = self.rows[index]
        match event:
            case StepDone():
                self.bars.advance(self.epoch)
            case JobStarted():
                self._job_started(event, row)
            case RunStarted():
                self._run_started(event, row)
            case EpochDone():
                self._epoch_done(event.metrics, row)
            case JobDone():
                self.finished += 1
                name = "" if self._brief else row.place
                self._print(("  " if self._brief else "") + summary(event.record, name))
                self.bars.advance(self.sweep)

    def _job_started(self, event: JobStarted, row: _Row) -> None:
        row.place = place_of(event.job)
        self.bars.update(self.sweep, total=event.jobs, visible=True)
        self.bars.reset(row.bar, description=row.place, visible=True)
        left = ""
        if self.finished:
            per_job = (time.monotonic() - self.begun) / self.finished
            left = f", about {duration(per_job * (event.jobs - self.finished))} left"
        self._print_line(f"[{event.number}/{event.jobs}] {row.place}{left}")

    def _run_started(self, event: RunStarted, row: _Row) -> None:
        row.epochs, row.epoch = event.epochs, event.done
        self.bars.reset(row.bar, total=event.epochs, completed=event.done)
        self.bars.reset(self.epoch, total=event.steps, visible=self.single)
        if event.done:
            self._print_row(row, f"continued after epoch {event.done} of {event.epochs}")

    def _epoch_done(self, metrics: EpochMetrics, row: _Row) -> None:
        row.epoch += 1
        self.bars.advance(row.bar)
        self.bars.reset(self.epoch)
        due = time.monotonic() - self.printed > self.every and row.epoch < row.epochs
        if due or self.verbose:
            accuracy = metrics["test_acc"]
            tested = "" if accuracy is None else f", test {accuracy:.2f} %"
            loss = f"training loss {metrics['train_loss']:.4f}"
            more = _epoch_details(metrics) if self.verbose else ""
            self._print_row(row, f"epoch {row.epoch}/{row.epochs}: {loss}{tested}{more}")

    @property
    def _brief(self) -> bool:
        """Whether lines are below the one that names their run."""
        return self.single and not self.console.is_terminal

    def _print_row(self, row: _Row, text: str) -> None:
        self._print_line(f"  {text}" if self._brief else f"  {row.place}: {text}")

    def _print_line(self, text: str) -> None:
        """Print what bars would show."""
        if self.verbose or not self.console.is_terminal:
            self._print(text)

    def _print(self, text: str) -> None:
        self.printed = time.monotonic()
        say(self.console, text)


def _epoch_details(metrics: EpochMetrics) -> str:
    rate, seconds = metrics.get("lr"), metrics.get("seconds")
    words = "" if rate is None else f", learning rate {rate:.4g}"
    return words + ("" if seconds is None else f", {seconds:.1f} s")


@dataclass
class _Row:
    """A process: the bar of its run, in epochs, and what it is at."""

    bar: TaskID
    place: str = ""
    epochs: int = 0
    epoch: int = 0


def bars(console: Console) -> Progress:
    """Return bars with counts, time spent and time left, which go when they are stopped.

    Nothing is shown where the console is no terminal.
    """
    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeLeft())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


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
    # Without objects in the test images there is none.
    return ", ".join(found) or "no average precision"
