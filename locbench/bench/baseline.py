"""The reference: training in the way of the papers' published codes.

A loop over local modules, each with an SGD of its own that steps tensor by tensor; one joint graph
per module and one backward pass; contiguous feature maps; the loss and the accuracy of every module
read back in every step; images augmented one by one by torchvision in two worker processes. Same
numbers as locbench's step up to rounding, BatchNorm's running statistics apart where HPFF runs a
module twice. Nothing but `locbench bench` and its tests uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from locbench.data.batches import Batch
from locbench.errors import UsageError
from locbench.learning import routing
from locbench.learning.auxiliary.branch import AuxiliaryNet, Classifier, Targets, split
from locbench.learning.auxiliary.hpff import PatchFusion
from locbench.learning.auxiliary.infopro import QuadrantDecoders
from locbench.learning.learner import Learner
from locbench.learning.modules import Auxiliary
from locbench.learning.routing import LevelWeights, StepOutput
from locbench.spec.components import Cascade, Checkpointed
from locbench.spec.recipe import Recipe
from locbench.training.device import autocast


def is_plain(recipe: Recipe) -> bool:
    """Whether the CIFAR codes train so: no transformer, no large images, no lean memory."""
    return (
        recipe.optimizer == "sgd"
        and recipe.augmentation == "standard"
        and recipe.image_size is None
        and recipe.memory != "lean"
        and recipe.clip_norm is None
        and not recipe.mixup
    )


def refuse_reference(recipe: Recipe) -> None:
    """Refuse a recipe that the CIFAR codes do not train.

    Raises:
        UsageError: there is no reference for such a recipe.
    """
    if not is_plain(recipe):
        raise UsageError(
            "the reference is for plain SGD on small images, in plain memory",
            "Leave 'reference' out of --engines.",
        )


class Reference:
    """A learner trained the plain way.

    Args:
        learner: on its device, in contiguous memory.
        recipe: rates of SGD, and precision.
        device: of the learner.
    """

    def __init__(self, learner: Learner, recipe: Recipe, device: torch.device) -> None:
        refuse_reference(recipe)
        self.learner, self.recipe, self.device = learner, recipe, device
        self.optimizers = [self._optimizer(index) for index in range(learner.modules_count)]
        self.read: list[tuple[float, float]] = []

    def _optimizer(self, index: int) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            self.learner.local_parameters(index),
            lr=self.recipe.lr,
            momentum=self.recipe.momentum,
            nesterov=self.recipe.nesterov and self.recipe.momentum > 0,
            weight_decay=self.recipe.weight_decay,
            foreach=False,
            fused=False,
        )

    def step(self, batch: Batch, targets: Targets, *, guided: bool) -> StepOutput:
        """Take one step.

        See `Learner.step`. ``read`` then holds every module's loss and accuracy in percent.
        """
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        route = self.learner.composition.routing
        with autocast(self.recipe.precision, self.device):
            if isinstance(route, Checkpointed):
                output = routing.checkpointed(self.learner, batch.images, targets, route)
                modules = [ModuleLoss(output.losses[0], output.logits)]
            elif isinstance(route, Cascade) and not guided and self.learner.modules_count > 1:
                modules = self._levels(batch.images, targets, LevelWeights.of(route))
            else:
                modules = self._modules(batch.images, targets, guided, LevelWeights.of(route))
        for optimizer in self.optimizers:
            optimizer.step()
        self.read = [(module.loss.item(), module.accuracy(targets.labels)) for module in modules]
        logits = cast(Tensor, modules[-1].logits).detach()
        return StepOutput(torch.stack([module.loss.detach() for module in modules]), logits)

    def _modules(
        self, images: Tensor, targets: Targets, guided: bool, weights: LevelWeights
    ) -> list[ModuleLoss]:
        """Train module by module.

        Guided, the backbone by the last loss alone and auxiliary nets on detached maps.
        """
        x, losses, last = images, [], self.learner.modules_count - 1
        for index in range(last):
            h = self.learner.run_module(index, x)
            losses.append(self._losses(index, h.detach() if guided else h, targets, weights))
            _backward(losses[-1].loss)
            x = h if guided else h.detach()
        losses.append(_last_loss(self.learner.run_module(last, x), targets, 1.0))
        _backward(losses[-1].loss)
        return losses

    def _levels(self, images: Tensor, targets: Targets, weights: LevelWeights) -> list[ModuleLoss]:
        """Train by levels, as HPFF's released code does.

        Every module runs forward for its own loss, and again with the one below for a window's.
        """
        x, below, losses = images, images, []
        independent, cascade = replace(weights, cascade=0.0), replace(weights, independent=0.0)
        for index in range(self.learner.modules_count):
            h = self.learner.run_module(index, x)
            module = self._losses(index, h, targets, independent)
            _backward(module.loss)
            if index > 0 and weights.cascade:
                h_cascade = self.learner.run_module(
                    index, self.learner.run_module(index - 1, below)
                )
                window = self._losses(index, h_cascade, targets, cascade)
                _backward(window.loss)
                module = ModuleLoss(module.loss.detach() + window.loss.detach(), module.logits)
            losses.append(module)
            below, x = x, h.detach()
        return losses

    def _losses(self, index: int, h: Tensor, targets: Targets, weights: LevelWeights) -> ModuleLoss:
        """Return the weighted sum of a module's losses."""
        if index == self.learner.modules_count - 1:
            return _last_loss(h, targets, weights.independent + weights.cascade)
        total, scores = h.new_zeros(()), None
        levels = (
            (weights.independent, self.learner.independents),
            (weights.cascade, self.learner.cascades),
        )
        for share, nets in levels:
            if share and str(index) in nets:
                level = _auxiliary_loss(cast(Auxiliary, nets[str(index)]), h, targets)
                total = total + share * level.loss
                scores = level.logits if scores is None else scores
        return ModuleLoss(total, scores)


