"""What a step's memory depends on besides the recipe."""

from __future__ import annotations

import hashlib

import msgspec

from locbench.spec.components import Periodic
from locbench.spec.recipe import Recipe, without_schedule


class TraceOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a step's memory depends on besides the recipe.

    Attributes:
        batch_size: images per step; None takes the recipe's.
        side: side of the images in pixels; None takes the data set's.
        classes: number of classes; None takes the data set's.
        guided: trace a step of PGL's global phase.
        keep_gradients: gradients stay allocated between steps, as PyTorch before 2.0 did by
            default; without it they are freed before the next step, as locbench's loop does.
        kept_softmax: softmax keeps its input for the backward pass, as up to torch 1.10.
        ddp_buckets: one more copy of all parameters, as DistributedDataParallel's gradient buckets
            are.
        fake: trace on fake tensors; without it the step really runs, on the CPU.
    """

    batch_size: int | None = None
    side: int | None = None
    classes: int | None = None
    guided: bool = False
    keep_gradients: bool = True
    kept_softmax: bool = False
    ddp_buckets: bool = False
    fake: bool = True


def legacy(setting: TraceOptions) -> TraceOptions:
    """Return the options of training in 2022: torch up to 1.10, several processes."""
    return msgspec.structs.replace(setting, kept_softmax=True, ddp_buckets=True)


def phase_options(
    recipe: Recipe, options: TraceOptions = TraceOptions()
) -> tuple[TraceOptions, ...]:
    """Return the options of each kind of step: with PGL's phases of a local and of a global one."""
    if not isinstance(recipe.composition.phases, Periodic):
        return (options,)
    return (options, msgspec.structs.replace(options, guided=True))


def measured_part(setting: TraceOptions) -> TraceOptions:
    """Return the options that decide a real step; the others say how a step is traced."""
    names = ("batch_size", "side", "classes", "guided", "keep_gradients")
    return TraceOptions(**{name: getattr(setting, name) for name in names})


def step_words(recipe: Recipe, setting: TraceOptions) -> list[str]:
    """Return the words of a step's file name: readable ones, and last the key of the step."""
    content = without_schedule(recipe).key.encode() + msgspec.json.encode(
        setting, order="deterministic"
    )
    words = [recipe.network, recipe.dataset, f"b{setting.batch_size or recipe.batch_size}"]
    return [
        *words,
        *(["guided"] if setting.guided else []),
        hashlib.sha256(content).hexdigest()[:12],
    ]
