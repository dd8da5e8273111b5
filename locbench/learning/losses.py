"""Criteria of auxiliary nets: similarity matching, supervised contrast, reconstruction.

All compute in float32 at least, under autocast too.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def similarity_matrix(x: Tensor) -> Tensor:
    """Return PredSim's B x B matrix of similarities between feature vectors, in [-1, 1].

    These are cosine similarities between centred vectors: each row is centred by its own mean and
    divided by 1e-8 plus its norm (Nokland & Eidnes 2019, eq. 1).

    Args:
        x: B x F.
    """
    centred = x - x.mean(dim=1, keepdim=True)
    normalised = centred / (1e-8 + centred.norm(dim=1, keepdim=True))
    return torch.clamp(normalised @ normalised.T, -1.0, 1.0)


def map_deviation(x: Tensor) -> Tensor:
    """Return the unbiased standard deviation of each map, B x C x H x W -> B x C.

    A map of one position has none; its value itself is used then, as PredSim does for vectors. On a
    CUDA device the maps are laid out one after the other first: of channels-last maps the reduction
    takes eight times their memory as scratch.
    """
    flat = (x.contiguous() if x.is_cuda else x).flatten(2)
    return flat.std(dim=2) if flat.shape[2] > 1 else flat.squeeze(2)


def similarity_matching(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return PredSim's similarity matching loss (Nokland & Eidnes 2019, section 2).

    The mean squared difference between the similarity matrices of features and of one-hot labels.

    Args:
        features: B x F.
        labels: B class indices.
        classes: number of classes.
    """
    with _outside_autocast(features):
        features = _exact(features)
        # Compared instead of F.one_hot, which looks at the labels' values and so waits for the
        # device.
        one_hot = labels[:, None] == torch.arange(classes, device=labels.device)
        target = similarity_matrix(one_hot.to(features.dtype)).detach()
        return F.mse_loss(similarity_matrix(features), target)


def supervised_contrast(features: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the supervised contrastive loss of one view per image (Khosla et al. 2020, eq. 2).

    In InfoPro's form: for each anchor, the mean log-probability of the other samples of its class
    among all other samples, negated; an anchor that is alone in its class counts 0. Mean over all
    anchors.

    Args:
        features: B x F, normalised here.
        labels: B class indices.
        temperature: of the softmax; the base temperature is the same, so the loss is not rescaled.
    """
    with _outside_autocast(features):
        z = F.normalize(_exact(features), dim=1)
        self_pairs = torch.eye(len(z), dtype=torch.bool, device=z.device)
        logits = (z @ z.T / temperature).masked_fill(self_pairs, float("-inf"))
        log_probability = logits - logits.logsumexp(dim=1, keepdim=True)
        positive = (labels[:, None] == labels[None, :]) & ~self_pairs
        summed = log_probability.masked_fill(~positive, 0.0).sum(dim=1)
        return -(summed / positive.sum(dim=1).clamp(min=1)).mean()


def reconstruction(image: Tensor, pixels: Tensor) -> Tensor:
    """Return the mean binary cross-entropy between a reconstruction and the image, both in [0, 1].

    The target is clamped: undoing a normalisation in floating point may leave values a hair
    outside.

    Args:
        image: B x 3 x H x W, after the sigmoid.
        pixels: the augmented, un-normalised input of the same shape.
    """
    with _outside_autocast(image):
        image = _exact(image)
        pixels = pixels.to(image.dtype).clamp(0.0, 1.0)
        if image.device.type == "cpu":
            return cast(Tensor, _CrossEntropy.apply(image, pixels))
        return F.binary_cross_entropy(image, pixels)


class _CrossEntropy(torch.autograd.Function):
    """The mean binary cross-entropy, its loss computed with whole registers of numbers.

    On the CPU PyTorch's own takes a logarithm of one number at a time. The gradient is PyTorch's.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, pixels: Tensor) -> Tensor:
        ctx.save_for_backward(image, pixels)
        count = max(1, _CACHED * len(image) // image.numel())
        total = image.new_zeros(())
        parts = torch.split(image, count), torch.split(pixels, count)
        for x, goal in zip(*parts, strict=True):
            on, off = x.log().clamp_(min=_LEAST), (1 - x).log_().clamp_(min=_LEAST)
            total -= off.lerp_(on, goal).sum()
        return total / image.numel()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        mean = 1  # as PyTorch numbers reductions
        return torch.ops.aten.binary_cross_entropy_backward(
            gradient, *ctx.saved_tensors, None, mean
        ), None


_CACHED = 2**16
"""Numbers of an image that are worked through at a time, which a core's cache holds."""

_LEAST = -100.0
"""What a logarithm is at least in binary cross-entropy, as in PyTorch."""


def _exact(x: Tensor) -> Tensor:
    """Return a tensor in float32, or in float64 if it is that already."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _outside_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Return a context without autocast.

    It would round products to bfloat16, and refuses binary cross-entropy.
    """
    if torch.amp.is_autocast_available(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return nullcontext()