@dataclass(frozen=True)
class ModuleLoss:
    """A module's loss, and class scores where it has any."""

    loss: Tensor
    logits: Tensor | None

    def accuracy(self, labels: Tensor) -> float:
        """Return the share of right first guesses in percent; 0 without class scores."""
        if self.logits is None:
            return 0.0
        return (self.logits.argmax(dim=1) == labels).float().mean().mul(100).item()


def _last_loss(logits: Tensor, targets: Targets, weight: float) -> ModuleLoss:
    return ModuleLoss(weight * F.cross_entropy(logits, targets.labels), logits)


def _backward(loss: Tensor) -> None:
    if loss.requires_grad:  # HPFF's released form has no auxiliary net on the first module
        loss.backward()  # type: ignore[no-untyped-call]


def _auxiliary_loss(auxiliary: Auxiliary, h: Tensor, targets: Targets) -> ModuleLoss:
    total, scores = h.new_zeros(()), None
    for branch, weight in zip(auxiliary.branches, auxiliary.weights, strict=True):
        if weight:
            loss, output = _branch_loss(cast(AuxiliaryNet, branch), h, targets)
            total = total + weight * loss
            scores = output if isinstance(getattr(branch, "branch", branch), Classifier) else scores
    return ModuleLoss(total, scores)


def _branch_loss(branch: AuxiliaryNet, h: Tensor, targets: Targets) -> tuple[Tensor, Tensor | None]:
    """Return a branch's loss in one graph, and its output where it has one."""
    if isinstance(branch, QuadrantDecoders):
        return _by_part(list(branch.decoders), 2, h, targets).sum(), None
    if not isinstance(branch, PatchFusion):
        output = branch(h)
        return branch.criterion(output, targets), output
    n = branch.options.n
    if branch.branch.fuse == "losses":
        return _by_part([branch.branch] * n * n, n, h, targets).mean(), None
    output = torch.stack([branch.branch(patch) for patch in split(h, n)]).mean(dim=0)
    return branch.branch.criterion(output, targets), output


def _by_part(nets: Sequence[nn.Module], n: int, h: Tensor, targets: Targets) -> Tensor:
    """Return the losses of n x n parts of a map, each for its own part of the image."""
    assert targets.pixels is not None
    parts = zip(nets, split(h, n), split(targets.pixels, n), strict=True)
    return torch.stack(
        [
            _branch_loss(cast(AuxiliaryNet, net), x, Targets(targets.labels, y))[0]
            for net, x, y in parts
        ]
    )
