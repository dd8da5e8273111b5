"""Which gradient reaches which local module. Each routing runs one batch and leaves the gradients behind.

All of them free a module's graph as soon as its backward pass is done: that is what local learning saves memory by.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from locbench.learning.auxiliary.branch import Targets
from locbench.learning.handover import hand_over
from locbench.learning.options import AnyRouting, Cascade, Checkpointed
from locbench.learning.statistics import batch_statistics_only

if TYPE_CHECKING:
    from locbench.learning.learner import Learner


@dataclass(frozen=True)
class Outcome:
    """What a step reports; tensors stay on the device.

    Attributes:
        losses: the loss of every local module, first to last.
        logits: class scores of the network, B x classes.
    """

    losses: Tensor
    logits: Tensor


def isolated(learner: Learner, images: Tensor, targets: Targets) -> Outcome:
    """Train every module by its own loss; with one module this is backpropagation."""
    losses, x = [], images
    for index in range(learner.modules_count - 1):
        loss, x = train_module(learner, index, x, targets)
        losses.append(loss)
    return with_top(losses, learner.run_module(learner.modules_count - 1, x), targets)


def train_module(learner: Learner, index: int, x: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """Train one local module below the top by its own loss; its graph is gone on return.

    Returns:
        The loss, and the module's output, detached.
    """
    h, features = learner.run_module_from(index, x)
    leaf = h.detach().requires_grad_()
    loss = learner.independent(index, leaf, targets.with_features(features))
    del features
    hand_over(h, leaf)
    return loss, leaf.detach()


def end_to_end(learner: Learner, images: Tensor, targets: Targets) -> Outcome:
    """Train the backbone by the network's loss alone, and each auxiliary net on detached features (PGL's global phase).

    An auxiliary net's graph is gone before the next module runs, so the peak is that of backpropagation and a little.
    """
    weights = Weights.of(learner.composition.routing)
    losses, x = [], images
    for index in range(learner.modules_count - 1):
        x, features = learner.run_module_from(index, x)
        wanted = targets.with_features(features)
        losses.append(_losses_at(learner, index, x, wanted, weights, gradients=False)[0])
        del features, wanted
    return with_top(losses, learner.run_module(learner.modules_count - 1, x), targets)


def checkpointed(learner: Learner, images: Tensor, targets: Targets, options: Checkpointed) -> Outcome:
    """Backpropagation that keeps only the inputs of segments of residual blocks and runs each segment twice.

    The second run, in the backward pass, leaves BatchNorm's running statistics alone.
    """
    stem, *blocks = learner.chain.units
    segments = options.segments or len(blocks)
    x = stem(images)
    for segment in _segments(blocks, segments):
        x = checkpoint(_run_in_order, segment, x, use_reentrant=False, context_fn=partial(_contexts, segment))
    return with_top([], learner.chain.head(x), targets)


def cascade(learner: Learner, images: Tensor, targets: Targets, options: Cascade) -> Outcome:
    """HPFF's independent and cascade losses, each module run forward once (equal in gradients to `recomputed_cascade`).

    When module j's losses are known, the cascade gradient alone is carried through j to its input; added to what module
    j - 1 was owed from its own losses it makes that module's parameter gradients, and its graph is freed. So the graphs
    of two modules are alive at a time, and no independent loss reaches an earlier module.
    """
    weights = Weights.of(options)
    losses, x, owed = [], images, None
    for index in range(learner.modules_count - 1):
        x = x.detach().requires_grad_(index > 0)
        h = learner.run_module(index, x)
        loss, own, through = _losses_at(learner, index, h.detach(), targets, weights)
        owed = _settle(learner, owed, index, h, x, own, through)
        losses.append(loss)
        x = h
    x = x.detach().requires_grad_(learner.modules_count > 1)
    logits = learner.run_module(learner.modules_count - 1, x)
    loss, own, through = _losses_at_top(logits.detach(), targets, weights, learner.modules_count)
    owed = _settle(learner, owed, learner.modules_count - 1, logits, x, own, through)
    _pay(owed)
    return Outcome(torch.stack([*losses, loss]), logits.detach())


def recomputed_cascade(learner: Learner, images: Tensor, targets: Targets, options: Cascade) -> Outcome:
    """HPFF as the released code runs it: separate forward passes for the independent loss and for each window.

    Slower, and BatchNorm's running statistics see the batch once per pass, except the stem's, which runs once for both
    paths. The cascade level alone has no independent path. Kept as the reference for `cascade`.
    """
    weights = Weights.of(options)
    stem = learner.stem(images)
    start = stem.detach().requires_grad_(stem.requires_grad)
    losses, logits = [], start
    before, x = start.view_as(start), start.view_as(start)
    for index in range(learner.modules_count):
        loss = images.new_zeros(())
        if weights.independent:
            loss, x = _independent_pass(learner, index, x, targets, weights)
            logits = x
        if index > 0 and weights.cascade:
            middle = learner.run_module(index - 1, before, after_stem=index == 1)
            window = learner.run_module(index, middle)
            loss = loss + _window_pass(learner, index, window, targets, weights)
            before, logits = middle.detach(), window.detach()
            x = x if weights.independent else before
        losses.append(loss)
        if index == 1:  # what reaches the stem has come together; its map is let go
            if start.grad is not None:
                hand_over(stem, start)
            stem = start = logits
    return Outcome(torch.stack(losses), logits)


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


@dataclass
class _Owed:
    """A module whose graph is kept because a gradient for its output is still to come."""

    index: int
    output: Tensor
    parameters: list[Tensor]
    gradient: Tensor | None


def with_top(losses: list[Tensor], logits: Tensor, targets: Targets) -> Outcome:
    """Back-propagate the network's own loss, and return it after the modules' losses."""
    loss = F.cross_entropy(logits, targets.labels if targets.mixed is None else targets.mixed)
    loss.backward()  # type: ignore[no-untyped-call]
    return Outcome(torch.stack([*losses, loss.detach()]), logits.detach())


def _losses_at(
    learner: Learner, index: int, h: Tensor, targets: Targets, weights: Weights, *, gradients: bool = True
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Train a module's auxiliary nets.

    Returns:
        Its weighted loss, and if ``gradients`` are wanted the independent and the cascade one with respect to ``h``.
    """
    loss = h.new_zeros(())
    own = through = None
    if weights.independent and not (index == 0 and weights.skip_first):
        leaf = h.detach().requires_grad_(gradients)
        loss = loss + weights.independent * learner.independent(index, leaf, targets, weights.independent)
        own = leaf.grad
    if index > 0 and weights.cascade:
        leaf = h.detach().requires_grad_(gradients)
        loss = loss + weights.cascade * learner.cascade(index, leaf, targets, weights.cascade)
        through = leaf.grad
    return loss, own, through


