"""A check of a device's engine and memory before hours are spent."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console

from locbench.console import remark
from locbench.errors import FailureError
from locbench.execution.config import ExecutionConfig
from locbench.files import file_name
from locbench.results.json_store import JsonStore
from locbench.results.provenance import code, now, versions

if TYPE_CHECKING:
    import torch

    from locbench.spec.choices import EngineName
    from locbench.spec.recipe import Recipe

TOLERANCE = 1e-9
"""Largest difference of a weight or a statistic after three float64 steps, relative to the largest
of its tensor.
"""

CLOSE = 0.02
"""Share by which measured memory may differ without a word: from the prediction, and from what is
known of its deviation.
"""

METHODS: tuple[tuple[str, Mapping[str, object]], ...] = (
    ("bp", {}),
    ("dgl", {}),
    ("auglocal", {"depth": 2}),
    ("hpff+dgl", {}),
    ("pgl+dgl", {}),
)


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        name: what.
        found, expected: two numbers that should agree; of engines, the difference and its bound.
        passed: whether they do.
    """

    name: str
    found: float
    expected: float
    passed: bool

    @property
    def line(self) -> str:
        """The check in words."""
        word = "ok" if self.passed else "NOT as expected"
        if self.name.startswith("memory"):
            share = self.found / self.expected - 1
            both = f"{self.found / 1e9:.3f} GB measured, {self.expected / 1e9:.3f} predicted"
            return f"{self.name}: {both} ({share:+.1%}): {word}"
        return f"{self.name}: differs from eager by {self.found:.1e} after three steps: {word}"


def check_devices(config: ExecutionConfig, console: Console) -> None:
    """Check each device, print the result and keep it below ``checks`` of the results folder.

    Raises:
        FailureError: the engine computes other numbers than eager steps, or gave up.
        UsageError: there is no such device, or the engine cannot run there.
    """
    from locbench.training.device import choose_device, device_name

    for name in dict.fromkeys(config.devices):
        device, begun = choose_device(name), time.monotonic()
        checks = [*engine_checks(device, config.engine), *memory_checks(device)]
        console.print(
            f"{device_name(device)}, looked at in {time.monotonic() - begun:.0f} s:", markup=False
        )
        for check in checks:
            console.print(f"  {check.line}", markup=False, soft_wrap=True, highlight=False)
        if device.type == "cpu":
            console.print("  memory: not measured on the CPU", markup=False)
        _keep(config.results, f"{device_name(device)} ({device})", checks)
        if not all(check.passed for check in checks if check.name.startswith("engine")):
            raise FailureError(
                f"the engine is not as expected on {device_name(device)}", "Use --engine eager."
            )


def engine_checks(device: torch.device, engine: str) -> Iterator[Check]:
    """Yield, per method, the largest difference between the engine's and eager steps in float64.

    None for eager.
    """
    from locbench.training.distributed import SINGLE_PROCESS
    from locbench.training.engine import choose_engine

    for method, options in METHODS:
        recipe = _recipe("resnet8", method, options, batch_size=16)
        chosen = choose_engine(engine, recipe, device, SINGLE_PROCESS)
        if chosen != "eager":
            weights, ran = _stepped(recipe, device, chosen)
            difference = _difference(weights, _stepped(recipe, device, "eager")[0])
            word = f"engine {chosen}" if ran == chosen else f"engine {chosen} (gave up, ran {ran})"
            same = difference <= TOLERANCE and ran == chosen
            yield Check(f"{word}, {method}", difference, TOLERANCE, same)


def memory_checks(device: torch.device) -> Iterator[Check]:
    """Yield, per method, measured and predicted peak memory of a ResNet-32 step.

    Nothing on the CPU.
    """
    if device.type != "cuda":
        return
    from locbench.costs.measured.measure import measure
    from locbench.costs.memory.deviations import deviation_of
    from locbench.costs.memory.trace import peak_bytes

    for method, options in METHODS[:4]:
        recipe = _recipe("resnet32", method, options, batch_size=256)
        deviation = deviation_of(recipe)
        measurement = measure(recipe, device, steps=3, warmup=2)
        if measurement.error:
            raise FailureError(
                f"a step of {method} failed: {measurement.error}", "Choose another device."
            )
        expected = peak_bytes(recipe)
        # cuBLAS's workspaces are no tensors.
        measured = measurement.allocated_bytes - measurement.occupied_bytes
        close = deviation.least - CLOSE <= measured / expected <= deviation.most + CLOSE
        yield Check(f"memory, {method}", measured, expected, close)


def _recipe(network: str, method: str, options: Mapping[str, object], batch_size: int) -> Recipe:
    from locbench.spec.validation import make_recipe

    settings: dict[str, Any] = {
        "network": network,
        "dataset": "cifar10",
        "method": method,
        "options": dict(options),
    }
    # A graph reads the rate in float32, which holds this one whole.
    return make_recipe(settings | {"epochs": 160, "batch_size": batch_size, "lr": 0.125})


def _stepped(
    recipe: Recipe, device: torch.device, engine: EngineName
) -> tuple[list[torch.Tensor], str]:
    """Return all weights and statistics after three steps, and which engine took them.

    The second step is guided where a method has phases.
    """
    import torch

    from locbench.spec.components import Periodic
    from locbench.training.probe import ProbeStep

    probe = ProbeStep(recipe, device, engine, dtype=torch.float64)
    for step in range(3):
        probe.draw_batch(seed=step)
        probe.guided = step == 1 and isinstance(recipe.composition.phases, Periodic)
        probe()
    everything = [*probe.learner.parameters(), *probe.learner.buffers()]
    return [tensor.detach().double().clone() for tensor in everything], probe.engine.name


def _difference(computed: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    return max(
        float((one - other).abs().max() / other.abs().max().clamp_min(1e-3))
        for one, other in zip(computed, expected, strict=True)
    )


def _keep(results: Path, device: str, checks: list[Check]) -> None:
    entry: dict[str, Any] = {"device": device, "versions": versions()} | msgspec.structs.asdict(
        code()
    )
    entry |= {"at": now(), "checks": checks}
    store = JsonStore(results / "checks", dict[str, Any])
    unkept = store.keep(store.folder / file_name([device], ".json"), entry)
    remark(*([f"The check of the device is not kept: {unkept}"] if unkept else []))
