"""HPFF's independent and cascade losses (Su et al. 2024).

Module j's window is modules j and j + 1; its loss is that of the auxiliary nets on j + 1. So a
module learns from its own independent loss, from the cascade loss of the window that it ends, and
from that of the window that it begins. A module's graph is freed as soon as its backward pass is
done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from locbench.learning.autograd import backward_through
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.modules import LocalModules
from locbench.learning.routing import LevelWeights, StepOutput, train_auxiliaries
from locbench.spec.components import Cascade


def cascade(
    learner: LocalModules, images: Tensor, targets: Targets, options: Cascade
) -> StepOutput:
    """Train by independent and cascade losses, each module run forward once.

    When module j's losses are known, the cascade gradient alone is carried through j to its input.
    Added to the gradient of module j - 1's own losses it makes that module's parameter gradients,
    and that module's graph is freed. So the graphs of two modules are alive at a time, and no
    independent loss reaches an earlier module. The gradients equal those of `recomputed_cascade`.
    """
    weights = LevelWeights.of(options)
    losses, h, pending = [], images, None
    top = learner.modules_count - 1
    for index in range(top + 1):
        x = h.detach().requires_grad_(index > 0)
        h = learner.run_module(index, x)
        if index < top:
            loss, *gradients = train_auxiliaries(learner, index, h.detach(), targets, weights)
        else:
            loss, *gradients = _losses_at_top(h.detach(), targets, weights)
        pending = _carry_to_input(learner, pending, index, h, x, *gradients)
        losses.append(loss)
    _flush(pending)
    return StepOutput(torch.stack(losses), h.detach())


def recomputed_cascade(
    learner: LocalModules, images: Tensor, targets: Targets, options: Cascade
) -> StepOutput:
    """Train by independent and cascade losses, each with forward passes of its own.

    This is how the released code runs, kept as the reference for `cascade`. It is slower, and
    BatchNorm's running statistics see the batch once per pass, except the stem's, which runs once
    for both paths. The cascade level alone has no independent path.
    """
    weights = LevelWeights.of(options)
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
            loss = loss + _train_path(
                learner, index, window, targets, weights.cascade, learner.cascade
            )
            before, logits = middle.detach(), window.detach()
            x = x if weights.independent else before
        losses.append(loss)
        if index == 1:  # what reaches the stem has come together; its map is let go
            if start.grad is not None:
                backward_through(stem, start)
            stem = start = logits
    return StepOutput(torch.stack(losses), logits)


@dataclass
class _PendingBackward:
    """A module whose graph is kept because a gradient for its output is still to come."""

    output: Tensor
    parameters: list[Tensor]
    gradient: Tensor | None


def _losses_at_top(
    logits: Tensor, targets: Targets, weights: LevelWeights
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the network's loss and its gradients, as `train_auxiliaries` does.

    Both levels share the final classifier, so one gradient serves both.
    """
    leaf = logits.requires_grad_()
    loss = F.cross_entropy(leaf, targets.labels)
    (gradient,) = torch.autograd.grad(loss, leaf)
    independent_grad = gradient * weights.independent if weights.independent else None
    cascade_grad = gradient * weights.cascade if weights.cascade else None
    return loss.detach() * (weights.independent + weights.cascade), independent_grad, cascade_grad


def _carry_to_input(
    learner: LocalModules,
    pending: _PendingBackward | None,
    index: int,
    h: Tensor,
    x: Tensor,
    independent_grad: Tensor | None,
    cascade_grad: Tensor | None,
) -> _PendingBackward:
    """Carry the cascade gradient to a module's input and back-propagate through the module before.

    Args:
        learner: the modules.
        pending: the module before, None at the first.
        index: of the module.
        h: its output, with the graph from ``x``.
        x: its input, a leaf.
        independent_grad: with respect to ``h``.
        cascade_grad: with respect to ``h``.

    Returns:
        The backward pass of this module, which waits for the next one's cascade gradient.
    """
    if cascade_grad is not None:
        (carried,) = torch.autograd.grad(h, x, cascade_grad, retain_graph=True)
        assert pending is not None
        pending.gradient = carried if pending.gradient is None else pending.gradient + carried
    _flush(pending)
    gradients = [gradient for gradient in (independent_grad, cascade_grad) if gradient is not None]
    total = sum(gradients[1:], gradients[0]) if gradients else None
    return _PendingBackward(h, learner.module_parameters(index), total)


def _flush(pending: _PendingBackward | None) -> None:
    if pending is not None and pending.gradient is not None:
        torch.autograd.backward([pending.output], [pending.gradient], inputs=pending.parameters)


def _independent_pass(
    learner: LocalModules, index: int, x: Tensor, targets: Targets, weights: LevelWeights
) -> tuple[Tensor, Tensor]:
    """Train a module by its own loss; return the loss and the module's output, detached."""
    h = learner.run_module(index, x, after_stem=index == 0)
    if index == 0 and weights.skip_first:
        return h.new_zeros(()), h.detach()
    loss = _train_path(learner, index, h, targets, weights.independent, learner.independent)
    return loss, h.detach()


def _train_path(
    learner: LocalModules,
    index: int,
    h: Tensor,
    targets: Targets,
    weight: float,
    train_auxiliary: Callable[[int, Tensor, Targets, float], Tensor],
) -> Tensor:
    """Back-propagate the loss of one level at a module through all that led to its output.

    Returns:
        The weighted loss.
    """
    if index == learner.modules_count - 1:
        loss = F.cross_entropy(h, targets.labels) * weight
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
    leaf = h.detach().requires_grad_()
    loss = train_auxiliary(index, leaf, targets, weight) * weight
    backward_through(h, leaf)
    return loss
