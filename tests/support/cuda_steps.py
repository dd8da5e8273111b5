"""What training steps ask of a CUDA device, observed on the stand-in; one JSON object a line."""

from __future__ import annotations

import gc
import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from cuda_standin import counts, reset

from locbench.costs.measured.step_meter import CudaMeter
from locbench.costs.memory.options import TraceOptions, phase_options
from locbench.costs.memory.trace import peak_bytes
from locbench.spec.recipe import Recipe
from locbench.spec.validation import make_recipe
from locbench.training.distributed import SINGLE_PROCESS
from locbench.training.engine import choose_engine
from locbench.training.probe import ProbeStep

_BATCH = 256
"""So large that blocks of 512 bytes, which the allocator hands out, do not count."""

_SWIN: dict[str, Any] = {
    "network": "swin-micro",
    "modules": 4,
    "image_size": 64,
    "batch_size": 64,
    "optimizer": "adamw",
    "clip_norm": 5.0,
    "drop_path": 0.2,
}

RECIPES: dict[str, dict[str, Any]] = {
    "bp": {"method": "bp"},
    "checkpointed": {"method": "checkpointed+bp"},
    "lean": {"method": "dgl", "memory": "lean"},
    "bf16": {"method": "dgl", "precision": "bf16"},
    "bp bf16": {"method": "bp", "precision": "bf16"},
    "dgl": {"method": "dgl"},
    "dgl official": {"method": "dgl", "options": {"variant": "official"}},
    "dgl cnn": {"method": "dgl", "options": {"variant": "cnn"}},
    "head": {"method": "head"},
    "head contrast": {"method": "head", "options": {"net": "2C2F", "loss": "contrast"}},
    "predsim": {"method": "predsim"},
    "infopro": {"method": "infopro"},
    "infopro bf16": {"method": "infopro", "precision": "bf16"},
    "auglocal": {"method": "auglocal"},
    "pgl": {"method": "pgl+head", "options": {"net": "adapt"}},
    "hpff": {"method": "hpff+dgl"},
    "pff": {"method": "pff+dgl"},
    "pff retain": {"method": "pff+dgl", "options": {"passes": "retain"}},
    "reconstruction": {"method": "reconstruction+dgl"},
    "similarity": {"method": "similarity+dgl"},
    "swin-greedy": {"method": "swin-greedy", **_SWIN},
    "swin-contrast": {"method": "swin-contrast", **_SWIN},
    "swin-infopro": {"method": "swin-infopro", **_SWIN},
    "swin-reconstruction": {"method": "swin-reconstruction", **_SWIN},
    "vgg19": {"method": "dgl", "network": "vgg19-narrow", "modules": 4},
    "mobilenetv2": {"method": "dgl", "network": "mobilenetv2-narrow", "modules": 4},
    "efficientnet": {"method": "dgl", "network": "efficientnet-b0-narrow", "modules": 4},
    "regnet": {"method": "dgl", "network": "regnetx-400mf-narrow", "modules": 4},
    "resnet34": {"method": "dgl", "network": "resnet34-narrow", "modules": 4},
    "vgg13": {"method": "bp", "network": "vgg13-narrow", "image_size": 64, "batch_size": 64},
}
"""Every registered method, and a network of every kind."""


def recipe_named(name: str) -> Recipe:
    """Return a recipe of `RECIPES`."""
    defaults = {"network": "resnet8", "dataset": "cifar10", "epochs": 160, "lr": 0.1}
    return make_recipe(defaults | {"batch_size": _BATCH} | RECIPES[name])


@contextmanager
def observed(found: dict[str, Any]) -> Iterator[None]:
    """Write down what is asked of the device, and refuse to wait for it."""
    torch.cuda.set_sync_debug_mode("error")
    reset()
    try:
        yield
    finally:
        found.update(counts())
        torch.cuda.set_sync_debug_mode("default")


def eager(recipe: Recipe, setting: TraceOptions, device: torch.device) -> dict[str, Any]:
    """Return what a third step asks for, and the allocator's peak in a fourth."""
    found: dict[str, Any] = {}
    meter = CudaMeter(device)
    occupied = meter.start()
    step = ProbeStep(recipe, device, guided=setting.guided)
    step()
    step()
    with observed(found):
        step()
    meter.end_warmup()
    step()
    peak = meter.peaks(step, step.resident_bytes).allocated - occupied
    return found | {"peak": peak, "predicted": peak_bytes(recipe, setting)}


def graphed(recipe: Recipe, setting: TraceOptions, device: torch.device) -> dict[str, Any]:
    """Return what a capture asks for, and of a replay what it does."""
    found: dict[str, Any] = {}
    gc.collect()
    step = ProbeStep(recipe, device, "graphed", guided=setting.guided)
    reset()
    with warnings.catch_warnings(record=True) as warned:
        step()
    captured = counts()
    step()
    with observed(found):
        step()
    said = [str(warning.message) for warning in warned]
    seen = {"engine": step.engine.name, "capture": captured, "replay": found, "warned": said}
    return seen | {"restores image": step.learner.restores_image}


def main(names: list[str]) -> None:
    """Take the steps of recipes and print what they ask for."""
    device = torch.device("cuda", 0)
    for name in names:
        recipe = recipe_named(name)
        for setting in phase_options(recipe, TraceOptions(keep_gradients=False)):
            entry: dict[str, Any] = {"name": name, "guided": setting.guided}
            try:
                entry["eager"] = eager(recipe, setting, device)
                if choose_engine("auto", recipe, device, SINGLE_PROCESS) == "graphed":
                    entry["graphed"] = graphed(recipe, setting, device)
            except Exception as error:  # one recipe must not hide the others
                entry["error"] = f"{type(error).__name__}: {error}"
            print(json.dumps(entry), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(RECIPES))
