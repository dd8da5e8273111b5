"""HPFF's patch feature fusion (Su et al. 2024, section 3.3).

It wraps any branch. The net sees one patch at a time and the patches' outputs are averaged before
the criterion. Keeping all patch graphs until the loss is known would need the memory of the whole
map again. So there are two passes: the first, without graphs, gives the mean output and the loss's
gradient with respect to it; the second runs each patch with a graph, feeds it that gradient divided
by the number of patches, and frees it. Same gradients, one more forward pass of the auxiliary net.
"""

from __future__ import annotations

import torch
from torch import Tensor

from locbench.learning.autograd import frozen_running_stats
from locbench.learning.auxiliary.branch import Branch, Targets, split
from locbench.spec.components import Patches


class PatchFusion(Branch):
    """A branch whose net sees n x n patches.

    Args:
        branch: what sees the patches, built for maps of a patch's size.
        options: number of patches along a side, and whether their graphs are retained.
    """

    def __init__(self, branch: Branch, options: Patches) -> None:
        super().__init__()
        self.branch = branch
        self.options = options

    def backward(self, features: Tensor, targets: Targets, weight: float) -> Tensor:
        """Back-propagate through every patch."""
        patches = split(features, self.options.n)
        if self.branch.fuse == "losses":
            return self._by_loss(patches, targets, weight)
        if self.options.passes == "retain":
            return self._retaining(patches, targets, weight)
        return self._in_two_passes(patches, targets, weight)

    def _by_loss(self, patches: list[Tensor], targets: Targets, weight: float) -> Tensor:
        assert targets.pixels is not None
        images = split(targets.pixels, self.options.n)
        losses = [
            self.branch.backward(patch, Targets(targets.labels, image), weight / len(patches))
            for patch, image in zip(patches, images, strict=True)
        ]
        return torch.stack(losses).mean()

    def _retaining(self, patches: list[Tensor], targets: Targets, weight: float) -> Tensor:
        mean = torch.stack([self.branch(patch) for patch in patches]).mean(dim=0)
        loss = self.branch.criterion(mean, targets)
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _in_two_passes(self, patches: list[Tensor], targets: Targets, weight: float) -> Tensor:
        with torch.no_grad(), frozen_running_stats(self.branch):
            mean = torch.stack([self.branch(patch) for patch in patches]).mean(dim=0)
        # Weights cast without a graph would serve the second pass too (torch 2.6).
        torch.clear_autocast_cache()
        mean.requires_grad_()
        loss = self.branch.criterion(mean, targets)
        (gradient,) = torch.autograd.grad(loss * (weight / len(patches)), mean)
        for patch in patches:
            self.branch(patch).backward(gradient)
        return loss.detach()
