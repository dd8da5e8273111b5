"""Test accuracy of the bare network, auxiliary nets unused."""

from __future__ import annotations

import torch

from locbench.data.batches import test_batches
from locbench.data.catalogue import DatasetInfo
from locbench.data.images import Images
from locbench.networks.chain import Chain

BATCH = 250


@torch.inference_mode()
def accuracy(chain: Chain, images: Images, info: DatasetInfo, dtype: torch.dtype = torch.float32) -> float:
    """Return the top-1 accuracy in percent, in evaluation mode and without augmentation."""
    training = chain.training
    chain.eval()
    correct = torch.zeros((), dtype=torch.int64, device=images.labels.device)
    for batch in test_batches(images, info, BATCH, dtype=dtype):
        correct += (chain(batch.images).argmax(dim=1) == batch.labels).sum()
    chain.train(training)
    return 100 * correct.item() / len(images)
