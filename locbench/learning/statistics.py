"""BatchNorm in a forward pass that is run for its values alone, beside the one that counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def batch_statistics_only(*modules: nn.Module) -> Iterator[None]:
    """Let BatchNorm normalise by the batch and leave its running statistics as they are.

    They are exchanged for copies meanwhile rather than switched off: gradient checkpointing demands that a second pass
    saves the same tensors as the first.
    """
    norms = [each for net in modules for each in net.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    kept = [dict(each._buffers) for each in norms]
    for each in norms:
        for name, buffer in each._buffers.items():
            each._buffers[name] = None if buffer is None else buffer.clone()
    try:
        yield
    finally:
        for each, before in zip(norms, kept, strict=True):
            each._buffers.update(before)
