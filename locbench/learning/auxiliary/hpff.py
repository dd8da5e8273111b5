"""HPFF's patch feature fusion (Su et al. 2024, section 3.3).

It wraps any branch. The net sees one patch at a time and the patches' outputs are averaged before
the criterion. Keeping all patch graphs until the loss is known may need the memory of the whole map
again. Then there are two passes: the first, without graphs, gives the mean output and the loss's
gradient with respect to it; the second runs each patch with a graph, feeds it that gradient divided
by the number of patches, and frees it. Same gradients, one more forward pass of the auxiliary net.

A net that keeps little, such as one that pools first or sees small maps, runs once on all patches,
stacked along the batch: a quarter of the kernels. BatchNorm still normalises patch by patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import _disable_current_modes

from locbench.learning.autograd import frozen_running_stats
from locbench.learning.auxiliary.branch import (
    AttachPoint,
    AuxiliaryNet,
    Targets,
    patch_leaves,
    split,
)
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
        self._norms = _parted(branch) if stacked else []

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
        n = self.options.n
        patches = torch.cat(split(features.detach(), n)).requires_grad_(features.requires_grad)
        with self._normalising(n * n):
            outputs = self.branch(patches)
        loss = self.branch.criterion(outputs.unflatten(0, (n * n, -1)).mean(dim=0), targets)
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        loss, gradient = loss.detach(), patches.grad
        del patches, outputs  # the map's gradient takes their place
        if gradient is not None:
            covered = features.shape[2] % n == features.shape[3] % n == 0
            if fresh := features.grad is None:
                features.grad = (torch.empty_like if covered else torch.zeros_like)(features)
            place = _tiles(features.grad, n)
            gradient = gradient.unflatten(0, (n, n, -1))  # type: ignore[no-untyped-call]
            place.copy_(gradient) if fresh else place.add_(gradient)
        return loss

    @contextmanager
    def _normalising(self, parts: int) -> Iterator[None]:
        """Let BatchNorm see a batch in parts."""
        for norm in self._norms:
            norm.parts = parts
        try:
            yield
        finally:
            for norm in self._norms:
                norm.parts = 1


def stackable(build: Callable[[], AuxiliaryNet], point: AttachPoint) -> bool:
    """Return whether the graphs of all patches may be kept: if they are small.

    The stacked patches, what their graphs keep, and as much again for gradients may take two and a
    half times the largest map that has an auxiliary net. That is less than cutting a map by
    automatic differentiation takes, with a map of zeros for each patch. Nothing is computed.

    Args:
        build: makes the branch that sees a patch; called under the meta device.
        point: where it hangs.
    """
    with _disable_current_modes():  # a trace of a step's memory has nothing to do with it
        with torch.device("meta"):
            branch = build()
        norms = [layer for layer in branch.modules() if isinstance(layer, _BatchNorm)]
        plain = all(type(norm) in _PARTED and norm.momentum is not None for norm in norms)
        if branch.fuse != "outputs" or not plain or not point.side:
            return False
        kept = _kept_elements(branch, point)
    if not kept:
        return False
    maps = [spec.channels * spec.side**2 for spec in point.specs]
    largest = max(maps[end] for end in point.ends[:-1])
    return maps[point.layer] + 2 * point.patches**2 * kept <= 2.5 * largest


def _kept_elements(branch: AuxiliaryNet, point: AttachPoint) -> int:
    """Return how many numbers per image the graph of one patch keeps, its input apart."""
    shape = (2, point.spec.channels, point.side, point.side)
    patch = torch.empty(shape, device="meta", requires_grad=True)
    outside = {value.untyped_storage()._cdata for value in (patch, *branch.parameters())}
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage._cdata not in outside:
            kept[storage._cdata] = storage.nbytes()
        return value

    with (
        torch.random.fork_rng(devices=[]),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value),
    ):
        branch(patch)  # the graph is dropped with its output
    return sum(kept.values()) // (2 * patch.element_size())


def _tiles(x: Tensor, n: int) -> Tensor:
    """Return B x C x H x W as n x n x B x C x h x w, a view of what `split` cuts."""
    h, w = x.shape[2] // n, x.shape[3] // n
    whole = x[:, :, : n * h, : n * w]
    return whole.unflatten(3, (n, w)).unflatten(2, (n, h)).permute(2, 4, 0, 1, 3, 5)  # type: ignore[no-any-return, no-untyped-call]


class _PartedNorm(_BatchNorm):
    """BatchNorm that normalises each of several equal parts of a batch by itself.

    Running statistics see one part after the other, as if they were batches of their own.
    """

    parts = 1

    def forward(self, input: Tensor) -> Tensor:
        if self.parts == 1 or not self.training:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        scales, shifts = [
            None if value is None else value.expand(self.parts, -1).unbind()
            for value in (self.weight, self.bias)
        ]
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(self.parts)
        assert self.momentum is not None
        return torch.cat(
            [
                F.batch_norm(
                    part,
                    self.running_mean,
                    self.running_var,
                    None if scales is None else scales[index],
                    None if shifts is None else shifts[index],
                    True,
                    self.momentum,
                    self.eps,
                )
                for index, part in enumerate(input.chunk(self.parts))
            ]
        )


class _PartedNorm1d(_PartedNorm, nn.BatchNorm1d):
    pass


class _PartedNorm2d(_PartedNorm, nn.BatchNorm2d):
    pass


_PARTED: dict[type[nn.Module], type[_PartedNorm]] = {
    nn.BatchNorm1d: _PartedNorm1d,
    nn.BatchNorm2d: _PartedNorm2d,
}
"""Which class takes whose place, with the same parameters and buffers."""


def _parted(net: nn.Module) -> list[_PartedNorm]:
    """Turn BatchNorm into its parted kind, in place, and return the layers."""
    norms = []
    for layer in net.modules():
        if type(layer) in _PARTED:
            layer.__class__ = _PARTED[type(layer)]
            assert isinstance(layer, _PartedNorm)
            norms.append(layer)
    return norms
