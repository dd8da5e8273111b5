"""HPFF's patch feature fusion (Su et al. 2024, section 3.3).

It wraps any branch. The net sees one patch at a time and the patches' outputs are averaged before
the criterion. Keeping all patch graphs until the loss is known may need the memory of the whole map
again. Then there are two passes: the first, without graphs, gives the mean output and the loss's
gradient with respect to it; the second runs each patch with a graph, feeds it that gradient divided
by the number of patches, and frees it. Same gradients, one more forward pass of the auxiliary net.

A net that keeps little, such as one that pools first or sees small maps, runs once on all patches,
stacked along the batch: a fifth of the kernels. BatchNorm still normalises patch by patch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from locbench.learning.autograd import frozen_running_stats
from locbench.learning.auxiliary.branch import AuxiliaryNet, Targets, patch_leaves, split
from locbench.learning.auxiliary.stacked import (
    first_side,
    give_back,
    normalising,
    part_norms,
    stack,
)
from locbench.networks.layers import part_means
from locbench.spec.components import Patches


class PatchFusion(AuxiliaryNet):
    """A branch whose net sees n x n patches.

    Args:
        branch: what sees the patches, built for maps of a patch's size.
        options: number of patches along a side, and whether their graphs are retained.
        stacked: run the net once on all patches.
    """

    def __init__(self, branch: AuxiliaryNet, options: Patches, *, stacked: bool = False) -> None:
        super().__init__()
        self.branch = branch
        self.options = options
        self.stacked = stacked
        self._norms = part_norms(branch) if stacked else []
        self._first_side = options.n * first_side(branch) if stacked else 0

    def backward(self, features: Tensor, targets: Targets, weight: float) -> Tensor:
        """Back-propagate through every patch."""
        if self.branch.fuse == "losses":
            return self._by_loss(features, targets, weight)
        if self.options.passes == "retain":
            return self._retaining(features, targets, weight)
        if self.stacked:
            return self._at_once(features, targets, weight)
        return self._in_two_passes(features, targets, weight)

    def _by_loss(self, features: Tensor, targets: Targets, weight: float) -> Tensor:
        assert targets.pixels is not None
        images = split(targets.pixels, self.options.n)
        patches = patch_leaves(features, self.options.n)
        losses = [
            self.branch.backward(patch, Targets(targets.labels, image), weight / len(images))
            for patch, image in zip(patches, images, strict=True)
        ]
        return torch.stack(losses).mean()

    def _retaining(self, features: Tensor, targets: Targets, weight: float) -> Tensor:
        patches = split(features, self.options.n)
        mean = torch.stack([self.branch(patch) for patch in patches]).mean(dim=0)
        loss = self.branch.criterion(mean, targets)
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _in_two_passes(self, features: Tensor, targets: Targets, weight: float) -> Tensor:
        patches = split(features.detach(), self.options.n)
        with torch.no_grad(), frozen_running_stats(self.branch):
            mean = torch.stack([self.branch(patch) for patch in patches]).mean(dim=0)
        # Weights cast without a graph would serve the second pass too (torch 2.6).
        torch.clear_autocast_cache()
        mean.requires_grad_()
        loss = self.branch.criterion(mean, targets)
        (gradient,) = torch.autograd.grad(loss * (weight / len(patches)), mean)
        for patch in patch_leaves(features, self.options.n):
            self.branch(patch).backward(gradient)
        return loss.detach()

    def _at_once(self, features: Tensor, targets: Targets, weight: float) -> Tensor:
        n, side = self.options.n, self._first_side
        # Pooling and cutting can change places, and small maps are cut in less time.
        pools = side and features.shape[2] % side == features.shape[3] % side == 0
        whole = part_means(features, side) if pools else features
        leaf = whole.detach().requires_grad_(features.requires_grad) if pools else features
        patches = stack(leaf.detach(), n).requires_grad_(features.requires_grad)
        with normalising(self._norms, n * n):
            outputs = self.branch(patches)
        loss = self.branch.criterion(outputs.unflatten(0, (-1, n * n)).mean(dim=1), targets)
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        loss, gradient = loss.detach(), patches.grad
        del patches, outputs  # the map's gradient takes their place
        if gradient is not None:
            give_back(gradient, leaf, n)
            if pools:
                whole.backward(leaf.grad)  # type: ignore[no-untyped-call]
        return loss
