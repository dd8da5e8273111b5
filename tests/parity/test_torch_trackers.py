"""Memory and operations as torch's own trackers count them.

`MemTracker` keeps its own account of storages, and `FlopCounterMode` counts by operation what
locbench counts by layer. Neither shares code with ours.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from specimens import recipe_of
from torch import Tensor
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils.flop_counter import FlopCounterMode

from locbench.costs.counts import flops_by_part
from locbench.costs.memory import tracker
from locbench.costs.memory.options import TraceOptions
from locbench.costs.memory.trace import trace_step
from locbench.datasets.catalogue import info
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.learner import Learner, build_learner
from locbench.networks.chain import build_chain
from locbench.networks.flops import forward_flops
from locbench.spec.networks import NETWORKS
from locbench.spec.recipe import Recipe
from locbench.training.optimizer import ModuleSGD, make_optimizer

STEPS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("resnet14", "bp", {}, {}),
    ("resnet14", "bp", {}, {"memory": "lean"}),
    ("resnet14", "bp+checkpointed", {"segments": 2}, {}),
    ("resnet14", "dgl", {}, {}),
    ("resnet14", "dgl", {}, {"memory": "lean"}),
    ("resnet14", "predsim", {}, {}),
    ("resnet14", "infopro", {}, {}),
    ("resnet14", "auglocal", {"depth": 3}, {}),
    ("resnet14", "pff+dgl", {}, {}),
    ("resnet14", "hpff+dgl", {}, {}),
    ("resnet14", "hpff+dgl", {"engine": "recompute"}, {}),
    ("resnet14", "pgl+head", {}, {}),
    ("vgg13-narrow", "dgl", {}, {}),
    ("mobilenetv2-narrow", "infopro", {}, {}),
    ("swin-micro", "swin-reconstruction", {}, {"optimizer": "adamw"}),
]


def learner_and_batch(recipe: Recipe) -> tuple[Learner, Tensor, Targets]:
    learner = build_learner(recipe, info(recipe.dataset).classes, recipe.side)
    images = torch.zeros(recipe.batch_size, 3, recipe.side, recipe.side)
    labels = torch.zeros(recipe.batch_size, dtype=torch.int64)
    return learner, images, Targets(labels, torch.zeros_like(images))


def torchs_peak(recipe: Recipe, *, guided: bool) -> int:
    """Return the peak of a second real step by torch's tracker, without rounding, in bytes.

    Its hooks on modules stay out: they hold a module's output after its own backward pass, which
    local learning frees, and refuse modules that are run twice. Its account of storages needs none.
    """
    learner, images, targets = learner_and_batch(recipe)
    optimizer = make_optimizer(learner, recipe)
    finished = optimizer.step_module if isinstance(optimizer, ModuleSGD) else None
    with_pixels = recipe.augmentation == "standard" or learner.restores_image
    assert targets.pixels is not None
    inputs = [images, targets.labels, *([targets.pixels] if with_pixels else [])]

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        learner.step(images, targets, guided=guided, finished=finished)
        optimizer.step()

    step()
    account = MemTracker()
    account._mod_tracker = MagicMock(is_bw=False)
    account.track_external(learner, optimizer, *inputs)
    with account:
        step()
    peak: int = account.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    return peak


@pytest.mark.parametrize(
    ("network", "method", "options", "settings", "guided"),
    [*((*step, False) for step in STEPS), ("resnet14", "pgl+head", {}, {}, True)],
    ids=str,
)
def test_peaks_are_those_of_torchs_memory_tracker(
    network: str,
    method: str,
    options: dict[str, Any],
    settings: dict[str, Any],
    guided: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracker, "GRANULE", 1)  # torch rounds up on CUDA alone
    recipe = recipe_of(method, options, network=network, **settings)
    step = trace_step(recipe, TraceOptions(guided=guided, fake=False))
    assert step.peak == torchs_peak(recipe, guided=guided)


NETS = [name for name in NETWORKS if not name.endswith("-narrow")]


@pytest.mark.parametrize("name", NETS)
def test_operations_of_networks_are_those_of_torchs_counter(name: str) -> None:
    """Torch counts two per multiply-accumulate, and neither BatchNorm nor pooling."""
    transformer = NETWORKS[name].transformer
    side = transformer.side if transformer else 32
    with torch.device("meta"):
        chain, image = build_chain(name, 10, side).eval(), torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        chain(image)
    counted = forward_flops(lambda: build_chain(name, 10, side), (3, side, side))
    assert 2 * counted.macs == counter.get_total_flops()


@pytest.mark.parametrize(
    ("method", "options"),
    [("dgl", {}), ("head", {}), ("auglocal", {"depth": 3}), ("pgl+auglocal", {"depth": 4})],
)
def test_operations_of_auxiliary_nets_are_those_of_torchs_counter(
    method: str, options: dict[str, Any]
) -> None:
    """A linear layer takes as much forward as for each of its two gradients.

    Convolutions backward are an operation of their own. Methods whose losses multiply matrices, and
    those with nets of weight 0, which are not run, do not add up so simply.
    """
    recipe = recipe_of(method, options, network="resnet14")
    learner, images, targets = learner_and_batch(recipe)
    with FlopCounterMode(display=False) as counter:
        learner.step(images, targets)
    counts = {str(name): flops for name, flops in counter.get_flop_counts()["Global"].items()}
    linear = counts["aten.addmm"] + counts["aten.mm"]
    parts = flops_by_part(recipe)
    macs = parts.network.macs + parts.heads.macs + parts.extra.macs
    assert 2 * macs * recipe.batch_size == counts["aten.convolution"] + linear / 3