def _losses_at_top(
    logits: Tensor, targets: Targets, weights: Weights, modules: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the network's loss; both levels share the final classifier, so one gradient serves both."""
    leaf = logits.requires_grad_()
    loss = F.cross_entropy(leaf, targets.labels)
    (gradient,) = torch.autograd.grad(loss, leaf)
    window = weights.cascade if modules > 1 else 0.0
    own = gradient * weights.independent if weights.independent else None
    through = gradient * window if window else None
    return loss.detach() * (weights.independent + window), own, through


def _settle(
    learner: Learner, owed: _Owed | None, index: int, h: Tensor, x: Tensor, own: Tensor | None, through: Tensor | None
) -> _Owed:
    """Carry the cascade gradient to the module's input, pay the module before, and return what this one is owed."""
    if through is not None:
        (carried,) = torch.autograd.grad(h, x, through, retain_graph=True)
        assert owed is not None
        owed.gradient = carried if owed.gradient is None else owed.gradient + carried
    _pay(owed)
    gradients = [each for each in (own, through) if each is not None]
    total = sum(gradients[1:], gradients[0]) if gradients else None
    return _Owed(index, h, learner.module_parameters(index), total)


def _pay(owed: _Owed | None) -> None:
    if owed is not None and owed.gradient is not None:
        torch.autograd.backward([owed.output], [owed.gradient], inputs=owed.parameters)


def _independent_pass(
    learner: Learner, index: int, x: Tensor, targets: Targets, weights: Weights
) -> tuple[Tensor, Tensor]:
    h = learner.run_module(index, x, after_stem=index == 0)
    if index == 0 and weights.skip_first:
        return h.new_zeros(()), h.detach()
    if index == learner.modules_count - 1:
        loss = F.cross_entropy(h, targets.labels) * weights.independent
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), h.detach()
    leaf = h.detach().requires_grad_()
    loss = learner.independent(index, leaf, targets, weights.independent) * weights.independent
    hand_over(h, leaf)
    return loss, leaf.detach()


def _window_pass(learner: Learner, index: int, window: Tensor, targets: Targets, weights: Weights) -> Tensor:
    if index == learner.modules_count - 1:
        loss = F.cross_entropy(window, targets.labels) * weights.cascade
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
    leaf = window.detach().requires_grad_()
    loss = learner.cascade(index, leaf, targets, weights.cascade) * weights.cascade
    hand_over(window, leaf)
    return loss


def _segments(blocks: list[torch.nn.Module], count: int) -> list[list[torch.nn.Module]]:
    """Cut a list into ``count`` consecutive runs, the first ones one longer where it does not divide."""
    size, longer = divmod(len(blocks), count)
    cuts = [index * size + min(index, longer) for index in range(count + 1)]
    return [blocks[start:end] for start, end in pairwise(cuts) if end > start]


def _contexts(units: list[torch.nn.Module]) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return what surrounds a segment's first and second run."""
    return nullcontext(), batch_statistics_only(*units)


def _run_in_order(units: list[torch.nn.Module], x: Tensor) -> Tensor:
    for unit in units:
        x = unit(x)
    return x
