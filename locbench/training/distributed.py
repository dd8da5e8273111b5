"""One run on several processes, as `torchrun` starts them.

Each takes its share of every batch. A local method runs several backward passes per step, so that
PyTorch's DistributedDataParallel, which expects one, does not fit: gradients are summed over the
processes once per step, in one buffer; with lean memory once per module.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from locbench.errors import UsageError
from locbench.torchrun import process_count, refuse_incomplete_environment

PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a run.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes; 1 is a run by itself.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes records and talks to the user."""
        return self.rank == 0

    def shard(self, count: int) -> slice:
        """Return which of a batch's ``count`` images are this process's.

        They are consecutive, and divided as evenly as can be.
        """
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def average_buffers(self, net: nn.Module) -> None:
        """Replace a net's floating-point buffers by their means over all processes.

        Such are BatchNorm's running statistics.
        """
        floating = [buffer for buffer in net.buffers() if buffer.is_floating_point()]
        if self.size > 1 and floating:
            _sum_into(floating, _flat(floating).div_(self.size))

    def refuse_empty_shares(self, images: int, batch_size: int) -> None:
        """Refuse batches of fewer images than there are processes.

        Raises:
            UsageError: the last batch of an epoch, or every one, has too few images.
        """
        least = min(batch_size, images % batch_size or batch_size)
        if least < self.size:
            raise UsageError(
                f"a batch of {least} images cannot be shared by {self.size} processes",
                "Choose another batch size, or fewer processes.",
            )

    def sum(self, *tensors: Tensor) -> None:
        """Replace tensors by their sums over all processes."""
        if self.size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def average_gradients(self, parameters: Iterable[Tensor], local: int, total: int) -> None:
        """Replace gradients by those of the mean loss over the whole batch, in one exchange.

        Args:
            parameters: the same ones in the same order in every process; such without a gradient
                are left out.
            local: images of this process's share; its gradients are of the mean over them.
            total: images of the whole batch.
        """
        gradients = [weight.grad for weight in parameters if weight.grad is not None]
        if self.size > 1 and gradients:
            _sum_into(gradients, _flat(gradients).mul_(local / total))


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _sum_into(tensors: list[Tensor], buffer: Tensor) -> None:
    """Sum what `_flat` made of tensors over all processes, and copy it into them."""
    dist.all_reduce(buffer)
    parts = torch.split(buffer, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


SINGLE_PROCESS = ProcessGroup()


def join_process_group(device: torch.device) -> ProcessGroup:
    """Join the processes that `torchrun` has started; without it there is this one alone.

    Raises:
        UsageError: torchrun's environment is incomplete, or a device is missing.
    """
    if process_count() == 1:
        return SINGLE_PROCESS
    refuse_incomplete_environment()
    if device.type == "cuda":
        torch.cuda.set_device(device)  # or every process would open a context on the first one
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    return ProcessGroup(dist.get_rank(), dist.get_world_size())


def leave_process_group() -> None:
    """End the processes' exchange, if there is any."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
