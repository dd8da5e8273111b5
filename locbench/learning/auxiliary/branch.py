"""Branches of the auxiliary loss: nets on a module's output with their criteria."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from locbench.errors import UsageError
from locbench.networks.chain import LayerSpec


@dataclass(frozen=True)
class Targets:
    """What a criterion may compare an output with.

    Attributes:
        labels: B class indices.
        pixels: B x 3 x H x W in [0, 1], the augmented image before normalisation; None where no
            branch restores it.
        features: B x C x H' x W', the module's input features; None where no branch restores them.
        mixed: B x classes, the shares of classes in mixed images, for the network's loss; None
            without mixing.
    """

    labels: Tensor
    pixels: Tensor | None = None
    features: Tensor | None = None
    mixed: Tensor | None = None

    def with_features(self, features: Tensor | None) -> Targets:
        """Return the same targets for a module of these input features."""
        return self if features is None else replace(self, features=features)


class MapShape(NamedTuple):
    """Channels and side of a square feature map."""

    channels: int
    side: int


@dataclass(frozen=True)
class AttachPoint:
    """Where an auxiliary net hangs.

    Attributes:
        layer: 0-based index of the local layer whose output it sees.
        module: 0-based index of the local module that this layer ends.
        modules: number of local modules M.
        ends: the last local layer of each module.
        specs: all local layers of the network.
        classes: number of classes.
        image_side: side of the input image in pixels.
        patches: patches along each side that the net sees one at a time; 1 means the whole map.
        joined: modules that others have been joined to, and which ramps of weights go on counting.
    """

    layer: int
    module: int
    modules: int
    ends: tuple[int, ...]
    specs: tuple[LayerSpec, ...]
    classes: int
    image_side: int
    patches: int = 1
    joined: int = 0

    @property
    def spec(self) -> LayerSpec:
        """The local layer whose output the net sees."""
        return self.specs[self.layer]

    @property
    def side(self) -> int:
        """Side, in pixels, of the map or patch that the net sees at a time."""
        return self.spec.side // self.patches

    @property
    def position(self) -> float:
        """0 at the first auxiliary net, 1 at the last.

        0 if there is only one (InfoPro's r = m / (K - 2)).
        """
        return self.module / (self.modules + self.joined - 2) if self.modules > 2 else 0.0

    @property
    def image(self) -> MapShape:
        """The input image."""
        return MapShape(3, self.image_side)

    @property
    def input_features(self) -> MapShape:
        """What the module before gave; for the first module, what its first layer gives.

        That layer is the patch embedding of a transformer. A first module of one layer alone has
        the image as its input features.
        """
        first = 0 if self.module == 0 else self.ends[self.module - 1]
        if self.layer == first:
            return self.image
        return MapShape(self.specs[first].channels, self.specs[first].side)


class AuxiliaryNet(nn.Module):
    """A net and its criterion; subclasses have a `forward` and a `criterion`.

    Attributes:
        fuse: how patch feature fusion joins patches: ``outputs`` averages the net's outputs before
            the criterion, ``losses`` averages the losses of patches, each compared with its own
            part of the image.
        restores_image: whether the criterion takes `Targets.pixels`.
        restores_features: whether it takes `Targets.features`.
    """

    fuse = "outputs"
    restores_image = False
    restores_features = False

    def forward(self, features: Tensor) -> Tensor:  # noqa: ARG002
        """Map a module's output, B x C x H x W, to the branch's output."""
        raise TypeError(f"{type(self).__name__} has no forward")

    def criterion(self, output: Tensor, targets: Targets) -> Tensor:  # noqa: ARG002
        """Return the scalar loss of an output."""
        raise TypeError(f"{type(self).__name__} has no criterion")

    def backward(self, features: Tensor, targets: Targets, weight: float) -> Tensor:
        """Back-propagate the branch's loss; its graph is gone on return.

        Args:
            features: a module's output, B x C x H x W; gathers a gradient if it asks for one.
            targets: of the batch.
            weight: multiplies the gradients, not the returned loss.

        Returns:
            The loss, a scalar without a graph.
        """
        loss = self.criterion(self(features), targets)
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        return loss.detach()


class Classifier(AuxiliaryNet):
    """Any net that gives class scores, trained with cross-entropy."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, features: Tensor) -> Tensor:
        """Return class scores, B x classes."""
        return self.net(features)  # type: ignore[no-any-return]

    def criterion(self, output: Tensor, targets: Targets) -> Tensor:
        """Return the cross-entropy."""
        return F.cross_entropy(output, targets.labels)


def ramp(weight: tuple[float, float], position: float) -> float:
    """Return a ramped weight at ``position`` in [0, 1] (Wang et al. 2021, section 4.1)."""
    first, last = weight
    return first * (1 - position) + last * position


def refuse_empty_patches(side: int, parts: int) -> None:
    """Refuse to cut a map into patches that hold no pixel.

    Args:
        side: of the map in pixels.
        parts: patches along each side.

    Raises:
        UsageError: the map has fewer pixels than patches along a side.
    """
    if side < parts:
        raise UsageError(
            f"a map of {side} x {side} cannot be cut into {parts} x {parts} patches",
            "Use larger images, or no patches (pff = 0).",
        )


def split(x: Tensor, n: int) -> list[Tensor]:
    """Cut B x C x H x W into n x n patches of floor(H / n) x floor(W / n), row by row, as views."""
    rows, columns = x.shape[2] // n, x.shape[3] // n
    return [
        x[:, :, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
        for i in range(n)
        for j in range(n)
    ]


def patch_leaves(features: Tensor, n: int) -> Iterator[Tensor]:
    """Yield the patches that `split` cuts as leaves of their own.

    A patch's gradient goes into its place in the map's as soon as the next one is asked for.
    Differentiating the cut would make a map of zeros for each.

    Args:
        features: B x C x H x W; gathers a gradient if it asks for one.
        n: patches along each side.
    """
    covered = features.shape[2] % n == features.shape[3] % n == 0
    fresh = features.grad is None
    for index, patch in enumerate(split(features.detach(), n)):
        leaf = patch.requires_grad_(features.requires_grad)
        yield leaf
        if leaf.grad is None:
            continue
        if features.grad is None:
            features.grad = (torch.empty_like if covered else torch.zeros_like)(features)
        place = split(features.grad, n)[index]
        place.copy_(leaf.grad) if fresh else place.add_(leaf.grad)
        leaf.grad = None
