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
"""Largest norm of the difference between two steps' effects over the norm of one's.

Sums whose order a device does not fix differ by far less, a wrong step by far more.
"""

SIGNS_TOLERANCE = 0.3
"""The same for weights after AdamW's first step, which has the gradients' signs.

That of a gradient near zero follows from the order of a sum.
"""

WEIGHTS = "weights"

_SWITCHED = ("lr", "capturable")

Effects = dict[str, list[Tensor]]
"""What a step has given and changed, by its kind; the optimizer's state by its names."""


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
        self._signs = isinstance(optimizer, torch.optim.AdamW) and not optimizer.state
        self._kept = {
            id(tensor): tensor.detach().clone()
            for tensors in self._groups().values()
            for tensor in tensors
        }
        self._host = torch.get_rng_state()
        self._random = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    @torch.no_grad()
    def restore(self) -> None:
        """Write everything back in place.

        State that the optimizer has made since is zero, which is how all begins.
        """
        for tensors in self._groups().values():
            for tensor in tensors:
                before = self._kept.get(id(tensor))
                tensor.zero_() if before is None else tensor.copy_(before)
        torch.set_rng_state(self._host)
        if self._random is not None:
            torch.cuda.set_rng_state(self._random, self.device)

    @torch.no_grad()
    def now(self, output: StepOutput) -> Effects:
        """Return what a step has given and changed since, kind by kind."""
        changes = {
            kind: [
                tensor - self._kept[id(tensor)] if id(tensor) in self._kept else tensor.clone()
                for tensor in tensors
            ]
            for kind, tensors in self._groups().items()
        }
        return {"losses": [output.losses], "logits": [output.logits], **changes}

    def refuse_difference(self, expected: Effects, computed: Effects) -> None:
        """Raise RuntimeError if a step's effects are not those expected.

        A diverged step cannot be told from another.
        """
        for kind, tensors in expected.items():
            tolerance = SIGNS_TOLERANCE if kind == WEIGHTS and self._signs else TOLERANCE
            norm = _norm(tensors)
            differences = [one - other for one, other in zip(tensors, computed[kind], strict=True)]
            if isfinite(norm) and not _norm(differences) <= tolerance * norm:
                raise RuntimeError(f"a captured step differs from an eager one in its {kind}")

    def _groups(self) -> Effects:
        groups: Effects = {
            WEIGHTS: list(self.net.parameters()),
            "buffers": list(self.net.buffers()),
        }
        for state in self.optimizer.state.values():
            for name, value in state.items():
                if isinstance(value, Tensor):
                    groups.setdefault(name, []).append(value)
        return groups


def _norm(tensors: list[Tensor]) -> float:
    return (
        torch.stack([tensor.detach().double().norm() for tensor in tensors]).norm().item()
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
