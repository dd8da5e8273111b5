"""The plain way of training that locbench's engines are held against: as the papers' published
codes do it.

A loop over local modules, each with an SGD of its own that steps tensor by tensor; one joint graph
per module and one backward pass; contiguous feature maps; the loss and the accuracy of every module
read back in every step; images augmented one by one by torchvision in two worker processes. Same
numbers as locbench's step up to rounding, BatchNorm's running statistics apart where HPFF runs a
module twice. Nothing but `locbench bench` and its tests uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from locbench.data.batches import Batch
from locbench.data.images import Images
from locbench.datasets.known import DatasetInfo
from locbench.errors import UsageError
from locbench.learning import routing
from locbench.learning.auxiliary.branch import Branch, Classifier, Targets, split
from locbench.learning.auxiliary.hpff import PatchFusion
from locbench.learning.auxiliary.infopro import QuadrantDecoders
from locbench.learning.learner import Learner
from locbench.learning.modules import Auxiliary
from locbench.learning.routing import LevelWeights, StepOutput
from locbench.spec.components import Cascade, Checkpointed
from locbench.spec.recipe import Recipe
from locbench.training.device import autocast

WORKERS = 2

TEST_BATCH = 256


def refuse_reference(recipe: Recipe) -> None:
    """Refuse recipes that are trained in other ways than the CIFAR codes: transformers, files, lean
    memory.

    Raises:
        UsageError: there is no reference for such a recipe.
    """
    plain = (
        recipe.optimizer == "sgd"
        and recipe.augmentation == "standard"
        and recipe.image_size is None
    )
    if not plain or recipe.memory == "lean" or recipe.clip_norm is not None or recipe.mixup:
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
            [*self.learner.module_parameters(index), *self.learner.auxiliary_parameters(index)],
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
        how = self.learner.composition.routing
        with autocast(self.recipe.precision, self.device):
            if isinstance(how, Checkpointed):
                output = routing.checkpointed(self.learner, batch.images, targets, how)
                results = [Result(output.losses[0], output.logits)]
            elif isinstance(how, Cascade) and not guided and self.learner.modules_count > 1:
                results = self._levels(batch.images, targets, LevelWeights.of(how))
            else:
                results = self._modules(batch.images, targets, guided, LevelWeights.of(how))
        for optimizer in self.optimizers:
            optimizer.step()
        self.read = [(each.loss.item(), each.accuracy(targets.labels)) for each in results]
        logits = cast(Tensor, results[-1].logits).detach()
        return StepOutput(torch.stack([each.loss.detach() for each in results]), logits)

    def _modules(
        self, images: Tensor, targets: Targets, guided: bool, weights: LevelWeights
    ) -> list[Result]:
        """Train module by module.

        Guided, the backbone by the last loss alone and auxiliary nets on detached maps.
        """
        x, results = images, []
        for index in range(self.learner.modules_count - 1):
            h = self.learner.run_module(index, x)
            result = self._losses(index, h.detach() if guided else h, targets, weights)
            _back(result.loss)
            results.append(result)
            x = h if guided else h.detach()
        results.append(
            _top(self.learner.run_module(self.learner.modules_count - 1, x), targets, 1.0)
        )
        _back(results[-1].loss)
        return results

    def _levels(self, images: Tensor, targets: Targets, weights: LevelWeights) -> list[Result]:
        """HPFF as released: every module runs forward for its own loss, and again with the one
        below for a window's.
        """
        x, below, results = images, images, []
        own, shared = replace(weights, cascade=0.0), replace(weights, independent=0.0)
        for index in range(self.learner.modules_count):
            h = self.learner.run_module(index, x)
            result = self._losses(index, h, targets, own)
            _back(result.loss)
            if index > 0 and weights.cascade:
                window = self.learner.run_module(index, self.learner.run_module(index - 1, below))
                second = self._losses(index, window, targets, shared)
                _back(second.loss)
                result = Result(result.loss.detach() + second.loss.detach(), result.logits)
            results.append(result)
            below, x = x, h.detach()
        return results

    def _losses(self, index: int, h: Tensor, targets: Targets, weights: LevelWeights) -> Result:
        """Return the weighted sum of a module's auxiliary losses, and class scores where there are
        any.
        """
        if index == self.learner.modules_count - 1:
            return _top(h, targets, weights.independent + weights.cascade)
        total, scores = h.new_zeros(()), None
        levels = (
            (weights.independent, self.learner.independents),
            (weights.cascade, self.learner.cascades),
        )
        for share, nets in levels:
            if share and str(index) in nets:
                result = _auxiliary_loss(cast(Auxiliary, nets[str(index)]), h, targets)
                total = total + share * result.loss
                scores = result.logits if scores is None else scores
        return Result(total, scores)


@dataclass(frozen=True)
class Result:
    """A module's loss, and class scores where it has any."""

    loss: Tensor
    logits: Tensor | None

    def accuracy(self, labels: Tensor) -> float:
        """Return the share of right first guesses in percent; 0 without class scores."""
        if self.logits is None:
            return 0.0
        return (self.logits.argmax(dim=1) == labels).float().mean().mul(100).item()


