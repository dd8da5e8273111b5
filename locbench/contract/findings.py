"""Checks of a component, one after the other, and what each of them finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor, nn

from locbench.errors import LocbenchError
from locbench.learning.auxiliary.branch import Targets
from locbench.plugins import blamed
from locbench.training.faults import error_text


class Breach(Exception):  # noqa: N818 - a finding, and no error of locbench
    """A component does not do what it must; the text says what it does instead."""


class Check(NamedTuple):
    """One thing that a component must do.

    Attributes:
        holds: it in a sentence.
        run: raises `Breach`, or any other exception, if the component does not do it.
        basic: whether the checks after it need it.
    """

    holds: str
    run: Callable[[], object]
    basic: bool = False


class Finding(msgspec.Struct, frozen=True):
    """What came of a check.

    Attributes:
        holds: what was checked, in a sentence.
        fault: why it does not hold; empty if it does.
    """

    holds: str
    fault: str = ""


def findings(checks: Iterable[Check]) -> Iterator[Finding]:
    """Run checks in order and yield what they find, up to a basic one that fails."""
    for check in checks:
        try:
            check.run()
        except Exception as error:
            yield Finding(check.holds, fault_of(error))
            if check.basic:
                return
        else:
            yield Finding(check.holds)


def fault_of(error: Exception) -> str:
    """Return what an exception says, with the line of the plugin that it came through."""
    if isinstance(error, Breach):
        return str(error)
    place = blamed(error)
    if isinstance(error, LocbenchError):
        return error.message + f" ({place})" * bool(place)
    return error_text(error)


def random_batch(size: int, side: int, classes: int, seed: int = 0) -> tuple[Tensor, Targets]:
    """Return normalised images, B x 3 x side x side, and their targets; most classes come twice.

    Args:
        size: images B.
        side: of the images in pixels.
        classes: from which the labels are.
        seed: of the pixels.
    """
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(size, 3, side, side, generator=generator)
    labels = torch.arange(size) % max(1, min(classes, size - 1))
    return (pixels - 0.5) / 0.5, Targets(labels, pixels)


def gradients(net: nn.Module) -> dict[str, Tensor]:
    """Return copies of the parameters' gradients by name, zeros where there is none."""
    return {
        name: torch.zeros_like(each) if each.grad is None else each.grad.clone()
        for name, each in net.named_parameters()
    }
