"""RandAugment (Cubuk et al. 2019) as timm's ``rand-m9-mstd0.5-inc1``, and colour jitter, on whole
batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from locbench.data.swin import colour as blend
from locbench.data.swin import colour as levels
from locbench.data.swin import geometry

__all__ = [
    "NONE",
    "OPERATIONS",
    "Operation",
    "Steps",
    "augmented",
    "draw_jitter",
    "draw_randaugment",
]

NONE = -1

_LAYERS, _PROBABILITY = 2, 0.5
_MAGNITUDE, _DEVIATION, _TOP = 9.0, 0.5, 10.0


@dataclass(frozen=True)
class Operation:
    """One of the operations.

    Attributes:
        name: timm's.
        argument: from magnitudes in 0..10 and signs, both (...) float64, to what ``apply`` takes.
        apply: from (B, H, W, 3) uint8 and arguments (B,) to changed images of the same shape.
    """

    name: str
    argument: Callable[[Tensor, Tensor], Tensor]
    apply: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Steps:
    """What is done to each image, in order.

    Attributes:
        operations: (N, K) int64, places in :data:`OPERATIONS`, or NONE.
        arguments: (N, K) float64.
    """

    operations: Tensor
    arguments: Tensor

    def of(self, images: slice) -> Steps:
        """Return those of some images."""
        return Steps(self.operations[images], self.arguments[images])

    def then(self, further: Steps) -> Steps:
        """Return these steps followed by others of the same images."""
        operations = torch.cat([self.operations, further.operations], 1)
        return Steps(operations, torch.cat([self.arguments, further.arguments], 1))


def _nothing(magnitude: Tensor, _: Tensor) -> Tensor:
    return torch.zeros_like(magnitude)


def _signed(top: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda magnitude, sign: sign * (magnitude / _TOP * top)


def _factor(magnitude: Tensor, sign: Tensor) -> Tensor:
    return (1 + sign * (magnitude / _TOP * 0.9)).clamp(min=0.1)


def _bits(magnitude: Tensor, _: Tensor) -> Tensor:
    return 4 - (magnitude / _TOP * 4).floor()


def _threshold(magnitude: Tensor, _: Tensor) -> Tensor:
    return 256 - (magnitude / _TOP * 256).floor()


def _added(magnitude: Tensor, _: Tensor) -> Tensor:
    return (magnitude / _TOP * 110).floor()


OPERATIONS = (
    Operation("AutoContrast", _nothing, levels.autocontrast),
    Operation("Equalize", _nothing, levels.equalize),
    Operation("Invert", _nothing, levels.invert),
    Operation("Rotate", _signed(30.0), geometry.rotate),
    Operation("PosterizeIncreasing", _bits, levels.posterize),
    Operation("SolarizeIncreasing", _threshold, levels.solarize),
    Operation("SolarizeAdd", _added, levels.solarize_add),
    Operation("ColorIncreasing", _factor, blend.color),
    Operation("ContrastIncreasing", _factor, levels.contrast),
    Operation("BrightnessIncreasing", _factor, levels.brightness),
    Operation("SharpnessIncreasing", _factor, blend.sharpness),
    Operation("ShearX", _signed(0.3), geometry.shear_x),
    Operation("ShearY", _signed(0.3), geometry.shear_y),
    Operation("TranslateXRel", _signed(0.45), geometry.translate_x),
    Operation("TranslateYRel", _signed(0.45), geometry.translate_y),
)
"""timm's set of operations that grow with the magnitude, in its order."""

_JITTERED = tuple(
    [each.name for each in OPERATIONS].index(name)
    for name in ("BrightnessIncreasing", "ContrastIncreasing", "ColorIncreasing")
)


def draw_randaugment(count: int, generator: Generator) -> Steps:
    """Draw two operations for each of ``count`` images, with replacement, each done with
    probability 1/2.

    Their magnitudes are normal with mean 9 and standard deviation 1/2, cut off at 0 and 10; where a
    direction is left open, either is as likely.
    """
    shape = (count, _LAYERS)
    operations = torch.randint(len(OPERATIONS), shape, generator=generator)
    done = torch.rand(shape, generator=generator, dtype=torch.float64) < _PROBABILITY
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    signs = 1 - 2 * torch.randint(2, shape, generator=generator).double()
    magnitudes = (_MAGNITUDE + _DEVIATION * noise).clamp_(0, _TOP)
    every = torch.stack([each.argument(magnitudes, signs) for each in OPERATIONS])
    arguments = every.gather(0, operations[None])[0]
    return Steps(torch.where(done, operations, NONE), arguments)


def draw_jitter(count: int, strength: float, generator: Generator) -> Steps:
    """Draw a change of brightness, contrast and saturation for each image, in random order
    (torchvision's ColorJitter).

    The factors are uniform within ``strength`` of 1, but not below 0.
    """
    orders = torch.rand(count, len(_JITTERED), generator=generator, dtype=torch.float64).argsort(1)
    lowest, highest = max(0.0, 1 - strength), 1 + strength
    uniform = torch.rand(count, len(_JITTERED), generator=generator, dtype=torch.float64)
    return Steps(torch.tensor(_JITTERED)[orders], lowest + (highest - lowest) * uniform)


def augmented(pixels: Tensor, steps: Steps) -> Tensor:
    """Do each image's operations on (B, H, W, 3) uint8, for each step all images of one operation
    together.

    Args:
        pixels: the images.
        steps: of B images, on the CPU.
    """
    for operations, arguments in zip(
        steps.operations.unbind(1), steps.arguments.unbind(1), strict=True
    ):
        pixels = _step(pixels, operations, arguments)
    return pixels


def _step(pixels: Tensor, operations: Tensor, arguments: Tensor) -> Tensor:
    order = operations.argsort(stable=True)
    counts: list[int] = torch.bincount(operations - NONE, minlength=len(OPERATIONS) + 1).tolist()
    kept, *parts = torch.split(pixels.index_select(0, order.to(pixels.device)), counts)
    _, *of_parts = torch.split(arguments[order].to(pixels.device), counts)
    groups = zip(OPERATIONS, parts, of_parts, strict=True)
    done = [operation.apply(part, argument) for operation, part, argument in groups if len(part)]
    return torch.cat([kept, *done]).index_select(0, order.argsort().to(pixels.device))
