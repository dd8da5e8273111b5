"""Images and masks on their way to a CUDA device."""

from __future__ import annotations

from pathlib import Path

from cuda_standin import run

CODE = """
import torch
from locbench.data.loading import LoadingPool
from locbench.detection.batches import Sample

def sample(number):
    masks = torch.zeros(2, 8, 8, dtype=torch.uint8)
    return [Sample(torch.zeros(3, 8, 8, dtype=torch.uint8), {"masks": masks})]

for pinned in (False, True):
    (batch,) = LoadingPool(sample, 0, pinned=pinned).results([0])
    print([part.is_pinned() for each in batch for part in (each.image, each.target["masks"])])
"""


def test_masks_are_pinned_with_their_images(standin: Path) -> None:
    done = run(standin, "-c", CODE)
    assert done.stdout.splitlines() == ["[False, False]", "[True, True]"], done.stderr
