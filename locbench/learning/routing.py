"""One training step of local modules, by which gradient reaches which module.

Each routing runs one batch and leaves the gradients behind. All but those that train the network
end to end free a module's graph as soon as its backward pass is done: that is what local learning
saves memory by. HPFF's routing is in `cascade`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from locbench.learning.autograd import backward_releasing, backward_through, frozen_running_stats
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.modules import LocalModules
from locbench.spec.components import AnyRouting, Cascade, Checkpointed

Finished = Callable[[int], None]
"""Is given a module's index when its gradients, its auxiliary nets' included, are complete.

May use and free them.
"""


@dataclass(frozen=True)
class StepOutput:
    """What a step reports; tensors stay on the device.

    Attributes:
        losses: the loss of every local module, first to last.
        logits: class scores of the network, B x classes.
    """

    losses: Tensor
    logits: Tensor


@dataclass(frozen=True)
class LevelWeights:
    """Effective weights of the two levels of losses; a level that trains alone has weight 1.

    Attributes:
        independent: of each module's own loss.
        cascade: of the losses of HPFF's windows.
        skip_first: whether the first module has no loss of its own.
    """

    independent: float
    cascade: float
    skip_first: bool

    @classmethod
    def of(cls, routing: AnyRouting) -> LevelWeights:
        """Return a routing's weights; without levels there are independent losses alone."""
        if not isinstance(routing, Cascade):
            return cls(1.0, 0.0, False)
        if routing.levels == "IL+CL":
            return cls(routing.independent_weight, routing.cascade_weight, routing.official_edges)
        alone = routing.levels == "IL"
        return cls(float(alone), float(not alone), routing.official_edges)


def isolated(learner: LocalModules, images: Tensor, targets: Targets) -> StepOutput:
    """Train every module by its own loss; with one module this is backpropagation."""
    losses, x = [], images
    top = learner.modules_count - 1
    for index in range(top):
        loss, x = train_module(learner, index, x, targets)
        losses.append(loss)
    return train_top(losses, learner.run_module(top, x), targets)


def isolated_lean(
    learner: LocalModules, images: Tensor, targets: Targets, finished: Finished | None = None
) -> StepOutput:
    """Train as `isolated` does, and run every module but the last forward twice.

    The first run is for the module's auxiliary nets, the second for itself: during the auxiliary
    nets' backward pass only the module's input and output are there. The second run leaves
    BatchNorm's running statistics alone; it must give what the first gave, so a module may not draw
    random numbers.
    """
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
        if finished:
            finished(index)
    output = train_top(losses, learner.run_module(top, x), targets)
    if finished:
        finished(top)
    return output


def end_to_end(learner: LocalModules, images: Tensor, targets: Targets) -> StepOutput:
    """Train the network by its own loss alone, and each auxiliary net on detached features.

    This is PGL's global phase. An auxiliary net's graph is gone before the next module runs, so the
    peak is that of backpropagation and a little.
    """
    weights = LevelWeights.of(learner.composition.routing)
    losses, x = [], images
    top = learner.modules_count - 1
    for index in range(top):
        x, features = learner.run_module_with_features(index, x)
        local = targets.with_features(features)
        losses.append(train_auxiliaries(learner, index, x, local, weights, gradients=False)[0])
        del features, local
    return train_top(losses, learner.run_module(top, x), targets)


def checkpointed(
    learner: LocalModules, images: Tensor, targets: Targets, options: Checkpointed
) -> StepOutput:
    """Back-propagate, keeping only the inputs of segments of blocks and running each segment twice.

    The second run, in the backward pass, leaves BatchNorm's running statistics alone.
    """
    stem, *blocks = learner.chain.units
    x = stem(images)
    for segment in _segments(blocks, options.segments or len(blocks)):
        x = checkpoint(
            _run_in_order, segment, x, use_reentrant=False, context_fn=partial(_contexts, segment)
        )
    return train_top([], learner.chain.head(x), targets)


def train_module(
    learner: LocalModules, index: int, x: Tensor, targets: Targets
) -> tuple[Tensor, Tensor]:
    """Train one local module below the top by its own loss; its graph is gone on return.

    Args:
        learner: the modules.
        index: which one.
        x: its input, B x C x H x W, without a graph.
        targets: of the batch.

    Returns:
        The loss, and the module's output, detached.
    """
    h, features = learner.run_module_with_features(index, x)
    leaf = h.detach().requires_grad_()
    loss = learner.independent(index, leaf, targets.with_features(features))
    del features
    backward_through(h, leaf)
    return loss, leaf.detach()


def train_top(losses: list[Tensor], logits: Tensor, targets: Targets) -> StepOutput:
    """Back-propagate the network's own loss and return a step's output.

    Args:
        losses: of the modules below the top.
        logits: class scores, B x classes, with the graph of what they are to train.
        targets: labels, or shares of classes where images are mixed.
    """
    loss = F.cross_entropy(logits, targets.labels if targets.mixed is None else targets.mixed)
    loss.backward()  # type: ignore[no-untyped-call]
    return StepOutput(torch.stack([*losses, loss.detach()]), logits.detach())


def train_auxiliaries(
    learner: LocalModules,
    index: int,
    h: Tensor,
    targets: Targets,
    weights: LevelWeights,
    *,
    gradients: bool = True,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Train a module's auxiliary nets of both levels.

    Args:
        learner: the modules.
        index: which one, below the top.
        h: its output, B x C x H x W.
        targets: of the batch.
        weights: of the levels.
        gradients: whether the module learns from them too.

    Returns:
        The weighted loss, and with ``gradients`` those of the independent and of the cascade loss
        with respect to ``h``; None for a level that there is not.
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


def _first_run(learner: LocalModules, index: int, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return a module's output as a leaf that gathers its gradient, and its input features."""
    with torch.no_grad():
        h, features = learner.run_module_with_features(index, x)
    torch.clear_autocast_cache()  # weights cast without a graph would serve the second run too
    return h.requires_grad_(), features


def _segments(blocks: list[nn.Module], count: int) -> list[list[nn.Module]]:
    """Cut a list into ``count`` consecutive runs; the first are one longer where needed."""
    size, longer = divmod(len(blocks), count)
    ends = [index * size + min(index, longer) for index in range(count + 1)]
    return [blocks[start:end] for start, end in pairwise(ends) if end > start]


def _contexts(
    units: list[nn.Module],
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return what surrounds a segment's first and second run."""
    return nullcontext(), frozen_running_stats(*units)


def _run_in_order(units: list[nn.Module], x: Tensor) -> Tensor:
    for unit in units:
        x = unit(x)
    return x
