"""One run on several processes, as `torchrun` starts them: each takes its share of every batch.

A local method runs several backward passes per step, so that PyTorch's DistributedDataParallel,
which expects one, does not fit: gradients are summed over the processes once per step, in one
buffer; with lean memory once per module.
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
        """Return which of a batch's ``count`` images are this process's: consecutive ones, as
        evenly as can be.
        """
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def average_buffers(self, net: nn.Module) -> None:
        """Replace a net's floating-point buffers, such as BatchNorm's running statistics, by their
        means.
        """
        floating = [each for each in net.buffers() if each.is_floating_point()]
        if self.size == 1 or not floating:
            return
        buffer = torch.cat([each.reshape(-1) for each in floating]).div_(self.size)
        dist.all_reduce(buffer)
        for each, mean in zip(
            floating, torch.split(buffer, [one.numel() for one in floating]), strict=True
        ):
            each.copy_(mean.view_as(each))

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
            for each in tensors:
                dist.all_reduce(each)

    def average_gradients(self, parameters: Iterable[Tensor], local: int, total: int) -> None:
        """Replace gradients by those of the mean loss over the whole batch, in one exchange.

        Args:
            parameters: the same ones in the same order in every process; such without a gradient
                are left out.
            local: images of this process's share; its gradients are of the mean over them.
            total: images of the whole batch.
        """
        gradients = [each.grad for each in parameters if each.grad is not None]
        if self.size == 1 or not gradients:
            return
        buffer = torch.cat([each.reshape(-1) for each in gradients]).mul_(local / total)
        dist.all_reduce(buffer)
        for each, summed in zip(
            gradients, torch.split(buffer, [one.numel() for one in gradients]), strict=True
        ):
            each.copy_(summed.view_as(each))


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