def _top(logits: Tensor, targets: Targets, weight: float) -> Result:
    return Result(weight * F.cross_entropy(logits, targets.labels), logits)


def _back(loss: Tensor) -> None:
    if loss.requires_grad:  # HPFF's released form has no auxiliary net on the first module
        loss.backward()  # type: ignore[no-untyped-call]


def _auxiliary_loss(auxiliary: Auxiliary, h: Tensor, targets: Targets) -> Result:
    total, scores = h.new_zeros(()), None
    for branch, weight in zip(auxiliary.branches, auxiliary.weights, strict=True):
        if weight:
            loss, output = _branch_loss(cast(Branch, branch), h, targets)
            total = total + weight * loss
            scores = output if isinstance(getattr(branch, "branch", branch), Classifier) else scores
    return Result(total, scores)


def _branch_loss(branch: Branch, h: Tensor, targets: Targets) -> tuple[Tensor, Tensor | None]:
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
    """Return the losses of n x n parts of a map, each held against its own part of the image."""
    assert targets.pixels is not None
    parts = zip(nets, split(h, n), split(targets.pixels, n), strict=True)
    return torch.stack(
        [_branch_loss(cast(Branch, net), x, Targets(targets.labels, y))[0] for net, x, y in parts]
    )


class PerImage(Dataset[tuple[Tensor, int]]):
    """Images through torchvision's transforms one by one.

    Args:
        images: as stored, on the CPU.
        info: padding, flips and normalisation.
        augmented: crop and mirror at random, for training.
    """

    def __init__(self, images: Images, info: DatasetInfo, *, augmented: bool) -> None:
        self.pixels, self.labels = images.pixels.numpy(), images.labels.tolist()
        mode = "constant" if info.padding == "zero" else "reflect"
        drawn = (
            [transforms.RandomCrop(info.side, padding=info.pad, padding_mode=mode)]
            if augmented
            else []
        )
        drawn += [transforms.RandomHorizontalFlip()] if augmented and info.flip else []
        last = [transforms.ToTensor(), transforms.Normalize(info.mean, info.std)]
        self.transform = transforms.Compose([*drawn, *last])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def loader(
    images: Images, info: DatasetInfo, batch_size: int, *, augmented: bool
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return a loader with two worker processes, which stay alive between epochs."""
    dataset = cast(Dataset[tuple[Tensor, Tensor]], PerImage(images, info, augmented=augmented))
    return DataLoader(
        dataset, batch_size, shuffle=augmented, num_workers=WORKERS, persistent_workers=True
    )


def evaluate(
    net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device
) -> float:
    """Return the share of right first guesses in percent, a count read back for every batch."""
    net.eval()
    right = images = 0.0
    with torch.no_grad():
        for pixels, labels in batches:
            logits, wanted = net(pixels.to(device)), labels.to(device)
            F.cross_entropy(logits, wanted).item()
            right += (logits.argmax(dim=1) == wanted).sum().item()
            images += len(labels)
    net.train()
    return 100 * right / images
