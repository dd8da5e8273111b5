"""What `locbench bench` does: choose what is timed, time it, show and keep what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import torch
from rich.markup import escape

from locbench.bench.benchmark import Benchmark, Lengths, now
from locbench.bench.cases import BATCH, Case, parse_engines, runnable
from locbench.bench.results import Found, Shares
from locbench.bench.worker import Crew
from locbench.console import Terminal, print_json
from locbench.errors import FailureError, StoppedError, UsageError
from locbench.files import write_atomically
from locbench.printable import shortened
from locbench.results.provenance import code, versions
from locbench.results.record import Provenance
from locbench.spec.choices import Precision
from locbench.spec.validation import refuse_count
from locbench.terminal.bench import csv_text, found_entry, print_found, print_shares
from locbench.torchrun import local_device
from locbench.training.device import choose_device, device_name, set_precision


class Session:
    """One command.

    Args:
        device: name of the device.
        precision: of the steps.
        threads: of the processor; None leaves the default.
        out: CSV file to write; None writes none.
        as_json: print JSON on standard output.

    Raises:
        UsageError: there is no such device or precision, or a number is below 1.
    """

    def __init__(
        self,
        device: str,
        precision: Precision,
        threads: int | None,
        out: Path | None,
        *,
        as_json: bool,
    ) -> None:
        self.device, self.precision, self.threads = (
            choose_device(local_device(device)),
            precision,
            threads,
        )
        set_precision(precision, self.device)
        if threads is not None:
            refuse_count("--threads", threads, 1024)
        self.out, self.as_json = out, as_json
        self.console, self.progress = Terminal(), Terminal(stderr=True, soft_wrap=True)

    @property
    def batch(self) -> int:
        """Images per step where none are asked for."""
        return BATCH.get(self.device.type, BATCH["cuda"])

    def bench(self, cases: Sequence[Case], engines: str | None, lengths: Lengths) -> None:
        """Time steps, show and keep what was found, also when the user stops it.

        Raises:
            UsageError: nothing can be timed here.
            FailureError: no step could be timed, or the file cannot be written.
            StoppedError: the user stopped it.
        """
        _refuse_lengths(lengths)
        able, skipped = runnable(
            cases, parse_engines(engines), self.device, asked=engines is not None
        )
        if self.out:
            _refuse_unwritable(self.out)
        found = self._empty()
        found.skipped = skipped
        begun = time.perf_counter()
        with self._crew() as crew, self._shown(found, begun), self._telling() as tell:
            Benchmark(able, lengths, crew, self.device, found, tell).run()
        failed = [line for line in found.lines if line.error]
        if failed and len(failed) == len(found.lines):
            raise FailureError(
                f"no step could be timed: {failed[0].error}",
                "Give a smaller --batch-size; `locbench fit` finds the largest for a memory.",
            )

    def profile(self, cases: Sequence[Case], steps: int) -> None:
        """Show where the time of eager steps goes."""
        _refuse_lengths(Lengths(steps=steps))
        found: dict[str, Shares] = {}
        try:
            with self._crew() as crew, self._telling() as tell:
                for case in cases:
                    label = " ".join(filter(None, [case.recipe.network, case.method, case.phase]))
                    tell(f"{label}: profiling {steps} steps")
                    found[label] = crew.engines("shares", case, "eager", steps)
        except KeyboardInterrupt:
            raise StoppedError("stopped before the end of the profile") from None
        finally:
            if self.as_json:
                print_json({"device": device_name(self.device), "shares": found})
            elif found:
                print_shares(self.console, found)

    def _crew(self) -> Crew:
        return Crew(str(self.device), self.precision, self.threads)

    def _empty(self) -> Found:
        name = device_name(self.device)
        threads = self.threads or torch.get_num_threads()
        made = Provenance(
            device=name,
            versions=versions(),
            **msgspec.structs.asdict(code()),
            started=now(),
            seconds=0.0,
            threads=threads,
            engine="",
        )
        return Found(device=name, precision=self.precision, threads=threads, provenance=made)

    @contextmanager
    def _shown(self, found: Found, begun: float) -> Iterator[None]:
        """Whatever ends the measuring, show and keep what is there."""
        try:
            yield
        except KeyboardInterrupt:
            found.stopped = True
            raise StoppedError("stopped; what was timed until then is shown and kept") from None
        finally:
            seconds = round(time.perf_counter() - begun, 1)
            found.provenance = msgspec.structs.replace(found.provenance, seconds=seconds)
            self._show(found)

    def _show(self, found: Found) -> None:
        if self.as_json:
            print_json(found_entry(found))
        else:
            print_found(self.console, found)
        if self.out:
            write_atomically(self.out, csv_text(found).encode())
            self.progress.print(f"written: {self.out}", markup=False)

    @contextmanager
    def _telling(self) -> Iterator[Callable[[str], None]]:
        """Say what is going on: below everything on a terminal, else in lines."""
        if not self.progress.is_terminal:
            yield lambda what: self.progress.print(what, markup=False)
            return
        with self.progress.status("starting") as status:
            yield lambda what: status.update(escape(what))


MOST = {"rounds": 10_000, "steps": 1_000_000, "seconds": 86_400}
"""Longest that is measured: a day for each engine with each method."""


def _refuse_lengths(lengths: Lengths) -> None:
    for name, most in MOST.items():
        value = getattr(lengths, name)
        if value is not None and not 0 < value <= most:
            shown = shortened(value) if isinstance(value, int) else f"{value:g}"
            raise UsageError(f"--{name} is {shown}", f"Set --{name} above 0, to at most {most:,}.")


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
