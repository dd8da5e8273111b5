"""Test accuracy of the bare network, auxiliary nets unused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from locbench.data.batches import Batch
from locbench.errors import DivergedError
from locbench.networks.chain import Chain
from locbench.training.distributed import SINGLE_PROCESS, ProcessGroup


@dataclass(frozen=True)
class Accuracy:
    """Shares of test images in percent: the class is the first guess, or among the first five."""

    top1: float
    top5: float


@torch.inference_mode()
def accuracy(
    chain: Chain,
    batches: Iterable[Batch],
    device: torch.device,
    world: ProcessGroup = SINGLE_PROCESS,
) -> Accuracy:
    """Return the accuracy over batches on a device, in evaluation mode.

    Args:
        chain: the network.
        batches: this process's share of the test set.
        device: of the batches.
        world: processes that share the work.

    Raises:
        DivergedError: an output is not finite; it would count as a wrong guess, or as a right one.
    """
    training = chain.training
    chain.eval()
    counts, share = torch.zeros(3, dtype=torch.int64, device=device), 0
    for batch in batches:
        counts += _counts(chain(batch.images), batch.labels)
        share += len(batch.labels)
    chain.train(training)
    total = torch.tensor(share, device=device)
    world.sum(counts, total)
    images, (first, five, spoilt) = int(total), counts.tolist()
    if spoilt:
        raise DivergedError(
            f"the network's output is not finite on {spoilt} of {images} test images",
            "Lower the learning rate.",
        )
    return Accuracy(100 * first / images, 100 * five / images)


def _counts(logits: Tensor, labels: Tensor) -> Tensor:
    """Count a batch's labels that are the first guess, and those among the first five.

    The third number is that of images whose output is not finite.
    """
    guesses = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
    spoilt = (~logits.isfinite()).any(dim=1).sum()
    return torch.stack([guesses[:, 0].sum(), guesses.sum(), spoilt])
