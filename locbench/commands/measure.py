"""Measuring of a table's costs for `locbench table`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from locbench.costs.measured.store import Measurement, MeasurementStore
from locbench.costs.measured.table import Variant, cost_cells
from locbench.errors import StoppedError
from locbench.spec.selection import RunOptions
from locbench.spec.tables import Table
from locbench.terminal.lines import say

if TYPE_CHECKING:
    import torch

    from locbench.costs.measured.measure import PlannedStep


class Measuring:
    """The measurements of one table on one device.

    Args:
        table: the selected part of the table.
        measurements: where measurements are kept.
        device: the device's name, as on the command line.
        options: what the user asked of the table's runs; precision and memory go for measured steps
            too.
        asked: whether the user asked to measure or not to; None measures a whole table's own
            recipes on CUDA.
        rerun: ``failed`` or ``all`` measures again what is there.
    """

    def __init__(
        self,
        table: Table,
        measurements: MeasurementStore,
        device: str,
        options: RunOptions,
        *,
        asked: bool | None = None,
        rerun: str | None = None,
    ) -> None:
        self.table, self.measurements, self.name = table, measurements, device
        self.options, self.asked, self.rerun = options, asked, rerun
        self.variant = Variant(options.memory, options.precision)

    @property
    def wanted(self) -> bool:
        """Whether there is anything to measure; unasked, only whole runs on CUDA."""
        if self.asked is False or not cost_cells(self.table):
            return False
        reduced = (
            self.options.preset != "paper"
            or self.options.epochs is not None
            or self.options.limit is not None
        )
        return True if self.asked else not reduced and self._device().type == "cuda"

    def plan_line(self) -> str:
        """Return how much is left to measure, in a line for the plan.

        Empty where nothing is wanted.
        """
        if not self.wanted:
            return ""
        from locbench.costs.measured.measure import planned_steps

        count = len(planned_steps(self.table, self._device(), self.variant))
        return (
            f"Costs on this device: {count} kinds of steps to be measured, "
            f"{self._left()} of them to do."
        )

    def run(self, console: Console) -> None:
        """Measure what is missing and say so; each measurement is kept as soon as it exists.

        Raises:
            StoppedError: the user stopped it; what was measured is kept.
            LocbenchError: see `measure_table`.
        """
        from locbench.costs.measured.measure import measure_table
        from locbench.training.device import device_name

        device, left = self._device(), self._left()
        if left:
            say(console, f"measuring costs on {device_name(device)}: {left} steps")
        log = MeasureLog(console)
        try:
            with log.status:
                measure_table(
                    self.table,
                    self.measurements,
                    device,
                    variant=self.variant,
                    rerun=self.rerun,
                    listener=log,
                )
        except KeyboardInterrupt:
            raise StoppedError(
                f"stopped: {log.done} of {log.count} new measurements are recorded",
                f"To go on: locbench table {self.table.id} with the same options.",
            ) from None
        finally:
            for fault in self.measurements.lines:
                say(console, fault)

    def _left(self) -> int:
        from locbench.costs.measured.measure import missing_steps

        return len(
            missing_steps(self.table, self.measurements, self._device(), self.variant, self.rerun)
        )

    def _device(self) -> torch.device:
        from locbench.training.device import choose_device

        return choose_device(self.name)


class MeasureLog:
    """One line per measurement; on a terminal, what is being measured stands below.

    Attributes:
        done, count: measurements so far, and to be made.
    """

    def __init__(self, console: Console) -> None:
        self.console, self.status, self.what = console, console.status("measuring"), ""
        self.done = self.count = 0

    def measuring(self, step: PlannedStep, index: int, count: int) -> None:
        """Note what is being measured."""
        self.count, recipe = count, step.recipe
        words = (
            recipe.method,
            "global step" if step.setting.guided else "",
            recipe.memory if recipe.memory != "plain" else "",
            recipe.precision if recipe.precision != "fp32" else "",
            "benchmark" if step.benchmark else "",
        )
        self.what = f"[{index}/{count}] {step.row}, {step.column}: {', '.join(filter(None, words))}"
        self.status.update(escape(self.what))

    def measured(self, measurement: Measurement) -> None:
        """Print the result."""
        self.done += 1
        result = measurement.error or (
            f"{measurement.allocated_bytes / 1e9:.3f} GB allocated, "
            f"{measurement.milliseconds:.1f} ms per step"
        )
        say(self.console, f"{self.what}: {result}")
