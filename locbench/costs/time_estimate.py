"""The time of a run by counted operations and a measured rate."""

from __future__ import annotations

import time

import msgspec
import torch
import torch.nn.functional as F

from locbench.costs.counts import flops_by_part
from locbench.costs.measured.step_meter import meter_of, switches
from locbench.costs.measured.table import baseline
from locbench.datasets.catalogue import info
from locbench.networks.chain import build_chain
from locbench.networks.flops import forward_flops
from locbench.spec.components import Cascade, Checkpointed
from locbench.spec.recipe import Recipe, without_schedule
from locbench.training.device import memory_layout
from locbench.training.distributed import SINGLE_PROCESS
from locbench.training.engine import choose_engine
from locbench.training.probe import PROBE_RATE, ProbeStep

RATED_STEPS = 5
"""Steps of a recipe that are timed; the fastest counts."""


def estimated_seconds(recipe: Recipe, macs_per_second: float) -> float:
    """Return the time of a run by the operations of its training and test images.

    A rough figure: launches of many small kernels take longer.
    """
    data = info(recipe.dataset)
    train = min(recipe.train_limit or data.train_size, data.train_size)
    test = min(recipe.test_limit or data.test_size, data.test_size)
    tests = -(-recipe.epochs // recipe.test_every)
    network = flops_by_part(recipe).network.macs
    return (
        training_macs(recipe) * train * recipe.epochs + network * test * tests
    ) / macs_per_second


def training_macs(recipe: Recipe) -> int:
    """Return the multiply-accumulates of training on one image.

    A backward pass counts as two forward ones. Checkpointing and lean memory run the network
    forward once more; HPFF's cascade carries a gradient to each module's input besides, or runs
    forward and backward once per loss; two-pass patch fusion runs the auxiliary nets once more.
    """
    parts, composition = flops_by_part(recipe), recipe.composition
    patches = composition.patches is not None and composition.patches.passes == "two"
    auxiliary = (3 + patches) * (parts.heads.macs + parts.extra.macs)
    return _network_passes(recipe) * parts.network.macs + auxiliary


def _network_passes(recipe: Recipe) -> int:
    routing = recipe.composition.routing
    if isinstance(routing, Cascade) and "CL" in routing.levels:
        return 4 if routing.engine == "reuse" else 6 + 3 * ("IL" in routing.levels)
    return 4 if isinstance(routing, Checkpointed) or recipe.memory == "lean" else 3


def measured_rate(
    device: torch.device, recipe: Recipe | None = None, seconds: float = 0.5
) -> float:
    """Return multiply-accumulates per second of training steps on a device.

    Args:
        device: where.
        recipe: whose steps are timed, on half the batch and so on where memory is short; see
            `rated_by`. None and what does not fit at all are a small network's.
        seconds: of timing the small network.
    """
    batch_size = 0 if recipe is None else recipe.batch_size
    while recipe is not None and batch_size > 1:  # a single image has no statistics
        try:
            return _rate_of(msgspec.structs.replace(recipe, batch_size=batch_size), device)
        except torch.OutOfMemoryError:
            batch_size //= 2
    return _rate_of_small_network(device, seconds)


def rated_by(recipe: Recipe, device: torch.device) -> Recipe | None:
    """Return the recipe by whose steps a run's time is estimated; None means a small network's.

    On a CUDA device it is backpropagation on the same network and batch in the same precision, a
    detector's backbone in its place: a small network does not occupy the device. On the CPU a small
    one tells as much, and is quick.
    """
    if device.type != "cuda":
        return None
    plain = baseline(recipe.backbone or recipe)
    return without_schedule(plain, lr=PROBE_RATE, precision=recipe.precision)


def _rate_of(recipe: Recipe, device: torch.device) -> float:
    """Return the rate of a recipe's steps as they are usually run on a device."""
    meter = meter_of(device)
    with switches(device, benchmark=False):
        meter.start()
        engine = choose_engine("auto", recipe, device, SINGLE_PROCESS)
        step = ProbeStep(recipe, device, engine)
        step()
        milliseconds = min(meter.milliseconds(step, RATED_STEPS))
    return training_macs(recipe) * recipe.batch_size / (milliseconds / 1000)


def _rate_of_small_network(device: torch.device, seconds: float) -> float:
    """Return the rate of ResNet-8's steps.

    On the CPU the process's own time counts, divided among torch's threads: other work makes it
    wait, no slower.
    """
    on_cpu = device.type == "cpu"
    clock, threads = (
        (time.process_time, torch.get_num_threads()) if on_cpu else (time.perf_counter, 1)
    )
    layout = memory_layout("fp32", device)
    chain = build_chain("resnet8", 10, 32).to(device, memory_format=layout)  # type: ignore[call-overload]
    images = torch.randn(64, 3, 32, 32, device=device).contiguous(memory_format=layout)
    labels = torch.zeros(64, dtype=torch.int64, device=device)
    macs = forward_flops(lambda: build_chain("resnet8", 10, 32), (3, 32, 32)).macs * 3 * len(images)
    times: list[float] = []
    while len(times) < 5 or sum(times) < seconds * threads:
        begun = clock()
        F.cross_entropy(chain(images), labels).backward()  # type: ignore[no-untyped-call]
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(clock() - begun)
    fastest = min(times)  # the first steps warm up, others may be disturbed by other work
    return macs * threads / fastest
