"""Linear CKA between two networks, layer by layer, from minibatches.

Kornblith et al. 2019 define linear CKA; Nguyen et al. 2021 (arXiv:2010.15327, section 2, eqs. 2 and
3) estimate it from minibatches with the unbiased HSIC of Song et al. 2012.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from locbench.analysis.representations import layer_outputs
from locbench.data.batches import Batch
from locbench.errors import FailureError, UsageError
from locbench.networks.chain import Chain

FEWEST = 4
"""Fewest images of a batch for which the unbiased estimate exists."""


def unbiased_hsic(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741
    """Return the unbiased estimate of HSIC (Nguyen et al. 2021, eq. 3), a scalar.

    Args:
        k: Gram matrix n x n of one representation, n at least 4.
        l: that of another one of the same images.
    """
    n = len(k)
    k, l = (each - each.diag().diag() for each in (k, l))  # noqa: E741
    rows = k.sum(dim=0) @ l.sum(dim=0)
    whole = k.sum() * l.sum() / ((n - 1) * (n - 2))
    return ((k * l).sum() + whole - 2 * rows / (n - 2)) / (n * (n - 3))


class MinibatchCKA:
    """Linear CKA of two representations; HSIC is averaged over batches before the ratio."""

    def __init__(self) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64)

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add a batch.

        Args:
            x: n x anything, features of n images, n at least 4.
            y: n x anything, other features of the same images.
        """
        k, l = (_gram(each) for each in (x, y))  # noqa: E741
        pairs = ((k, l), (k, k), (l, l))
        self._sums += torch.stack([unbiased_hsic(*pair) for pair in pairs])

    @property
    def value(self) -> float:
        """The similarity: 1 for equal features; near 0, at times below it, for unrelated ones."""
        cross, first, second = self._sums.tolist()
        return cross / (first * second) ** 0.5 if first > 0 < second else float("nan")


def _gram(features: Tensor) -> Tensor:
    flat = features.flatten(1).double()
    # The estimate does not change with the mean, and far from the origin digits would be lost.
    flat = flat - flat.mean(dim=0)
    return flat @ flat.T


def layerwise_cka(network: Chain, reference: Chain, batches: Iterable[Batch]) -> list[float]:
    """Return the linear CKA of each local layer with the reference's layer of the same number.

    Features are whole maps, flattened. Batches of fewer than four images are left out.

    Args:
        network: in evaluation mode.
        reference: the same, with as many local layers.
        batches: of test images.

    Raises:
        UsageError: the networks have other numbers of local layers.
        FailureError: there are fewer than four images.
    """
    if len(network.units) != len(reference.units):
        raise UsageError(
            f"a network of {len(network.units)} local layers is compared with one of "
            f"{len(reference.units)}",
            "Choose records of one network.",
        )
    similarities = [MinibatchCKA() for _ in network.units]
    count = 0
    for batch in batches:
        if len(batch.labels) < FEWEST:
            continue
        count += len(batch.labels)
        pairs = zip(
            layer_outputs(network, batch.images),
            layer_outputs(reference, batch.images),
            strict=True,
        )
        for similarity, (ours, theirs) in zip(similarities, pairs, strict=True):
            similarity.add(ours, theirs)
    if not count:
        raise FailureError("CKA takes four images or more", "Ask for more with --images.")
    return [similarity.value for similarity in similarities]
