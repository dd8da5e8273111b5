"""What the local layers of a trained network make of test images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from locbench.data.batches import Batch
from locbench.data.images import Split, load
from locbench.networks.chain import Chain
from locbench.spec.recipe import Recipe
from locbench.training.input import eval_loader

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class PooledFeatures:
    """Features of N images, averaged over each map.

    Attributes:
        layers: one array N x C per local layer, the stem first.
        labels: N classes.
    """

    layers: tuple[Array, ...]
    labels: Array


def test_images(recipe: Recipe, root: Path, images: int) -> Split:
    """Return the recipe's data set with at most so many test images, the same for every network.

    Args:
        recipe: whose data set and image size they have.
        root: folder of the data sets.
        images: how many; a class-balanced subset.

    Raises:
        LocbenchError: the data set is missing.
    """
    return load(recipe.dataset, root, limit=1, test_limit=images)


def batches_of(recipe: Recipe, split: Split) -> Iterator[Batch]:
    """Return the test images in order as the recipe's evaluation sees them."""
    return eval_loader(recipe, split, torch.float32)


@torch.inference_mode()
def layer_outputs(chain: Chain, images: Tensor) -> Iterator[Tensor]:
    """Yield every local layer's output, B x C x H x W, the stem first.

    Args:
        chain: the network, in evaluation mode.
        images: B x 3 x H x W, normalised.
    """
    x = images
    for unit, spec in zip(chain.units, chain.specs, strict=True):
        x = unit(x)
        yield spec.map_of(x)


def pooled_features(chain: Chain, batches: Iterable[Batch]) -> PooledFeatures:
    """Return every layer's features of all images, averaged over each map."""
    layers: list[list[Array]] = [[] for _ in chain.units]
    labels: list[Array] = []
    for batch in batches:
        labels.append(batch.labels.numpy())
        for index, output in enumerate(layer_outputs(chain, batch.images)):
            layers[index].append(output.float().mean(dim=(2, 3)).numpy())
    return PooledFeatures(tuple(map(np.concatenate, layers)), np.concatenate(labels))
