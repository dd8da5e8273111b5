"""The command ``locbench bench``: what is timed, shown and kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import torch
from rich.markup import escape

from locbench.bench.benchmark import BenchLimits, Benchmark
from locbench.bench.cases import BATCH, Case, beside_official, supported
from locbench.bench.official import OFFICIAL, official_commit, refuse_folder
from locbench.bench.results import BenchmarkResult, Profile, Result
from locbench.bench.worker import StepServer, WorkerPair, worker_pair
from locbench.console import Output, Terminal
from locbench.errors import FailureError, StoppedError, UsageError
from locbench.files import write_atomically
from locbench.printable import shortened
from locbench.results.provenance import now, provenance_of
from locbench.spec.choices import Precision
from locbench.spec.validation import refuse_count
from locbench.terminal.bench import csv_text, print_profiles, print_result
from locbench.torchrun import local_device
from locbench.training.device import choose_device, device_name, set_precision


class BenchCommand:
    """One command.

    Args:
        device: name of the device.
        precision: of the steps.
        threads: of the processor; None leaves the default.
        out: CSV file to write; None writes none.
        output: where to print.
        against: folder of the official code, which is timed too; None times none.

    Raises:
        UsageError: there is no such device, precision or folder, or a number is below 1.
    """

    def __init__(
        self,
        device: str,
        precision: Precision,
        threads: int | None,
        out: Path | None,
        output: Output,
        against: Path | None = None,
    ) -> None:
        if against is not None:
            refuse_folder(against)
        self.device = choose_device(local_device(device))
        self.precision, self.threads, self.out, self.output = precision, threads, out, output
        self.against = against
        set_precision(precision, self.device)
        if threads is not None:
            refuse_count("--threads", threads, 1024)
        self.progress = Terminal(stderr=True, soft_wrap=True)

    @property
    def batch_size(self) -> int:
        """Images per step, unless the user says otherwise."""
        return BATCH.get(self.device.type, BATCH["cuda"])

    def bench(
        self, cases: Sequence[Case], engines: Sequence[str] | None, limits: BenchLimits
    ) -> None:
        """Time steps, show and keep the results, also when the user stops it.

        Raises:
            UsageError: nothing can be timed here.
            FailureError: no step could be timed, or the file cannot be written.
            StoppedError: the user stopped it.
        """
        _refuse_limits(limits)
        if self.against is not None:
            engines = (OFFICIAL, *(engines or [beside_official(cases, self.device)]))
        steps, skipped = supported(cases, engines, self.device)
        if self.out:
            _refuse_unwritable(self.out)
        name, threads = device_name(self.device), self.threads or torch.get_num_threads()
        result = BenchmarkResult(
            device=name,
            precision=self.precision,
            threads=threads,
            skipped=skipped,
            official_commit=official_commit(self.against) if self.against else "",
            provenance=provenance_of(name, now(), 0.0, threads=threads, engine=""),
        )
        with self._workers() as workers:
            if self.against is not None:
                workers.reference.call(StepServer.refuse_official, cases)
            with self._shown(result), self._progress() as announce:
                Benchmark(steps, limits, workers, self.device, result, announce).run()
        _refuse_untimed("step", result.lines)
        _refuse_untimed(
            "step of the official code", [line for line in result.lines if line.engine == OFFICIAL]
        )

    def profile(self, cases: Sequence[Case], steps: int) -> None:
        """Show where the time of eager steps goes.

        Raises:
            StoppedError: the user stopped it; what was profiled is shown.
        """
        if self.against is not None:
            raise UsageError("--profile is of our steps alone", "Leave --against out.")
        _refuse_limits(BenchLimits(steps=steps))
        profiles: dict[str, Profile] = {}
        try:
            with self._workers() as workers, self._progress() as announce:
                for case in cases:
                    announce(f"{case.label}: profiling {steps} steps")
                    profiles[case.label] = workers.engines.call(StepServer.profile, case, steps)
        except KeyboardInterrupt:
            raise StoppedError("stopped before the end of the profile") from None
        finally:
            self.output.show(
                lambda: {"device": device_name(self.device), "shares": profiles},
                lambda console: print_profiles(console, profiles),
            )

    def _workers(self) -> WorkerPair:
        return worker_pair(self.device, self.precision, self.threads, self.against)

    @contextmanager
    def _shown(self, result: BenchmarkResult) -> Iterator[None]:
        """Whatever ends the measuring, show and keep what is there."""
        begun = time.perf_counter()
        try:
            yield
        except KeyboardInterrupt:
            result.stopped = True
            raise StoppedError("stopped; what was timed until then is shown and kept") from None
        finally:
            seconds = round(time.perf_counter() - begun, 1)
            result.provenance = msgspec.structs.replace(result.provenance, seconds=seconds)
            self.output.show(lambda: result, lambda console: print_result(console, result))
            if self.out:
                write_atomically(self.out, csv_text(result).encode())
                self.progress.print(f"written: {self.out}")

    @contextmanager
    def _progress(self) -> Iterator[Callable[[str], None]]:
        """Yield what announces a step of the work: on a terminal below all else, or in lines."""
        if not self.progress.is_terminal:
            yield lambda text: self.progress.print(text)
            return
        with self.progress.status("starting") as status:
            yield lambda text: status.update(escape(text))


MOST = {"rounds": 10_000, "steps": 1_000_000, "seconds": 86_400}
"""Longest that is measured: a day for each engine with each method."""


def _refuse_limits(limits: BenchLimits) -> None:
    for name, most in MOST.items():
        value = getattr(limits, name)
        if value is not None and not 0 < value <= most:
            shown = shortened(value) if isinstance(value, int) else f"{value:g}"
            raise UsageError(f"--{name} is {shown}", f"Set --{name} above 0, to at most {most:,}.")


def _refuse_untimed(what: str, lines: Sequence[Result]) -> None:
    if lines and all(line.error for line in lines):
        raise FailureError(
            f"no {what} could be timed: {lines[0].error}",
            "Give a smaller --batch-size; `locbench fit` finds the largest for a memory.",
        )


def _refuse_unwritable(path: Path) -> None:
    """Refuse a file that cannot be written before anything is timed; what is in it stays.

    Raises:
        FailureError: it cannot.
    """
    if not path.exists():
        write_atomically(path, b"")
        return
    try:
        path.open("ab").close()
    except OSError as error:
        raise FailureError(
            f"cannot write {path}: {error.strerror or error}", "Name another file after --out."
        ) from None
