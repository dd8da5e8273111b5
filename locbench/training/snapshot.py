"""Everything that a training step changes: kept, restored, compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from locbench.learning.routing import StepOutput

TOLERANCE = 0.01
"""Largest norm of the difference between two steps' effects over the norm of one's. Sums whose
order a device does not fix differ by far less, a wrong step by far more."""

_SWITCHED = ("lr", "capturable")

Effects = list[list[Tensor]]
"""What a step has given and changed, grouped by kind."""


class Snapshot:
    """The parameters, buffers, optimizer's state and random states of a moment.

    Args:
        net: what is trained.
        optimizer: of all its parameters.
        device: of both.
    """

    def __init__(
        self, net: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
    ) -> None:
        self.net, self.optimizer, self.device = net, optimizer, device
        self._kept = {id(each): each.detach().clone() for group in self._groups() for each in group}
        self._host = torch.get_rng_state()
        self._random = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    @torch.no_grad()
    def restore(self) -> None:
        """Write everything back in place.

        State that the optimizer has made since is zero, which is how all begins.
        """
        for group in self._groups():
            for each in group:
                before = self._kept.get(id(each))
                each.zero_() if before is None else each.copy_(before)
        torch.set_rng_state(self._host)
        if self._random is not None:
            torch.cuda.set_rng_state(self._random, self.device)

    @torch.no_grad()
    def now(self, output: StepOutput) -> Effects:
        """Return what a step has given and changed since, kind by kind."""
        changes = [
            [
                each - self._kept[id(each)] if id(each) in self._kept else each.clone()
                for each in group
            ]
            for group in self._groups()
        ]
        return [[output.losses], [output.logits], *changes]

    def _groups(self) -> list[list[Tensor]]:
        state = [value for each in self.optimizer.state.values() for value in each.values()]
        held = [each for each in state if isinstance(each, Tensor)]
        return [list(self.net.parameters()), list(self.net.buffers()), held]


def refuse_difference(expected: Effects, found: Effects) -> None:
    """Raise RuntimeError if a step's effects are not those expected.

    A diverged step cannot be told from another.
    """
    for wanted, got in zip(expected, found, strict=True):
        norm = _norm(wanted)
        distance = _norm([left - right for left, right in zip(wanted, got, strict=True)])
        if isfinite(norm) and not distance <= TOLERANCE * norm:
            raise RuntimeError("a captured step differs from an eager one")


def _norm(tensors: list[Tensor]) -> float:
    return (
        torch.stack([each.detach().double().norm() for each in tensors]).norm().item()
        if tensors
        else 0.0
    )


@contextmanager
def rates_in_tensors(optimizer: torch.optim.Optimizer, rates: list[Tensor]) -> Iterator[None]:
    """Let the optimizer's groups read their rates from tensors, as a graph must.

    They hold plain numbers again after, so that a checkpoint does not depend on how steps were run.
    """
    groups = optimizer.param_groups
    kept: list[dict[str, Any]] = [
        {name: group[name] for name in _SWITCHED if name in group} for group in groups
    ]
    for group, rate in zip(groups, rates, strict=True):
        group.update(lr=rate, **({"capturable": True} if "capturable" in group else {}))
    try:
        yield
    finally:
        for group, before in zip(groups, kept, strict=True):
            group.update(before)
