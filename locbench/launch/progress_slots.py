"""Progress of cells that run side by side: a bar for each on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import TaskID

from locbench.launch.plan import Job
from locbench.launch.progress import bars, duration, place_of, summary
from locbench.results.record import Record

if TYPE_CHECKING:
    from locbench.training.loop import Row


class SlotView:
    """What several slots share: a bar of the whole sweep on a terminal, and how many cells are done."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = bars(console)
        self.sweep: TaskID | None = None
        self.begun, self.done = time.monotonic(), 0

    def __enter__(self) -> SlotView:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
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
                rest = (jobs - self.view.done) * (time.monotonic() - self.view.begun) / self.view.done
                left = f", about {duration(rest)} left"
            self.view.say(f"[{index}/{jobs}] {self.where}{left}")

    def run_started(self, epochs: int, steps: int, done: int) -> None:  # noqa: ARG002
        """Set the bar; without bars, say where an unfinished run goes on."""
        self.view.progress.reset(self.bar, total=epochs, completed=done)
        if done and not self.view.console.is_terminal:
            self.view.say(f"  {self.where}: continued after epoch {done} of {epochs}")

    def step_done(self) -> None:
        """Do nothing."""

    def epoch_done(self, row: Row) -> None:  # noqa: ARG002
        """Move the bar."""
        self.view.progress.advance(self.bar)

    def job_done(self, record: Record) -> None:
        """Print the record's line."""
        self.view.say(summary(record, self.where))
        self.view.finished()
