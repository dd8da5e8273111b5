"""The Swin pipeline's Mixup and CutMix, by timm.

They are for backpropagation alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from timm import data

from locbench.data.batches import Batch
from locbench.learning.auxiliary.branch import Targets

SMOOTHING = 0.1


class Mixup:
    """Mixes the images of a batch by Mixup 0.8 or CutMix 1.0, with equal odds.

    Labels are smoothed by 0.1. All three are of the Swin pipeline's configuration.

    Args:
        classes: number of classes.
        seed: of an epoch; timm draws from numpy's global generator.
    """

    def __init__(self, classes: int, seed: int) -> None:
        np.random.seed(seed % 2**32)  # the generator that timm draws from
        self.classes = classes
        self.mixup = data.Mixup(
            mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=SMOOTHING, num_classes=classes
        )

    def __call__(self, batch: Batch) -> tuple[Batch, Targets]:
        """Return the mixed batch and its targets.

        An odd last batch, which timm cannot mix, has smoothed labels.
        """
        targets = Targets(batch.labels, batch.pixels)
        if len(batch.labels) % 2:
            kept = 1 - SMOOTHING
            one_hot = F.one_hot(batch.labels, self.classes).to(batch.images.dtype)
            return batch, replace(targets, mixed=one_hot * kept + SMOOTHING / self.classes)
        copy = batch.images.clone(memory_format=torch.contiguous_format)  # timm mixes in place
        images, mixed = self.mixup(copy, batch.labels)
        return replace(batch, images=images), replace(targets, mixed=mixed.to(images.dtype))
