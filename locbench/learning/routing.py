"""Which gradient reaches which local module. Each routing runs one batch and leaves the gradients
behind.

All of them free a module's graph as soon as its backward pass is done: that is what local learning
saves memory by.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from locbench.learning.autograd import backward_releasing, backward_through, frozen_running_stats
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.modules import LocalModules
from locbench.spec.components import AnyRouting, Cascade, Checkpointed


@dataclass(frozen=True)
class StepOutput:
    """What a step reports; tensors stay on the device.

    Attributes:
        losses: the loss of every local module, first to last.
        logits: class scores of the network, B x classes.
    """

    losses: Tensor
    logits: Tensor


def isolated(learner: LocalModules, images: Tensor, targets: Targets) -> StepOutput:
    """Train every module by its own loss; with one module this is backpropagation."""
    losses, x = [], images
    for index in range(learner.modules_count - 1):
        loss, x = train_module(learner, index, x, targets)
        losses.append(loss)
    return with_top(losses, learner.run_module(learner.modules_count - 1, x), targets)


def train_module(
    learner: LocalModules, index: int, x: Tensor, targets: Targets
) -> tuple[Tensor, Tensor]:
    """Train one local module below the top by its own loss; its graph is gone on return.

    Returns:
        The loss, and the module's output, detached.
    """
    h, features = learner.run_module_from(index, x)
    leaf = h.detach().requires_grad_()
    loss = learner.independent(index, leaf, targets.with_features(features))
    del features
    backward_through(h, leaf)
    return loss, leaf.detach()


def end_to_end(learner: LocalModules, images: Tensor, targets: Targets) -> StepOutput:
    """Train the backbone by the network's loss alone, and each auxiliary net on detached features
    (PGL's global phase).

    An auxiliary net's graph is gone before the next module runs, so the peak is that of
    backpropagation and a little.
    """
    weights = Weights.of(learner.composition.routing)
    losses, x = [], images
    for index in range(learner.modules_count - 1):
        x, features = learner.run_module_from(index, x)
        wanted = targets.with_features(features)
        losses.append(losses_at(learner, index, x, wanted, weights, gradients=False)[0])
        del features, wanted
    return with_top(losses, learner.run_module(learner.modules_count - 1, x), targets)


def checkpointed(
    learner: LocalModules, images: Tensor, targets: Targets, options: Checkpointed
) -> StepOutput:
    """Backpropagation that keeps only the inputs of segments of residual blocks and runs each
    segment twice.

    The second run, in the backward pass, leaves BatchNorm's running statistics alone.
    """
    stem, *blocks = learner.chain.units
    segments = options.segments or len(blocks)
    x = stem(images)
    for segment in _segments(blocks, segments):
        x = checkpoint(
            _run_in_order, segment, x, use_reentrant=False, context_fn=partial(_contexts, segment)
        )
    return with_top([], learner.chain.head(x), targets)


@dataclass(frozen=True)
class Weights:
    """Effective weights of the two levels; a level that trains alone has weight 1."""

    independent: float
    cascade: float
    skip_first: bool

    @classmethod
    def of(cls, options: AnyRouting) -> Weights:
        """Read them off the options; without levels there are independent losses alone."""
        if not isinstance(options, Cascade):
            return cls(1.0, 0.0, False)
        if options.levels == "IL+CL":
            return cls(options.independent_weight, options.cascade_weight, options.official_edges)
        alone = options.levels == "IL"
        return cls(float(alone), float(not alone), options.official_edges)


def with_top(losses: list[Tensor], logits: Tensor, targets: Targets) -> StepOutput:
    """Back-propagate the network's own loss, and return it after the modules' losses."""
    loss = F.cross_entropy(logits, targets.labels if targets.mixed is None else targets.mixed)
    loss.backward()  # type: ignore[no-untyped-call]
    return StepOutput(torch.stack([*losses, loss.detach()]), logits.detach())


def losses_at(
    learner: LocalModules,
    index: int,
    h: Tensor,
    targets: Targets,
    weights: Weights,
    *,
    gradients: bool = True,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Train a module's auxiliary nets.

    Returns:
        Its weighted loss, and if ``gradients`` are wanted the independent and the cascade one with
        respect to ``h``.
    """
    loss = h.new_zeros(())
    independent_grad = cascade_grad = None
    if weights.independent and not (index == 0 and weights.skip_first):
        leaf = h.detach().requires_grad_(gradients)
        loss = loss + weights.independent * learner.independent(
            index, leaf, targets, weights.independent
        )
        independent_grad = leaf.grad
    if index > 0 and weights.cascade:
        leaf = h.detach().requires_grad_(gradients)
        loss = loss + weights.cascade * learner.cascade(index, leaf, targets, weights.cascade)
        cascade_grad = leaf.grad
    return loss, independent_grad, cascade_grad


def _segments(blocks: list[torch.nn.Module], count: int) -> list[list[torch.nn.Module]]:
    """Cut a list into ``count`` consecutive runs, the first ones one longer where it does not
    divide.
    """
    size, longer = divmod(len(blocks), count)
    cuts = [index * size + min(index, longer) for index in range(count + 1)]
    return [blocks[start:end] for start, end in pairwise(cuts) if end > start]


def _contexts(
    units: list[torch.nn.Module],
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return what surrounds a segment's first and second run."""
    return nullcontext(), frozen_running_stats(*units)


def _run_in_order(units: list[torch.nn.Module], x: Tensor) -> Tensor:
    for unit in units:
        x = unit(x)
    return x


Finished = Callable[[int], None]
"""Told a module's index when its gradients, its auxiliary nets' included, are complete.

May use and free them.
"""


def isolated_lean(
    learner: LocalModules, images: Tensor, targets: Targets, finished: Finished | None = None
) -> StepOutput:
    """Train every module by its own loss, its forward pass run once for its auxiliary nets and once
    for itself.

    During the auxiliary nets' backward pass only the module's input and output are there. The
    second forward pass leaves BatchNorm's running statistics alone; it must give what the first
    gave, so a module may not draw random numbers. The last module has no auxiliary net and runs
    once.
    """
    finished = finished or _keep
    losses, x = [], images
    top = learner.modules_count - 1
    for index in range(top):
        leaf, features = _first_run(learner, index, x)
        losses.append(learner.independent(index, leaf, targets.with_features(features)))
        gradient = [leaf.grad]
        del leaf, features
        with frozen_running_stats(*learner.module_units(index)):
            h = learner.run_module(index, x)
        x = h.detach()
        backward_releasing(h, gradient)
        del h
        finished(index)
    output = with_top(losses, learner.run_module(top, x), targets)
    finished(top)
    return output


def _first_run(learner: LocalModules, index: int, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return a module's output as a leaf that gathers its gradient, and its input features if they
    are wanted.
    """
    with torch.no_grad():
        h, features = learner.run_module_from(index, x)
    torch.clear_autocast_cache()  # weights cast without a graph would serve the second run too
    return h.requires_grad_(), features


def _keep(_: int) -> None:
    return None
