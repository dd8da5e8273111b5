"""All patches of a batch at once: cut, stacked, and normalised patch by patch.

A net that keeps little sees the patches of all images as one batch, those of an image one after the
other. BatchNorm takes them for further channels then, and so normalises patch by patch in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import _disable_current_modes

from locbench.learning.auxiliary.branch import AttachPoint, AuxiliaryNet, Classifier
from locbench.networks.layers import AveragePool


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
        momenta = {norm.momentum for norm in norms}
        plain = len(momenta - {None}) == len(momenta) <= 1 and all(
            type(norm) in _PARTED and norm.track_running_stats for norm in norms
        )
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


def first_side(net: AuxiliaryNet) -> int:
    """Return the side in pixels that a net pools a map to first, 0 if it does not begin so."""
    layers = net.net if isinstance(net, Classifier) else None
    first = layers[0] if isinstance(layers, nn.Sequential) and len(layers) else None
    return first.side if isinstance(first, AveragePool) else 0


def stack(x: Tensor, n: int) -> Tensor:
    """Return the n x n patches of B x C x H x W, those of an image one after the other.

    B n^2 x C x h x w, laid out in memory as the map is.
    """
    tiles = _tiles(x, n)
    layout = torch.channels_last if _channels_last(x) else torch.contiguous_format
    shape = (len(x) * n * n, *tiles.shape[3:])
    patches = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
    patches.unflatten(0, (-1, n, n)).copy_(tiles)  # type: ignore[no-untyped-call]
    return patches


def give_back(gradient: Tensor, x: Tensor, n: int) -> None:
    """Add the gradient of a map's patches to the map's, in its place; see `stack`."""
    covered = x.shape[2] % n == x.shape[3] % n == 0
    if fresh := x.grad is None:
        x.grad = (torch.empty_like if covered else torch.zeros_like)(x)
    place, gradient = _tiles(x.grad, n), gradient.unflatten(0, (-1, n, n))  # type: ignore[no-untyped-call]
    place.copy_(gradient) if fresh else place.add_(gradient)


def _tiles(x: Tensor, n: int) -> Tensor:
    """Return B x C x H x W as B x n x n x C x h x w, a view of what `split` cuts."""
    h, w = x.shape[2] // n, x.shape[3] // n
    whole = x[:, :, : n * h, : n * w]
    return whole.unflatten(3, (n, w)).unflatten(2, (n, h)).permute(0, 2, 4, 1, 3, 5)  # type: ignore[no-any-return, no-untyped-call]


def _channels_last(x: Tensor) -> bool:
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return last and not x.is_contiguous()


class PartedNorm(_BatchNorm):
    """BatchNorm that normalises each of several parts of a batch by itself; see `normalising`.

    Attributes:
        parts: how many; every part has one sample, then every part the next.
        statistics: 2 x parts C zeros, which means and variances of the parts are written to.
    """

    parts = 1
    statistics: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """Normalise B parts x C or B parts x C x H x W."""
        if self.parts == 1 or not self.training:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        scale, shift = (
            None if value is None else value.expand(self.parts, -1).flatten()
            for value in (self.weight, self.bias)
        )
        mean, variance = self.statistics
        beside = _beside(input, self.parts)
        # With momentum 1 running statistics become those of the batch.
        normalised = F.batch_norm(beside, mean, variance, scale, shift, True, 1.0, self.eps)
        return _after_each_other(normalised, self.parts)


def _beside(x: Tensor, parts: int) -> Tensor:
    """Return B parts x C x ... as B x parts C x ..., a view unless channels are last."""
    if not _channels_last(x):
        return x.unflatten(0, (-1, parts)).flatten(1, 2)  # type: ignore[no-any-return, no-untyped-call]
    pixels = x.movedim(1, 3).unflatten(0, (-1, parts))  # type: ignore[no-untyped-call]
    return pixels.movedim(1, 3).flatten(3).movedim(3, 1)  # type: ignore[no-any-return]


def _after_each_other(x: Tensor, parts: int) -> Tensor:
    """Return B x parts C x ... as B parts x C x ..., undoing `_beside`.

    For automatic differentiation it is no view: a ReLU in place would cost three copies.
    """
    if _channels_last(x):
        pixels = x.movedim(1, 3).unflatten(3, (parts, -1))  # type: ignore[no-untyped-call]
        x = pixels.movedim(3, 1).contiguous().movedim(4, 2)
    shape = (len(x) * parts, -1, *x.shape[-2:]) if x.dim() > 2 else (len(x) * parts, -1)
    return torch.ops.aten._unsafe_view(x, shape)  # type: ignore[no-any-return]


class _PartedNorm1d(PartedNorm, nn.BatchNorm1d):
    pass


class _PartedNorm2d(PartedNorm, nn.BatchNorm2d):
    pass


_PARTED: dict[type[nn.Module], type[PartedNorm]] = {
    nn.BatchNorm1d: _PartedNorm1d,
    nn.BatchNorm2d: _PartedNorm2d,
}
"""Which class takes whose place, with the same parameters and buffers."""


def part_norms(net: nn.Module) -> list[PartedNorm]:
    """Turn a net's BatchNorms into their parted kind, in place, and return them."""
    norms = []
    for layer in net.modules():
        if type(layer) in _PARTED:
            layer.__class__ = _PARTED[type(layer)]
            assert isinstance(layer, PartedNorm)
            norms.append(layer)
    return norms


@contextmanager
def normalising(norms: Sequence[PartedNorm], parts: int) -> Iterator[None]:
    """Let BatchNorms see a batch in parts; each of them runs once meanwhile.

    Running statistics see one part after the other, as if they were batches of their own. All
    layers' are brought up to date together, in a few kernels.

    Args:
        norms: with running statistics and one momentum.
        parts: of the batch.
    """
    if not norms:
        yield
        return
    running = [
        cast(Tensor, part) for norm in norms for part in (norm.running_mean, norm.running_var)
    ]
    sizes = [2 * parts * norm.num_features for norm in norms]
    seen = running[0].new_zeros(sum(sizes)).split(sizes)  # type: ignore[no-untyped-call]
    for norm, statistics in zip(norms, seen, strict=True):
        norm.parts, norm.statistics = parts, statistics.view(2, -1)
    try:
        yield
    finally:
        for norm in norms:
            norm.parts = 1
            del norm.statistics
    # The means of all parts and then their variances, layer after layer.
    rows = [
        row
        for norm, statistics in zip(norms, seen, strict=True)
        for row in statistics.view(-1, norm.num_features).unbind()
    ]
    for part in range(parts):
        torch._foreach_lerp_(running, rows[part::parts], cast(float, norms[0].momentum))
    torch._foreach_add_([cast(Tensor, norm.num_batches_tracked) for norm in norms], parts)
