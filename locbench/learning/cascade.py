"""HPFF's routing: every module learns from its own loss and from the one of the window that it
begins.

A module's graph is freed as soon as its backward pass is done.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from locbench.learning.autograd import backward_through
from locbench.learning.auxiliary.branch import Targets
from locbench.learning.modules import LocalModules
from locbench.learning.routing import StepOutput, Weights, losses_at
from locbench.spec.components import Cascade


def cascade(
    learner: LocalModules, images: Tensor, targets: Targets, options: Cascade
) -> StepOutput:
    """HPFF's independent and cascade losses, each module run forward once (equal in gradients to
    `recomputed_cascade`).

    When module j's losses are known, the cascade gradient alone is carried through j to its input.
    Added to the gradient of module j - 1's own losses it makes that module's parameter gradients,
    and that module's graph is freed. So the graphs of two modules are alive at a time, and no
    independent loss reaches an earlier module.
    """
    weights = Weights.of(options)
    losses, x, pending = [], images, None
    for index in range(learner.modules_count - 1):
        x = x.detach().requires_grad_(index > 0)
        h = learner.run_module(index, x)
        loss, independent_grad, cascade_grad = losses_at(
            learner, index, h.detach(), targets, weights
        )
        pending = _carry_to_input(learner, pending, index, h, x, independent_grad, cascade_grad)
        losses.append(loss)
        x = h
    x = x.detach().requires_grad_(learner.modules_count > 1)
    logits = learner.run_module(learner.modules_count - 1, x)
    loss, independent_grad, cascade_grad = _losses_at_top(
        logits.detach(), targets, weights, learner.modules_count
    )
    pending = _carry_to_input(
        learner, pending, learner.modules_count - 1, logits, x, independent_grad, cascade_grad
    )
    _flush(pending)
    return StepOutput(torch.stack([*losses, loss]), logits.detach())


def recomputed_cascade(
    learner: LocalModules, images: Tensor, targets: Targets, options: Cascade
) -> StepOutput:
    """HPFF as the released code runs it: separate forward passes for the independent loss and for
    each window.

    Slower, and BatchNorm's running statistics see the batch once per pass, except the stem's, which
    runs once for both paths. The cascade level alone has no independent path. Kept as the reference
    for `cascade`.
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
                backward_through(stem, start)
            stem = start = logits
    return StepOutput(torch.stack(losses), logits)


@dataclass
class _PendingBackward:
    """A module whose graph is kept because a gradient for its output is still to come."""

    index: int
    output: Tensor
    parameters: list[Tensor]
    gradient: Tensor | None


def _losses_at_top(
    logits: Tensor, targets: Targets, weights: Weights, modules: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the network's loss.

    Both levels share the final classifier, so one gradient serves both.
    """
    leaf = logits.requires_grad_()
    loss = F.cross_entropy(leaf, targets.labels)
    (gradient,) = torch.autograd.grad(loss, leaf)
    window = weights.cascade if modules > 1 else 0.0
    independent_grad = gradient * weights.independent if weights.independent else None
    cascade_grad = gradient * window if window else None
    return loss.detach() * (weights.independent + window), independent_grad, cascade_grad


def _carry_to_input(
    learner: LocalModules,
    pending: _PendingBackward | None,
    index: int,
    h: Tensor,
    x: Tensor,
    independent_grad: Tensor | None,
    cascade_grad: Tensor | None,
) -> _PendingBackward:
    """Carry the cascade gradient to the module's input and back-propagate through the module
    before.

    Returns:
        the backward pass of this module, which waits for the next one's cascade gradient.
    """
    if cascade_grad is not None:
        (carried,) = torch.autograd.grad(h, x, cascade_grad, retain_graph=True)
        assert pending is not None
        pending.gradient = carried if pending.gradient is None else pending.gradient + carried
    _flush(pending)
    gradients = [each for each in (independent_grad, cascade_grad) if each is not None]
    total = sum(gradients[1:], gradients[0]) if gradients else None
    return _PendingBackward(index, h, learner.module_parameters(index), total)


def _flush(pending: _PendingBackward | None) -> None:
    if pending is not None and pending.gradient is not None:
        torch.autograd.backward([pending.output], [pending.gradient], inputs=pending.parameters)


def _independent_pass(
    learner: LocalModules, index: int, x: Tensor, targets: Targets, weights: Weights
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
    backward_through(h, leaf)
    return loss, leaf.detach()


def _window_pass(
    learner: LocalModules, index: int, window: Tensor, targets: Targets, weights: Weights
) -> Tensor:
    if index == learner.modules_count - 1:
        loss = F.cross_entropy(window, targets.labels) * weights.cascade
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
    leaf = window.detach().requires_grad_()
    loss = learner.cascade(index, leaf, targets, weights.cascade) * weights.cascade
    backward_through(window, leaf)
    return loss
